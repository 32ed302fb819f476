"""Which troubles are worth a line in the log again."""

from __future__ import annotations

from worksong.ports.clock import Clock

REMINDED = 10.0
"""Seconds until the same trouble is told of again."""


class Reminder:
    """Each trouble once in a while, though every loop and every job meets it: a wrong login, a key of a wrong type."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}

    def due(self, trouble: str) -> bool:
        """Whether to tell of it now; what stands behind a semicolon (when the next try is) makes no other trouble."""
        now, what = self._clock.monotonic(), trouble.partition(";")[0]
        if now - self._told.get(what, float("-inf")) < REMINDED:
            return False
        self._told = {what: now, **{old: at for old, at in self._told.items() if now - at < REMINDED}}
        return True
