"""The judges judged: one rule of the memory backend broken at a time, and each of them must be found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from worksong.adapters.memory import MemoryBackend
from worksong.adapters.memory.store import Member, Receipt, Record, Store
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Outcome, Released, Retried
from worksong.ports.backend import SILENT_FOR, Beat, Orders, Pool, Want
from worksong.testing.contract import BackendContract
from worksong.testing.contract.steps import T
from worksong.testing.machine import machine_for


class ZombieSettles(Store):
    """An old receipt settles whatever the job is now: a late ending ends somebody else's run."""

    def settle(self, receipt: Receipt, outcome: Outcome, now: float, then: Sequence[Job] = ()) -> bool:
        record = receipt.record
        if record.state is State.RUNNING and record.fence not in self.lent[receipt.pool]:
            receipt = Receipt(record.pool, record, record.fence)
        return super().settle(receipt, outcome, now, then)


class SettledTwice(Store):
    """A second ending is carried out like the first."""

    def settle(self, receipt: Receipt, outcome: Outcome, now: float, then: Sequence[Job] = ()) -> bool:
        if receipt.fence not in self.lent[receipt.pool] and receipt.record.job.id not in self.records:
            self.records[receipt.record.job.id] = self.lent[receipt.pool][receipt.fence] = receipt.record
        return super().settle(receipt, outcome, now, then)


class LimitLeaks(Store):
    """A reaped job goes on to occupy its slot of the limit."""

    def recover(self, pool: str, now: float) -> tuple[int, int]:
        for record in self.lent.get(pool, {}).values():
            self.running[record.job.handler] += 1
        return super().recover(pool, now)


class LimitPerFetch(Store):
    """The limit is looked at, but what runs already is not."""

    def take(self, want: Want, now: float) -> list[Delivery]:
        kept, self.running = self.running.copy(), type(self.running)()
        found = super().take(want, now)
        self.running.update(kept)
        return found


class LockOutlivesBurial(Store):
    """A job that is buried keeps its lock for ever."""

    def settle(self, receipt: Receipt, outcome: Outcome, now: float, then: Sequence[Job] = ()) -> bool:
        job = receipt.record.job
        held = super().settle(receipt, outcome, now, then)
        if held and job.unique == "until_done" and isinstance(outcome, Buried):
            self.locks[job.unique_key] = job.id
        return held


class LockEndsAtStart(Store):
    """until_done is taken for until_start."""

    def take(self, want: Want, now: float) -> list[Delivery]:
        found = super().take(want, now)
        for delivery in found:
            self.locks.pop(delivery.job.unique_key, None)
        return found


class LockFreedForOthers(Store):
    """A job lent for the second time frees the lock of the one enqueued meanwhile."""

    def take(self, want: Want, now: float) -> list[Delivery]:
        found = super().take(want, now)
        for delivery in found:
            if delivery.job.unique == "until_start":
                self.locks.pop(delivery.job.unique_key, None)
        return found


class StaleDuplicate(Store):
    """A refused duplicate by key does not renew what waits."""

    def push(self, job: Job, now: float, *, once: bool) -> bool:
        return super().push(replace(job, unique_by=None), now, once=once)


class PromotesEarly(Store):
    """Two seconds early are as good as due."""

    def promote(self, now: float, limit: int) -> int:
        return super().promote(now + 2.0, limit)


class ForgetsFailures(Store):
    """A retry starts again from the first attempt."""

    def settle(self, receipt: Receipt, outcome: Outcome, now: float, then: Sequence[Job] = ()) -> bool:
        held = super().settle(receipt, outcome, now, then)
        record = self.records.get(receipt.record.job.id)
        if held and record and isinstance(outcome, Retried):
            record.job = replace(record.job, attempt=1)
        return held


class ReapsToNowhere(Store):
    """The pool is struck off before its jobs are given back."""

    def recover(self, pool: str, now: float) -> tuple[int, int]:
        for record in self.lent.pop(pool, {}).values():
            self.running[record.job.handler] -= 1
            self.drop(record)
        return 0, 0


class PoisonForEver(Store):
    """A job that kills its workers runs for ever."""

    def recover(self, pool: str, now: float) -> tuple[int, int]:
        self.crashes.clear()
        return super().recover(pool, now)


class ReleaseCounts(Store):
    """A job handed back has failed."""

    def settle(self, receipt: Receipt, outcome: Outcome, now: float, then: Sequence[Job] = ()) -> bool:
        if isinstance(outcome, Released):
            receipt.record.job = replace(receipt.record.job, attempt=receipt.record.job.attempt + 1)
        return super().settle(receipt, outcome, now, then)


