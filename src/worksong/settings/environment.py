"""Settings by the environment: `WORKSONG_HTTP_ADDRESS` for `http.address`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from worksong.domain.errors import ConfigError
from worksong.settings.settings import EXAMPLES

PREFIX = "WORKSONG_"
_WORDS: Mapping[str, bool] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NUMBERS = ("concurrency", "grpc.streams", "limits.body", "limits.rate", "limits.burst", "limits.at_once")

_ADDRESSES = ("http.address", "grpc.address")
"""Where IPv6 begins as JSON does: `[::]:8080`."""


def variable(key: str) -> str:
    """The variable of a setting."""
    return PREFIX + key.upper().replace(".", "_")


def overlaid(document: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The document with what the environment says instead; and which variable each such setting comes from."""
    merged, sources = dict(document), dict[str, str]()
    for key in EXAMPLES:
        text = environ.get(variable(key), "")
        if not text:
            continue
        section, _, name = key.rpartition(".")
        if section:
            within = merged.get(section)
            merged[section] = {**(within if isinstance(within, dict) else {}), name: _value(key, text)}
        else:
            merged[name] = _value(key, text)
        sources[key] = variable(key)
    return merged, sources


def _value(key: str, text: str) -> Any:
    """The value that a text stands for, as far as its setting wants another one than a text."""
    if text[:1] in "[{" and key not in _ADDRESSES:
        return _json(key, text)
    match key:
        case "queues":
            return _queues(text)
        case "hosts" | "cors":
            return [part.strip() for part in text.split(",")]
        case "grpc.reflection":
            return _WORDS.get(text.lower(), text)
        case _ if key in _ADDRESSES:
            return None if text.lower() in ("off", "null") else text
        case _:
            return _number(text) if key in _NUMBERS else text


def _number(text: str) -> float | str:
    """The number; what is none is refused with the setting itself."""
    try:
        return msgspec.json.decode(text, type=int | float)
    except msgspec.MsgspecError:
        return text


def _json(key: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as wrong:
        raise ConfigError(f"{variable(key)} is no JSON: {wrong}") from None


def _queues(text: str) -> dict[str, Any] | list[str]:
    """`high=2,low=1`, or `high,low`."""
    parts = [part.strip().partition("=") for part in text.split(",")]
    if any(equals for _, equals, _ in parts):
        return {name: int(weight) if weight.isdecimal() else weight for name, _, weight in parts}
    return [name for name, _, _ in parts]
