"""Settings as a file and the environment give them: read, put together, and checked key by key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from worksong.domain.errors import ConfigError
from worksong.domain.names import wrong_with, wrong_with_queues
from worksong.service.redaction import redacted
from worksong.settings import valet
from worksong.settings.document import read_document
from worksong.settings.environment import overlaid
from worksong.settings.secrets import SECRETS, Secrets
from worksong.settings.settings import EXAMPLES, Settings, Token, keys_of
from worksong.settings.values import made

_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_LONGEST = 80
"""Characters of a value in an error."""


class Reading(NamedTuple):
    """What was read."""

    settings: Settings
    warnings: list[str]
    """What the file says and nobody heeds."""


def read_settings(path: Path | None, environ: Mapping[str, str], *, secrets: Path = SECRETS) -> Reading:
    """The settings of a file, ours or Valet's, with the environment above it; raises `ConfigError`.

    `secrets`: the directory in which Valet's secrets may be files.
    """
    document, warnings = read_document(path) if path else {}, list[str]()
    if path and valet.is_valets(document):
        document, warnings = valet.translated(document, Secrets(environ, secrets), str(path))
    merged, sources = overlaid(document, environ)
    return Reading(_checked(merged, sources, str(path or "the environment")), warnings)


def _checked(document: dict[str, Any], sources: Mapping[str, str], file: str) -> Settings:
    try:
        settings = msgspec.convert(document, Settings, dec_hook=made)
    except msgspec.ValidationError as wrong:
        raise ConfigError(_told(str(wrong), document, sources, file)) from None
    for key, text in (("name", settings.name), *(("queues", name) for name in settings.queues or ())):
        if text is not None and (amiss := wrong_with(text) if key == "name" else wrong_with_queues(text)):
            raise ConfigError(f"{_source(key, sources, file)}: {amiss}")
    return settings


def _told(text: str, document: dict[str, Any], sources: Mapping[str, str], file: str) -> str:
    """What is wrong, where, and what would do."""
    place = _PLACE.search(text)
    path, cause = (place["path"], text[: place.start()]) if place else ("", text)
    if unknown := _UNKNOWN.fullmatch(cause):
        return f"{file}: {_unknown(f'{path}.' if path else '', unknown['name'])}"
    key = re.sub(r"\[.*", "", path)
    cause = (cause[:1].lower() + cause[1:]).replace("`", "").replace(" | null", "")
    if not key:
        return f"{file}: {cause}"
    example = f"; write it as in {key}: {EXAMPLES[key]}" if key in EXAMPLES else ""
    given = "" if key.startswith("tokens") else f"it is {_shown(key, document)}: "
    return f"{_source(key, sources, file)}: {given}{cause}{example}"


def _source(key: str, sources: Mapping[str, str], file: str) -> str:
    return sources.get(key) or f"{file}: {key}"


def _unknown(section: str, name: str) -> str:
    """A name that no setting has. `section` ends with a dot, unless it is empty."""
    keys = [key for key in keys_of(Settings) if key.startswith(section)] or [
        f"{section}{key}" for key in keys_of(Token)
    ]
    offered = sorted({section + key.removeprefix(section).partition(".")[0] for key in keys})
    close = get_close_matches(section + name, offered, n=1)
    meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(offered)}"
    return f"there is no setting {section + name!r:.80}; {meant}"


def _shown(key: str, document: dict[str, Any]) -> str:
    """The value, without what must not be seen."""
    value: object = document
    for part in key.split("."):
        value = cast("dict[str, object]", value).get(part) if isinstance(value, dict) else None
    shown = repr(redacted(value))
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
