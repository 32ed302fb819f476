"""The times that Resque's family writes, in all their forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ZONES = {
    **dict.fromkeys(("UTC", "GMT", "WET"), 0.0),
    **dict.fromkeys(("CET", "WEST", "BST"), 1.0),
    **dict.fromkeys(("CEST", "EET"), 2.0),
    **dict.fromkeys(("EEST", "MSK"), 3.0),
    "EST": -5.0,
    "EDT": -4.0,
    "CDT": -5.0,
    "MST": -7.0,
    "MDT": -6.0,
    "PST": -8.0,
    "PDT": -7.0,
    "JST": 9.0,
}
"""Hours by the abbreviations that Ruby's `%Z` writes; one that is not here is taken for UTC."""
_CLOCK = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?P<part>\.\d+)?"
_DATED = re.compile(
    rf"(?P<year>\d{{4}})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[T ]{_CLOCK}\s*"
    r"(?P<offset>Z|[+-]\d\d:?\d\d)?\s*(?P<zone>[A-Z]{2,5})?(?: m=.*)?"
)
_SPOKEN = re.compile(
    rf"[A-Z][a-z]{{2}} (?P<named>[A-Z][a-z]{{2}}) (?P<day>\d\d) (?P<year>\d{{4}}) {_CLOCK}"
    r"(?: GMT(?P<offset>[+-]\d{4}))?(?: \(.*\))?"
)


def read(value: object) -> float:
    """Unix seconds of a time by Ruby, Go or JavaScript; 0.0 for what is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if 0 < value < 1e11 else 0.0
    if not isinstance(value, str) or len(value) > 120:
        return 0.0
    if value.isascii() and value.isdecimal():
        return read(int(value[:20]))
    found = _DATED.fullmatch(value) or _SPOKEN.fullmatch(value)
    return _seconds(found.groupdict()) if found else 0.0


def _seconds(parts: dict[str, str | None]) -> float:
    named = parts.get("named")
    if named and named not in _MONTHS:
        return 0.0
    month = _MONTHS.index(named) + 1 if named else int(parts["month"] or 0)
    day, hour, minute, second = (int(parts[name] or 0) for name in ("day", "h", "m", "s"))
    try:
        whole = datetime(int(parts["year"] or 0), month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
    return whole + float(parts.get("part") or 0) - _offset(parts)


def _offset(parts: dict[str, str | None]) -> float:
    """Seconds that the clock is ahead of UTC."""
    said = parts.get("offset")
    if said and said != "Z":
        digits = said[1:].replace(":", "")
        seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
        return -seconds if said[0] == "-" else seconds
    return _ZONES.get(parts.get("zone") or "UTC", 0.0) * 3600


def failed_at(now: float) -> str:
    """As Ruby writes it into a failure, in UTC."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y/%m/%d %H:%M:%S UTC")


def run_at(now: float) -> str:
    """As Ruby writes it into the record of a busy worker."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def started(now: float) -> str:
    """As Ruby writes it when a worker registers."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%d %H:%M:%S +0000")


def heartbeat(now: float) -> str:
    """As Ruby writes it into the hash of heartbeats."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
