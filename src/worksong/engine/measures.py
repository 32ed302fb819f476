"""What one process says of itself when it is measured, and what several say together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from worksong.domain.tally import OTHER, Tally
from worksong.engine.board import MOST


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What jobs of one type did in one queue."""

    handler: str
    queue: str
    tally: Tally


class Measures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process at one moment; its counts begin with its life."""

    life: str
    """Another one after every start: its counts begin anew."""
    entries: tuple[Entry, ...] = ()
    running: Mapping[str, int] = {}
    """Job type -> how many of them run."""
    slots: int = 0
    """How many jobs could run at once."""
    refused: int = 0
    """Endings that came too late: the job was somebody else's by then."""
    lag: float = 0.0
    """Seconds by which its event loop is late."""

    @property
    def over(self) -> Measures:
        """What stays of it when the process has ended: its counts."""
        return Measures(life=self.life, entries=self.entries, refused=self.refused)


def tallied(measures: Iterable[Measures]) -> dict[tuple[str, str], Tally]:
    """The counts of all of them, by job type and queue."""
    found: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
    for one in measures:
        for entry in one.entries:
            found[entry.handler, entry.queue] += entry.tally
    return dict(found)


def running(measures: Iterable[Measures]) -> Counter[str]:
    """How many jobs run in all of them, by type."""
    found: Counter[str] = Counter()
    for one in measures:
        found.update(one.running)
    return found


def summed(life: str, ended: Iterable[Measures]) -> Measures:
    """Processes that have ended as if they had been one, which tells no more apart than one does, the first ones."""
    every = list(ended)
    return Measures(
        life=life,
        entries=entries(_bounded(tallied(every))),
        refused=sum(one.refused for one in every),
    )


def _bounded(tallies: Mapping[tuple[str, str], Tally]) -> dict[tuple[str, str], Tally]:
    found: dict[tuple[str, str], Tally] = {}
    for place, ((handler, queue), tally) in enumerate(tallies.items()):
        key = handler, queue if place < MOST else OTHER
        found[key] = found.get(key, Tally()) + tally
    return found


def entries(tallies: Mapping[tuple[str, str], Tally]) -> tuple[Entry, ...]:
    """Counts by job type and queue, as they travel."""
    return tuple(Entry(handler, queue, tally) for (handler, queue), tally in tallies.items())
