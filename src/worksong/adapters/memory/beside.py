"""Jobs and records of this process, changed in one turn: nobody sees the one without the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worksong.adapters.memory.records import MemoryRecords
from worksong.adapters.memory.store import Store
from worksong.domain.job import Job
from worksong.ports.records import Change


class MemoryBeside:
    """For one push: see `ports.backend.Beside`."""

    def __init__(
        self,
        store: Store,
        records: MemoryRecords,
        changes: Sequence[Change],
        *,
        check: Callable[[Job], Job],
        ring: Callable[[], None],
    ) -> None:
        """`check` makes a job what the store takes, `ring` tells who waits for one."""
        self._store, self._records, self._changes = store, records, changes
        self._check, self._ring = check, ring

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        ready = [self._check(job) for job in jobs]
        with self._records.guard, self._store.guard:
            fit = self._fit(ready, now, once=once)
            if fit:
                self._records.carry_out(self._changes)
                for job in ready:
                    self._store.push(job, now, once=once)
        if fit:
            self._ring()
        return [fit] * len(ready)

    def _fit(self, jobs: Sequence[Job], now: float, *, once: bool) -> bool:
        """Whether the records are as they were said to be, and none of the jobs is a duplicate."""
        if not self._records.fit(self._changes) or _alike(jobs):
            return False
        return not any(self._store.refuses(job, now, once=once) for job in jobs)


def _alike(jobs: Sequence[Job]) -> bool:
    """Whether one of them is a duplicate of another."""
    if len(jobs) == 1:
        return False
    ids, locks = {job.id for job in jobs}, [job.unique_key for job in jobs if job.unique]
    return len(ids) < len(jobs) or len(set(locks)) < len(locks)
