"""Moments and durations as people write them."""

from __future__ import annotations

import math
from datetime import datetime

import click

from worksong.domain import go_duration


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


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return go_duration.seconds(text)
