"""How fast a pool ends its jobs, and how many more of them may therefore lie here than it has slots for."""

from __future__ import annotations

from collections.abc import Callable

AHEAD = 0.02
"""Seconds of work that may lie here: longer than it takes to ask the server for more, too short to be missed."""
MOST = 2000
"""Jobs that may, however fast they are."""
WINDOW = 0.05
"""Seconds over which endings are counted, at least."""


class Pace:
    """Endings per second, as they lately were."""

    def __init__(self, time: Callable[[], float]) -> None:
        """`time`: monotonic seconds."""
        self._time = time
        self._since = time()
        self._count = 0
        self._rate = 0.0

    def ended(self, count: int) -> None:
        """So many jobs have ended."""
        self._count += count
        self._look()

    @property
    def ahead(self) -> int:
        """Jobs that are read ahead: what ends within `AHEAD`. None where jobs are long, since few of them end."""
        self._look()
        return min(MOST, int(self._rate * AHEAD))

    def _look(self) -> None:
        now = self._time()
        if now - self._since >= WINDOW:
            self._rate = self._count / (now - self._since)
            self._since, self._count = now, 0
