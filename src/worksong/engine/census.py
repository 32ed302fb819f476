"""What several processes measure, as one: the parent keeps what each said last, and the counts of those that ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from worksong.engine.measures import Measures, summed

FRESH = 10.0
"""Seconds for which what a process said is taken for how it is; its counts stay."""
GONE = Measures(life="ended")
"""Nobody has ended so far."""


class _Known(NamedTuple):
    latest: Mapping[int, tuple[float, Measures]]
    """Place -> when somebody there spoke last, and what."""
    ended: Measures
    """The counts of all that ended, as if they had been one."""


class Census:
    """Written by one thread and read by others: what is known is replaced whole."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known = _Known({}, GONE)

    def hear(self, number: int, measures: Measures) -> None:
        """The process in this place says so; one of another life has taken the place of the one before."""
        latest, ended = self._known
        before = latest.get(number)
        if before and before[1].life != measures.life:
            ended = summed(GONE.life, [ended, before[1]])
        self._known = _Known({**latest, number: (self._monotonic(), measures)}, ended)

    def leave(self, number: int) -> None:
        """The process in this place has ended."""
        latest, ended = self._known
        before = latest.get(number)
        if before:
            rest = {place: said for place, said in latest.items() if place != number}
            self._known = _Known(rest, summed(GONE.life, [ended, before[1]]))

    @property
    def measures(self) -> list[Measures]:
        """Of all processes; of those that ended only the counts, of those that say nothing any more also since when."""
        now, (latest, ended) = self._monotonic(), self._known
        silent = {at: now - at for at, _ in latest.values() if now - at > FRESH}
        return [*(replace(one.over, lag=silent[at]) if at in silent else one for at, one in latest.values()), ended]
