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


class MemoryRecords:
    """For all loops and threads of the process."""

    name = "memory://"

    def __init__(self, url: str = "memory://", *, namespace: str = "") -> None:
        if url.partition(":")[2].removeprefix("//"):
            raise ConfigError("memory:// takes nothing behind it: each worker keeps records of its own")
        self._guard = threading.Lock()
        self._kept: dict[Ref, Record] = {}
        self._order: defaultdict[Kind, list[After]] = defaultdict(list)
        self._unsent: dict[Ref, float] = {}
        self._passing: dict[Ref, float] = {}
        """When those may be forgotten that may be forgotten at all."""

    def sibling(self) -> MemoryRecords:
        return self

    async def close(self) -> None:
        """Nothing to let go of."""

    async def write(self, changes: Sequence[Change]) -> bool:
        with self._guard:
            if any(self._version(change.ref) != change.was for change in changes):
                return False
            for change in changes:
                self._put(change)
        return True

    def _version(self, ref: Ref) -> int | None:
        kept = self._kept.get(ref)
        return kept.version if kept else None

    def _put(self, change: Change) -> None:
        ref, record = change.ref, change.record
        old = self._kept.get(ref)
        if record is None:
            self._forget(ref)
            return
        if old is None:
            insort(self._order[ref.kind], After(record.created_at, ref.id))
        self._kept[ref] = record
        for times, time in ((self._unsent, record.unsent_since), (self._passing, record.until)):
            if time:
                times[ref] = time
            else:
                times.pop(ref, None)

    def _forget(self, ref: Ref) -> None:
        old = self._kept.pop(ref, None)
        if old is None:
            return
        order = self._order[ref.kind]
        del order[bisect_right(order, After(old.created_at, ref.id)) - 1]
        self._unsent.pop(ref, None)
        self._passing.pop(ref, None)

    async def read(self, refs: Sequence[Ref]) -> list[Record | None]:
        with self._guard:
            return [self._kept.get(ref) for ref in refs]

    async def listed(
        self, kind: Kind, *, status: int | None = None, after: After | None = None, most: int = 100
    ) -> list[Record]:
        found: list[Record] = []
        with self._guard:
            order = self._order[kind]
            for number in range(bisect_right(order, after) if after else 0, len(order)):
                record = self._kept[Ref(kind, order[number].id)]
                if status is None or record.status == status:
                    found.append(record)
                if len(found) >= most:
                    break
        return found

    async def unsent(self, since: float, most: int) -> list[Record]:
        with self._guard:
            due = sorted((at, ref) for ref, at in self._unsent.items() if at <= since)
            return [self._kept[ref] for _, ref in due[:most]]

    async def prune(self, now: float) -> int:
        with self._guard:
            over = [ref for ref, until in self._passing.items() if until <= now][:AT_ONCE]
            for ref in over:
                self._forget(ref)
        return len(over)
