"""Moments and durations as people write and read them."""

from __future__ import annotations

import math
from datetime import datetime

import click

from worksong.domain import go_duration

MINUTE, HOUR, DAY = 60, 3600, 86400


def duration(text: str | float) -> float:
    """Seconds in `5s`, `2m`, `1h30m`, `500ms` or a plain number; a type for options."""
    try:
        seconds = _seconds(str(text))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise click.BadParameter(f"{text!r} is no duration; write 5s, 2m, 1h30m or 500ms")
    return seconds


def instant(text: str) -> datetime:
    """A date and time as ISO 8601 writes it, with its zone; a type for options."""
    when = loose_instant(text)
    if when.utcoffset() is None:
        shown = when.isoformat()
        raise click.BadParameter(
            f"{shown} has no time zone, so it could mean several instants; write {shown}Z for UTC, or {shown}+02:00"
        )
    return when


def loose_instant(text: str) -> datetime:
    """The same; without a zone it is told by whatever clock is meant."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no ISO 8601 time; write it like 2030-12-24T18:00:00+01:00") from None


def relative(at: float, now: float) -> str:
    """`in 5 min`, `3 min ago`; a dash for a time that was not set, or is none, as foreign data may hold."""
    if not at or not math.isfinite(at):
        return "\u2013"
    distance = at - now
    if abs(distance) < 1:
        return "now"
    return f"in {span(distance)}" if distance > 0 else f"{span(-distance)} ago"


def span(seconds: float) -> str:
    """A duration in its one or two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return _pair(whole, MINUTE, "min", 1, "s") if whole < 10 * MINUTE else f"{whole // MINUTE} min"
    if whole < DAY:
        return _pair(whole, HOUR, "h", MINUTE, "min")
    return _pair(whole, DAY, "d", HOUR, "h") if whole < 10 * DAY else f"{whole // DAY} d"


def _pair(whole: int, large: int, large_name: str, small: int, small_name: str) -> str:
    first, rest = divmod(whole, large)
    second = rest // small
    return f"{first} {large_name} {second} {small_name}" if second else f"{first} {large_name}"


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return go_duration.seconds(text)
