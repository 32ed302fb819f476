"""Numbers that order jobs and tell lendings apart, drawn from the time."""

from __future__ import annotations

import threading

SLACK = 10_000_000
"""Microseconds that places may run ahead of the clock; further ahead means that the clock was stepped back."""
NEVER_BACK = 1 << 62
"""For fences: a number is never given out again, whatever the clock does."""


class Numbers:
    """Microseconds of the time, each given out once: they grow as long as the clock does.

    Drawn without the server, since a number from there would cost every job a turn at one row.
    """

    def __init__(self, slack: int = SLACK) -> None:
        self._slack = slack
        self._next = 0
        self._guard = threading.Lock()

    def take(self, count: int, now: float, *, above: int = 0) -> range:
        """So many numbers in a row, at least the time, and greater than `above`."""
        with self._guard:
            first = int(now * 1e6)
            if first < self._next <= first + self._slack:
                first = self._next
            first = max(first, above + 1)
            self._next = first + count
            return range(first, first + count)
