"""The counts of the last minutes, and what they say of the pace; only what was really seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from worksong.domain.lifecycle import State

SHORTEST = 300.0
"""What is kept at least, in seconds."""
LOOKS = 150
"""What is kept at least, in looks: seldom looking shows a longer time."""
RECENT = 60.0
"""Over how many seconds the pace is measured."""
TOO_SHORT = 10.0
"""A pace over fewer seconds would be chance."""
MISSED = 2.5
"""So many intervals without a look are a gap."""
MOST = 10**15
"""No honest count is larger; foreign ones may be."""
BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


class Sample(NamedTuple):
    """What one look found."""

    at: float
    counts: Mapping[str, int]
    """By state, or by queue."""


class History:
    """Samples, oldest first. All times are readings of one monotonic clock."""

    def __init__(self, interval: float) -> None:
        """`interval`: how many seconds lie between two looks."""
        self.span = max(SHORTEST, interval * LOOKS)
        self._gap = interval * MISSED + 1
        self._samples: deque[Sample] = deque()

    def note(self, at: float, counts: Mapping[State, int] | Mapping[str, int]) -> None:
        """Keep what was seen, and forget what is too old."""
        kept: dict[str, int] = {name: min(count, MOST) for name, count in counts.items()}
        self._samples.append(Sample(at, kept))
        while self._samples[0].at < at - self.span - self._gap:
            self._samples.popleft()

    def per_minute(self, state: str) -> float | None:
        """By how much the count grows, judged by the last minute; None while too little was seen."""
        if not self._samples:
            return None
        last = self._samples[-1]
        recent = [sample for sample in self._samples if sample.at >= last.at - max(RECENT, self._gap)]
        seconds = last.at - recent[0].at
        if seconds < TOO_SHORT:
            return None
        return (last.counts.get(state, 0) - recent[0].counts.get(state, 0)) * 60.0 / seconds

    def empty_in(self, state: str) -> float | None:
        """In how many seconds nothing is left at this pace; None when it does not fall."""
        pace = self.per_minute(state)
        if pace is None or pace >= 0:
            return None
        return self._samples[-1].counts.get(state, 0) * 60.0 / -pace

    def course(self, state: str, now: float, cells: int) -> list[int | None]:
        """The highest count in each of `cells` equal parts of the span; None where nobody looked."""
        width = self.span / cells
        found: list[int | None] = [None] * cells
        for sample in self._samples:
            part = int((sample.at - (now - self.span)) / width)
            if 0 <= part < cells:
                found[part] = max(found[part] or 0, sample.counts.get(state, 0))
        return _bridged(found, int(self._gap / width))


def _bridged(course: list[int | None], most: int) -> list[int | None]:
    """The course without the holes that come from looking less often than there are parts."""
    missed = most
    last: int | None = None
    bridged: list[int | None] = []
    for count in course:
        missed = 0 if count is not None else missed + 1
        last = count if count is not None else last
        bridged.append(last if missed <= most else None)
    return bridged


def bars(course: Sequence[int | None]) -> str:
    """The course as a row of bars, the highest count a full one; blanks where nobody looked."""
    top = max((count for count in course if count is not None), default=0)
    return "".join(" " if count is None else _bar(count, top) for count in course)


def _bar(count: int, top: int) -> str:
    """Whatever is there at all is seen to be there."""
    return BARS[-(-count * (len(BARS) - 1) // top)] if top else BARS[0]
