"""How fast a pool ends its jobs of one type, and how many more of them may therefore lie here than it has slots for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

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


class Paces:
    """One for each job type, since short jobs may have long ones for neighbours."""

    def __init__(self, time: Callable[[], float]) -> None:
        """`time`: monotonic seconds."""
        self._time = time
        self._each: dict[str, Pace] = {}

    def ended(self, handlers: Iterable[str]) -> None:
        """Jobs of these types have ended."""
        for handler, count in Counter(handlers).items():
            if handler in self._each:
                self._each[handler].ended(count)
            else:  # from now on: nobody knows how long the first ones took
                self._each[handler] = Pace(self._time)

    def ahead(self, handler: str) -> int:
        """Jobs of this type that are read ahead."""
        pace = self._each.get(handler)
        return pace.ahead if pace else 0

    @property
    def ahead_of_all(self) -> int:
        """Jobs of any type that are."""
        return sum(pace.ahead for pace in self._each.values())
