"""The ids of the firings of periodic jobs: every process finds the same one for the same tick."""

from __future__ import annotations

PREFIX = "periodic:"
DIGITS = 12
"""Of a tick, at most: whoever may enqueue may invent ids with more, which are no time and cost much to read."""


def firing_id(handler: str, spec: str, tick: float, turn: int = 0) -> str:
    """As gocraft/work writes it. `turn`: how often the schedule was resumed, of which that one knows nothing."""
    known = f"{PREFIX}{handler}:{spec}:{int(tick)}"
    return f"{known}/{turn}" if turn else known


def tick_of(job_id: str, handler: str, spec: str) -> int | None:
    """When the firing was due, in Unix seconds; None: the id is none of this schedule's."""
    start = f"{PREFIX}{handler}:{spec}:"
    if not job_id.startswith(start):
        return None
    tick = job_id[len(start) :].partition("/")[0]
    return int(tick) if len(tick) <= DIGITS and tick.isascii() and tick.isdecimal() else None
