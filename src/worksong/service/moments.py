"""Moments and durations as people read them."""

from __future__ import annotations

import math

MINUTE, HOUR, DAY = 60, 3600, 86400


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
