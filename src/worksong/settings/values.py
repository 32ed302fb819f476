"""Values that a configuration writes as texts: durations and addresses."""

from __future__ import annotations

import math
from typing import Any

from worksong.domain import go_duration

LONGEST_PORT = 65535
DAY = 86400.0


class Seconds(float):
    """A duration: `30`, `5s`, `1h30m`, `500ms` or `7d`."""


class Address:
    """Where something listens: `127.0.0.1:8080`, `[::1]:8080`, or the port alone for this machine."""

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.host, self.port) == (other.host, other.port)

    def __hash__(self) -> int:
        return hash((self.host, self.port))


def seconds(given: object) -> Seconds:
    """The duration that is meant; raises `ValueError`."""
    try:
        found = _seconds(given)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ValueError("a duration is needed: seconds, or a text such as 5s, 2m, 1h30m, 500ms or 7d")
    return Seconds(found)


def _seconds(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise ValueError
    if not isinstance(given, str):
        return float(given)
    if given.endswith("d"):
        return float(given[:-1]) * DAY
    try:
        return float(given)
    except ValueError:
        return go_duration.seconds(given)


def address(given: object) -> Address:
    """The address that is meant; raises `ValueError`."""
    text = "" if isinstance(given, bool) else str(given)
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal()) or int(port) > LONGEST_PORT:
        raise ValueError("an address is needed: 127.0.0.1:4747, or 4747 for this machine alone")
    return Address(host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port))


_MADE_BY = {Seconds: seconds, Address: address}


def made(kind: type, given: object) -> Any:
    """A value of one of these kinds, as msgspec asks for it."""
    return given if isinstance(given, kind) else _MADE_BY[kind](given)
