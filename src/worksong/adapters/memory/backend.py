"""`memory://`: the ports over the store of this process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from worksong.adapters.base import BaseBackend
from worksong.adapters.bells import Bells
from worksong.adapters.memory import cargo
from worksong.adapters.memory.beside import MemoryBeside
from worksong.adapters.memory.records import MemoryRecords
from worksong.adapters.memory.store import Member, Record, Store
from worksong.adapters.memory.views import busy_view, counts, job_view, pool_view, queue_views, trace_of
from worksong.domain.capability import Capability
from worksong.domain.course import Grain, Slot
from worksong.domain.errors import ConfigError, PayloadTooLarge
from worksong.domain.finding import Ailment, Finding, Severity
from worksong.domain.job import Delivery, Job, JobView, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement, following
from worksong.domain.parcel import Parcel, packed
from worksong.domain.result import Result
from worksong.domain.tally import Tally
from worksong.ports.backend import (
    SILENT_FOR,
    Beat,
    Beside,
    BusyView,
    Direction,
    Listing,
    Orders,
    Pool,
    PoolView,
    QueueView,
    Reaped,
    Trace,
    Want,
    Window,
)
from worksong.ports.cargo import Known, Landing, Load
from worksong.ports.notebook import Line
from worksong.ports.records import RecordStore
from worksong.wire import gojson

LARGEST = 1 << 20
"""Bytes of arguments."""

VOLATILE = Ailment(
    "memory.volatile",
    Severity.INFO,
    "Jobs live in this process only, and end with it.",
    "for jobs that survive, name a store: redis://localhost:6379/0",
)


class MemoryBackend(BaseBackend):
    """Jobs live as long as the process; every promise of the contract holds within it."""

    name = "memory://"
    capabilities = frozenset(Capability) - {
        Capability.SHARED,
        Capability.DURABLE,
        Capability.PATTERNS,
        Capability.TRANSACTION,
        Capability.EFFECT,
    }

    def __init__(self, url: str = "memory://", *, namespace: str = "") -> None:
        behind = url.partition(":")[2].removeprefix("//")
        if behind and behind[0] not in "?#":
            raise ConfigError("memory:// takes nothing behind it: each worker has a memory of its own")
        self._namespace = namespace
        self._store = Store()
        self._bells = Bells()
        self._seen: dict[str, tuple[int, float]] = {}

    def sibling(self) -> MemoryBackend:
        """The same jobs, seen by another pool or loop."""
        other = MemoryBackend(namespace=self._namespace)
        other._store, other._bells = self._store, self._bells
        return other

    def beside(self, records: RecordStore) -> Beside | None:
        if not isinstance(records, MemoryRecords):
            return None
        return partial(MemoryBeside, self._store, records, check=self._checked, ring=self._bells.ring)

    async def erase(self) -> None:
        with self._store.guard:
            self._store.clear()

    # Broker

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        checked = [self._checked(job) for job in jobs]
        with self._store.guard:
            new = [self._store.push(job, now, once=once) for job in checked]
        self._bells.ring()
        return new

    def _checked(self, job: Job) -> Job:
        """The job as it would come back from any other backend: its arguments went through JSON."""
        self.check(job)
        text = gojson.encode(job.args)
        if len(text) > LARGEST:
            raise PayloadTooLarge(f"job {job.handler!r}: its arguments take {len(text):,} bytes, more than {LARGEST:,}")
        args = msgspec.json.decode(text)
        if not job.unique:
            return replace(job, args=args)
        key = text if job.unique_by is None else gojson.encode(job.unique_by)
        return replace(job, args=args, unique=_mode(job), unique_key=f"{job.handler}:{key.decode()}")

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        rings = self._bells.rings
        found = self._take(want, now)
        if found or not want.wait:
            return found
        await self._bells.hear(want.wait, rings)
        return self._take(want, now)

    def _take(self, want: Want, now: float) -> list[Delivery]:
        with self._store.guard:
            return self._store.take(want, now)

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        ready = [(one, [self._checked(job) for job in following(one.outcome)]) for one in batch]
        with self._store.guard:
            held = [self._store.settle(one.delivery.receipt, one.outcome, now, then) for one, then in ready]
        self._bells.ring()
        return held

    # Upkeep

    async def enlist(self, pool: Pool, now: float) -> None:
        with self._store.guard:
            self._store.members[pool.id] = Member(pool, now)
            self._store.limits.update(pool.limits)

    async def beat(self, beat: Beat, now: float) -> Orders:
        with self._store.guard:
            member = self._store.members.get(beat.pool.id)
            if member is None:
                return Orders(evicted=True, lost=beat.held)
            member.heartbeat_at, member.running = now, beat.running
            member.beats += 1
            lent = self._store.lent[beat.pool.id]
            orders = Orders(
                cancel=frozenset(self._store.cancelled),
                lost=tuple(held for held in beat.held if held.fence not in lent),
                quiet=member.told == Direction.QUIET,
                stop=member.told == Direction.STOP,
            )
            missing = frozenset(lent) - {held.fence for held in beat.held}
            back = self._store.give_back(beat.pool.id, missing & member.missed)
            member.missed = missing
        if back:
            self._bells.ring()
        return orders

    async def leave(self, pool: Pool, now: float) -> int:
        with self._store.guard:
            back = self._store.give_back(pool.id, list(self._store.lent[pool.id]))
            del self._store.lent[pool.id]
            self._store.members.pop(pool.id, None)
        self._bells.ring()
        return back

    async def promote(self, now: float, limit: int) -> int:
        with self._store.guard:
            moved = self._store.promote(now, limit)
        if moved:
            self._bells.ring()
        return moved

    async def reap(self, now: float, monotonic: float, *, dead: Sequence[str] = ()) -> Reaped:
        recovered = crashed = 0
        with self._store.guard:
            silent = [pool for pool in self._store.members if pool in dead or self._silent(pool, monotonic)]
            for pool in silent:
                again, buried = self._store.recover(pool, now)
                recovered, crashed = recovered + again, crashed + buried
                del self._store.members[pool]
                self._seen.pop(pool, None)
        if recovered:
            self._bells.ring()
        return Reaped(tuple(silent), recovered, crashed)

    def _silent(self, pool: str, monotonic: float) -> bool:
        beats, since = self._store.members[pool].beats, monotonic
        seen, first = self._seen.get(pool, (-1, monotonic))
        if seen == beats:
            since = first
        self._seen[pool] = (beats, since)
        return monotonic - since >= SILENT_FOR

    async def prune(self, now: float) -> int:
        with self._store.guard:
            return self._store.prune(now)

    # Results

    async def put(self, results: Sequence[Result]) -> None:
        await self._store.results.put(results)

    async def result(self, job_id: str) -> Result | None:
        return await self._store.results.result(job_id)

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        return await self._store.results.wait_result(job_id, seconds)

    # Inspector

    async def queues(self, now: float) -> list[QueueView]:
        with self._store.guard:
            return queue_views(self._store, now)

    async def counts(self) -> dict[State, int]:
        with self._store.guard:
            return counts(self._store)

    async def jobs(self, state: State, window: Window) -> Listing:
        with self._store.guard:
            found = self._store.in_state(state)
        part = found[window.offset : window.offset + window.limit]
        return Listing(tuple(job_view(record) for record in part), len(found))

    async def job(self, job_id: str) -> JobView | None:
        with self._store.guard:
            record = self._store.records.get(job_id)
            return job_view(record) if record else None

    async def pools(self) -> list[PoolView]:
        with self._store.guard:
            return [pool_view(self._store.members[name]) for name in sorted(self._store.members)]

    async def busy(self) -> list[BusyView]:
        with self._store.guard:
            members = [self._store.members[name] for name in sorted(self._store.members)]
            return [busy_view(member.pool, running) for member in members for running in member.running]

    # Admin

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        moved = self._each(state, job_ids, lambda record: self._store.requeue(record, now))
        self._bells.ring()
        return moved

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        return self._each(state, job_ids, self._store.drop)

    def _each(self, state: State, job_ids: Sequence[str] | None, act: Callable[[Record], None]) -> int:
        with self._store.guard:
            every, ids = self._store.in_state(state), set(job_ids or ())
            wanted = every if job_ids is None else [record for record in every if record.job.id in ids]
            for record in wanted:
                act(record)
            return len(wanted)

    async def cancel(self, job_id: str, now: float) -> bool:
        with self._store.guard:
            record = self._store.records.get(job_id)
            if record is None:
                return False
            if record.state is State.RUNNING:
                self._store.cancelled.add(job_id)
            else:
                self._store.drop(record)
            return True

    async def pause(self, name: str) -> None:
        with self._store.guard:
            self._store.paused.add(name)

    async def resume(self, name: str) -> None:
        with self._store.guard:
            self._store.paused.discard(name)
        self._bells.ring()

    async def purge(self, name: str) -> int:
        with self._store.guard:
            waiting = list(self._store.waiting(name))
            for record in waiting:
                self._store.drop(record)
            return len(waiting)

    async def direct(self, pool_id: str, direction: Direction) -> bool:
        with self._store.guard:
            member = self._store.members.get(pool_id)
            if member and member.told != Direction.STOP:
                member.told = direction
            return member is not None

    # Doctor

    async def examine(self, now: float) -> list[Finding]:
        with self._store.guard:
            count = len(self._store.records)
        return [VOLATILE.found(f"{count:,} jobs now"), *await super().examine(now)]

    async def trace(self, job_id: str) -> Trace:
        with self._store.guard:
            return trace_of(self._store, job_id)

    # Cargo

    async def load(self, state: State, *, passed: int, most: int, destination: str, now: float) -> Load | None:
        with self._store.guard:
            return cargo.load(self._store, state, passed, most, Load(new_id(), destination))

    def carried(self, parcel: Parcel) -> Parcel:
        return packed(self._checked(cargo.job_of(parcel)), parcel.state, parcel.at, parcel.lock)

    async def unload(self, load: Load, without: Collection[str], now: float) -> Landing:
        with self._store.guard:
            landing = cargo.unload(self._store, load, without, now)
        self._bells.ring()
        return landing

    async def release(self, load_id: str, staying: Collection[str], now: float) -> int:
        with self._store.guard:
            dropped = cargo.release(self._store, load_id, staying)
        self._bells.ring()
        return dropped

    async def known(self, after: str, most: int) -> tuple[Sequence[Known], str]:
        with self._store.guard:
            return cargo.known(self._store, after, most)

    async def know(self, ids: Sequence[Known], now: float) -> list[bool]:
        with self._store.guard:
            return cargo.know(self._store, ids, now)

    # Chronicle

    async def note(self, tallies: Mapping[str, Tally], now: float) -> None:
        with self._store.guard:
            self._store.chronicle.note(tallies, now)

    async def course(self, grain: Grain, since: float, until: float) -> list[Slot]:
        with self._store.guard:
            return self._store.chronicle.course(grain, since, until)

    # Notebook

    async def jot(self, lines: Sequence[Line], now: float) -> None:
        with self._store.guard:
            self._store.notebook.jot(lines, now)

    async def lines(self, page: str) -> list[str]:
        with self._store.guard:
            return self._store.notebook.lines(page)


def _mode(job: Job) -> str | None:
    return "until_start" if job.unique is True else job.unique