class CancelIsForgotten(Store):
    """A cancelled run that fails is tried again."""

    def settle(self, receipt: Receipt, outcome: Outcome, now: float, then: Sequence[Job] = ()) -> bool:
        self.cancelled.clear()
        return super().settle(receipt, outcome, now, then)


class KeepsNothing(Store):
    """What a pool held when it left is gone."""

    def give_back(self, pool: str, fences: Collection[int]) -> int:
        for record in [self.lent[pool].pop(fence) for fence in fences]:
            self.running[record.job.handler] -= 1
            self.drop(record)
        return len(fences)


class ForgetsIds(Store):
    """An id may be enqueued again as soon as its job is done."""

    def settle(self, receipt: Receipt, outcome: Outcome, now: float, then: Sequence[Job] = ()) -> bool:
        self.once.clear()
        return super().settle(receipt, outcome, now, then)


class PauseIsPolite(Store):
    """A paused queue lends what was put at its front."""

    def take(self, want: Want, now: float) -> list[Delivery]:
        paused, fronts = set(self.paused), [r for r in self.records.values() if r.order < 0]
        if any(record.state is State.QUEUED for record in fronts):
            self.paused.clear()
        found = super().take(want, now)
        self.paused |= paused
        return found


class NewestFirst(Store):
    """A stack instead of a queue."""

    def queue(self, record: Record, *, front: bool = False) -> None:
        super().queue(record, front=not front)


class NobodyIsEvicted(MemoryBackend):
    """A pool taken for dead is enlisted again by its beat, and never hears of it."""

    async def beat(self, beat: Beat, now: float) -> Orders:
        self._store.members.setdefault(beat.pool.id, Member(beat.pool, now))
        return await super().beat(beat, now)


class ClockComparer(MemoryBackend):
    """Dead is whose last beat is old by the wall clock."""

    def _silent(self, pool: str, monotonic: float) -> bool:
        beats = [member.heartbeat_at for member in self._store.members.values()]
        return max(beats) - self._store.members[pool].heartbeat_at >= SILENT_FOR


class LeavesRecords(MemoryBackend):
    """A pool that leaves stays on the list."""

    async def leave(self, pool: Pool, now: float) -> int:
        member = self._store.members[pool.id]
        back = await super().leave(pool, now)
        self._store.members[pool.id] = member
        return back


BY_MACHINE = [
    ZombieSettles,
    SettledTwice,
    LimitLeaks,
    LimitPerFetch,
    LockEndsAtStart,
    StaleDuplicate,
    PromotesEarly,
    ForgetsFailures,
    ReapsToNowhere,
    PoisonForEver,
    ReleaseCounts,
    CancelIsForgotten,
    KeepsNothing,
    ForgetsIds,
    PauseIsPolite,
    NobodyIsEvicted,
    ClockComparer,
    LeavesRecords,
]
BY_CONTRACT: list[tuple[type[Store] | type[MemoryBackend], str, dict[str, Any]]] = [
    (NewestFirst, "test_the_oldest_job_comes_first", {}),
    (LockOutlivesBurial, "test_until_done_the_lock_is_free_at_the_end", {"outcome": Buried("boom")}),
    (LockFreedForOthers, "test_a_job_lent_again_frees_no_lock_of_another_one", {"way": "reaped"}),
    (PoisonForEver, "test_a_job_that_lost_four_workers_is_buried", {}),
    (ClockComparer, "test_a_pool_that_stands_still_is_dead_after_eight_seconds", {}),
    (ForgetsIds, "test_an_id_is_refused_long_after_its_job_is_done", {}),
    (CancelIsForgotten, "test_a_running_job_does_not_run_again", {"outcome": Retried(T + 60, "boom")}),
]


def broken(bug: type[Store] | type[MemoryBackend]) -> MemoryBackend:
    """A memory backend with this bug."""
    if issubclass(bug, MemoryBackend):
        return bug()
    backend = MemoryBackend()
    backend._store = bug()
    return backend


@pytest.mark.parametrize("bug", BY_MACHINE, ids=lambda bug: bug.__name__)
def test_the_machine_finds(bug: type[Store]) -> None:
    with pytest.raises((AssertionError, KeyError, ExceptionGroup)):
        run_state_machine_as_test(
            machine_for(lambda: broken(bug)),
            settings=settings(
                max_examples=2000,
                stateful_step_count=40,
                phases=[Phase.generate],
                derandomize=True,
                database=None,
                deadline=None,
            ),
        )


@pytest.mark.parametrize(("bug", "test", "more"), BY_CONTRACT, ids=lambda part: getattr(part, "__name__", ""))
async def test_the_contract_finds(bug: type[Store], test: str, more: dict[str, Any]) -> None:
    judged = getattr(BackendContract(), test)
    await judged(backend=MemoryBackend(), **more)
    with pytest.raises(AssertionError):
        await judged(backend=broken(bug), **more)
