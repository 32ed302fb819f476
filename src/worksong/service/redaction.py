"""What is not shown: secrets in URLs, arguments and error texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

HIDDEN = "***"

_SECRET = re.compile(r"pass|secret|token|key|auth|cookie|dsn", re.IGNORECASE)
_LOGIN = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@]+@")


def shown_url(url: str) -> str:
    """The URL without user and password, and without the values of options that hold secrets."""
    scheme, separator, rest = url.partition("://")
    # Everything up to the last @ goes: a badly quoted password may hold any character.
    place, mark, query = rest.rpartition("@")[2].partition("?")
    options = "&".join(_shown_option(option) for option in query.split("&"))
    return f"{scheme}{separator}{place}{mark}{options}"


def redacted(value: object) -> object:
    """The value with `***` for whatever its name calls a secret, and for logins in URLs."""
    match value:
        case Mapping():
            named = cast("Mapping[object, object]", value)
            return {name: HIDDEN if _SECRET.search(str(name)) else redacted(inner) for name, inner in named.items()}
        case str():
            return without_logins(value)
        case Sequence():
            return [redacted(inner) for inner in cast("Sequence[object]", value)]
        case _:
            return value


def without_logins(text: str) -> str:
    """The text with `***` for user and password in every URL."""
    return _LOGIN.sub(rf"\1{HIDDEN}@", text) if "@" in text else text


def _shown_option(option: str) -> str:
    name, equals, _ = option.partition("=")
    return f"{name}{equals}{HIDDEN}" if equals and _SECRET.search(name) else option
