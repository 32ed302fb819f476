"""What jobs did, in numbers that add up: over processes, over minutes, over job types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import add, sub

import msgspec

from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Seconds up to which a duration belongs to each bucket; one more bucket has all that are longer."""
ENDINGS = ("done", "retried", "dead", "discarded", "snoozed", "released")
PLACE: dict[type[Outcome], int] = {Done: 0, Retried: 1, Buried: 2, Discarded: 3, Snoozed: 4, Released: 5}
"""Where among the numbers each kind of ending is counted."""
RELEASED = PLACE[Released]
BUCKETS = len(BOUNDS) + 1
RAN = len(ENDINGS)
"""From here on: how long they ran, all of them together, and then how many so long as each bucket says."""
WAITED = RAN + 1 + BUCKETS
"""From here on: the same of how long they waited, from when they were ready until they were begun."""
SIZE = WAITED + 1 + BUCKETS
_LIMITS = (*(f"<={bound:g}" for bound in BOUNDS), ">")
NAMES = (*ENDINGS, "ran", *(f"ran{limit}" for limit in _LIMITS), "waited", *(f"waited{limit}" for limit in _LIMITS))
"""How the numbers are called where they are stored: another version may count more, or in other buckets."""
_PLACES = {name: place for place, name in enumerate(NAMES)}

UNKNOWN = "(unknown)"
"""How all job types without a handler are called; no job type can have this name."""
QUEUE = "#"
"""How the names of queues begin where they are counted beside job types; that of no job type begins so."""
OTHER = "(other)"
"""How queues are called together that are too many to be told apart."""


class Spread(msgspec.Struct, frozen=True):
    """How long something took, many times."""

    seconds: float
    """All together."""
    counts: tuple[int, ...]
    """How often, by bucket."""

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """None: it never happened."""
        return self.seconds / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """The seconds that this share of them took at most, from 0 to 1; None: it never happened.

        Within a bucket they are taken for spread evenly; what is longer than all bounds, for as long as the last one.
        """
        rank, below = share * self.count, 0
        for place, count in enumerate(self.counts[:-1]):
            if count and below + count >= rank:
                low = BOUNDS[place - 1] if place else 0.0
                return low + (BOUNDS[place] - low) * max(0.0, rank - below) / count
            below += count
        return BOUNDS[-1] if self.count else None


class Tally(msgspec.Struct, frozen=True):
    """What jobs of a kind did."""

    numbers: Sequence[float] = (0,) * SIZE
    """Endings by kind, seconds run and how many ran how long, seconds waited and how many waited how long."""

    @classmethod
    def of(cls, named: Mapping[str, float]) -> Tally:
        """From the numbers that are not 0, by name; unknown names are passed over."""
        numbers: list[float] = [0] * SIZE
        for name, number in named.items():
            place = _PLACES.get(name)
            if place is not None:
                numbers[place] = number
        return cls(numbers)

    @property
    def named(self) -> dict[str, float]:
        """The numbers that are not 0, by name."""
        return {name: number for name, number in zip(NAMES, self.numbers, strict=True) if number}

    def ended(self, *kinds: str) -> int:
        """How many jobs ended so; without `kinds`, in any way but a release, which is none."""
        wanted = kinds or ENDINGS[:RELEASED]
        return sum(int(self.numbers[ENDINGS.index(kind)]) for kind in wanted)

    @property
    def failed(self) -> int:
        """How many runs failed, for good or to be tried again."""
        return self.ended("retried", "dead")

    @property
    def ran(self) -> Spread:
        """How long the runs took, released ones apart."""
        return self._spread(RAN)

    @property
    def waited(self) -> Spread:
        """How long jobs were ready before they were begun."""
        return self._spread(WAITED)

    def _spread(self, start: int) -> Spread:
        counts = self.numbers[start + 1 : start + 1 + BUCKETS]
        return Spread(float(self.numbers[start]), tuple(int(count) for count in counts))

    def __add__(self, other: Tally) -> Tally:
        return Tally(list(map(add, self.numbers, other.numbers)))

    def __sub__(self, before: Tally) -> Tally:
        return Tally(list(map(sub, self.numbers, before.numbers)))

    def __bool__(self) -> bool:
        """Whether anything happened at all."""
        return any(self.numbers)


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    return sum(tallies, start=Tally())
