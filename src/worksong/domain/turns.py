"""In which order job types and queues are asked for work."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping
from itertools import accumulate
from math import log
from typing import NamedTuple

AT_ONCE = 16
"""Jobs that one draw gives to a name at most: each name that is asked has a price of its own in the server."""


class Share(NamedTuple):
    """One name's place in a fetch, and how many jobs it may take before the others had their turn."""

    name: str
    quota: int


class Sampled:
    """Weighted sampling without replacement, gocraft/work's order of job types, drawn anew for each fetch.

    A fetch of many jobs draws once for every few of them, a half at most: over many fetches shares hold as they do one
    by one.
    """

    def __init__(self, weights: Mapping[str, int], draw: Callable[[], float]) -> None:
        """`draw` returns a number in [0, 1)."""
        self._names, self._weights = tuple(weights), tuple(weights.values())
        marks = list(accumulate(self._weights))
        self._marks = [mark / marks[-1] for mark in marks]
        self._last = tuple(Share(name, 0) for name in self._names)
        self._draw = draw
        self._alone = tuple(Share(name, 1 << 30) for name in self._names) if len(self._names) < 2 else None

    def take(self, limit: int) -> tuple[Share, ...]:
        """Every name once, in drawn order, with the number of `limit` jobs that fell to it."""
        if self._alone is not None:
            return self._alone
        draw, marks, weights, last = self._draw, self._marks, self._weights, self._last
        counts: dict[int, int] = {}  # in the order of their first draw
        few = min(AT_ONCE, (limit + 1) // 2)
        for given in range(0, limit, few):
            index = bisect(marks, draw())
            counts[index] = counts.get(index, 0) + min(few, limit - given)
        order = [Share(self._names[index], count) for index, count in counts.items()]
        # Those that no draw fell to come when they do if each comes by chance, at the rate of its weight: that order is
        # one of drawing one by one.
        missing = [(-log(1 - draw()) / weights[index], index) for index in range(len(marks)) if index not in counts]
        missing.sort()
        return (*order, *[last[index] for _, index in missing])


class Strict:
    """Always the same order: the next name is asked only when those before it are empty."""

    def __init__(self, names: Mapping[str, int] | list[str]) -> None:
        self._order = tuple(Share(name, 1 << 30) for name in names)

    def take(self, limit: int) -> tuple[Share, ...]:
        """Every name once, in order."""
        return self._order
