"""Records of the job service in this process."""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence

from worksong.domain.errors import ConfigError
from worksong.ports.records import After, Change, Kind, Record, Ref

AT_ONCE = 1000
"""Records forgotten in one step."""
ORDERED = frozenset({Kind.JOB, Kind.PIPELINE})
"""Kinds that are listed all the time. Results and keys have no time of their own: each would go somewhere into the
middle of a list of all, and as long as that is would take to move over."""


class MemoryRecords:
    """For all loops and threads of the process."""

    name = "memory://"

    def __init__(self, url: str = "memory://", *, namespace: str = "") -> None:
        if url.partition(":")[2].removeprefix("//"):
            raise ConfigError("memory:// takes nothing behind it: each worker keeps records of its own")
        self.guard = threading.Lock()
        self._kept: dict[Ref, Record] = {}
        self._lists: defaultdict[tuple[Kind, int | None], list[After]] = defaultdict(list)
        """All of a kind that is `ORDERED`, and those of each status."""
        self._unsent: dict[Ref, float] = {}
        self._passing: dict[Ref, float] = {}
        """When those may be forgotten that may be forgotten at all."""

    def sibling(self) -> MemoryRecords:
        return self

    async def close(self) -> None:
        """Nothing to let go of."""

    async def write(self, changes: Sequence[Change]) -> bool:
        with self.guard:
            fit = self.fit(changes)
            if fit:
                self.carry_out(changes)
        return fit

    def fit(self, changes: Sequence[Change]) -> bool:
        """Whether each record is as it is said to be; for who has the guard."""
        for ref, was, _ in changes:
            kept = self._kept.get(ref)
            if (kept.version if kept else None) != was:
                return False
        return True

    def carry_out(self, changes: Sequence[Change]) -> None:
        """Changes that fit; for who has the guard."""
        for ref, _, record in changes:
            if record:
                self._put(ref, record)
            else:
                self._forget(ref)

    def _put(self, ref: Ref, record: Record) -> None:
        old = self._kept.get(ref)
        self._kept[ref] = record
        if ref.kind in ORDERED:
            self._list(ref, old, record)
        _note(self._unsent, ref, record.unsent_since)
        _note(self._passing, ref, record.until)

    def _list(self, ref: Ref, old: Record | None, new: Record | None) -> None:
        """In the list of all, where most that changes stays, and in those of statuses."""
        if old and new and (old.status, old.created_at) == (new.status, new.created_at):
            return
        was, now = _places(ref, old), _places(ref, new)
        for place in was:
            if place not in now:
                listed = self._lists[ref.kind, place[0]]
                del listed[bisect_right(listed, place[1]) - 1]
        for place in now:
            if place not in was:
                insort(self._lists[ref.kind, place[0]], place[1])

    def _forget(self, ref: Ref) -> None:
        old = self._kept.pop(ref, None)
        if ref.kind in ORDERED:
            self._list(ref, old, None)
        self._unsent.pop(ref, None)
        self._passing.pop(ref, None)

    async def read(self, refs: Sequence[Ref]) -> list[Record | None]:
        with self.guard:
            return [self._kept.get(ref) for ref in refs]

    async def listed(
        self, kind: Kind, *, status: int | None = None, after: After | None = None, most: int = 100
    ) -> list[Record]:
        with self.guard:
            order = self._lists[kind, status] if kind in ORDERED else self._in_order(kind, status)
            first = bisect_right(order, after) if after else 0
            return [self._kept[Ref(kind, one.id)] for one in order[first : first + most]]

    def _in_order(self, kind: Kind, status: int | None) -> list[After]:
        found = [record for ref, record in self._kept.items() if ref.kind is kind]
        return sorted(After(one.created_at, one.ref.id) for one in found if status in (None, one.status))

    async def unsent(self, since: float, most: int) -> list[Record]:
        with self.guard:
            due = sorted((at, ref) for ref, at in self._unsent.items() if at <= since)
            return [self._kept[ref] for _, ref in due[:most]]

    async def prune(self, now: float) -> int:
        with self.guard:
            over = [ref for ref, until in self._passing.items() if until <= now][:AT_ONCE]
            for ref in over:
                self._forget(ref)
        return len(over)


def _places(ref: Ref, record: Record | None) -> tuple[tuple[int | None, After], ...]:
    """The lists that it is in, and where."""
    if record is None:
        return ()
    after = After(record.created_at, ref.id)
    return (None, after), (record.status, after)


def _note(times: dict[Ref, float], ref: Ref, at: float) -> None:
    if at:
        times[ref] = at
    elif ref in times:
        del times[ref]
