"""The four ports over one namespace of one database, the same for every dialect."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from worksong.adapters.base import BaseBackend
from worksong.adapters.sql.admin import SqlAdmin
from worksong.adapters.sql.beside import SqlBeside
from worksong.adapters.sql.broker import SqlBroker
from worksong.adapters.sql.cargo import SqlCargo
from worksong.adapters.sql.chronicle import SqlChronicle
from worksong.adapters.sql.deed import SqlDeed
from worksong.adapters.sql.doctor.servers import FORGETS
from worksong.adapters.sql.doctor.sqldoctor import SqlDoctor
from worksong.adapters.sql.finish import Finish, Unfinished
from worksong.adapters.sql.front import Front
from worksong.adapters.sql.inspector import Finished, SqlInspector
from worksong.adapters.sql.intake import SqlIntake
from worksong.adapters.sql.lent import joined
from worksong.adapters.sql.notebook import SqlNotebook
from worksong.adapters.sql.records import SqlRecords
from worksong.adapters.sql.results import SqlResults
from worksong.adapters.sql.rows import checked
from worksong.adapters.sql.shortest import Shortest
from worksong.adapters.sql.steps import CHUNK, Space
from worksong.adapters.sql.store import RETRIES, MaybeDone, Refused, Store, is_same_place, shared
from worksong.adapters.sql.upkeep import SqlUpkeep
from worksong.domain.capability import Capability
from worksong.domain.course import Grain, Slot
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown
from worksong.domain.finding import Finding
from worksong.domain.job import Delivery, Job, JobView, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Discarded, Done, Outcome, Settlement, following
from worksong.domain.parcel import Parcel
from worksong.domain.result import Result
from worksong.domain.tally import Tally
from worksong.ports.backend import (
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


class SqlBackend(BaseBackend):
    """Jobs in tables. A method is one transaction, but for those that go on in chunks or pool by pool, and for these:

    a push, fetch or settlement is tried in its shortest way first, and what that leaves is a transaction of its own.
    """

    capabilities = frozenset(Capability) - {Capability.PATTERNS}

    def __init__(self, store: Store, namespace: str) -> None:
        self._store, self._namespace = store, namespace
        self.name = store.address.shown
        keep, space = store.address.keep, Space(namespace)
        self._shared = shared(store.place, namespace)
        places, fences = self._shared.places, self._shared.fences
        self._results = SqlResults(store, namespace)
        if not self._results.endings.seconds:
            self.capabilities = type(self).capabilities - {Capability.RESULTS}
        self._broker = SqlBroker(space, places, fences, self._results.endings, history=keep.seconds > 0)
        self._shortest = Shortest(store, self._broker, Front(space), self._shared.bells)
        self._finish = None if keep.seconds else Finish(space, self._results.endings, one_step=store.one_step)
        self._upkeep = SqlUpkeep(space, places, keep, own_clock=store.own_clock)
        self._inspector, self._admin = SqlInspector(space, own_clock=store.own_clock), SqlAdmin(space, places)
        self._cargo, self._chronicle = SqlCargo(space), SqlChronicle(space)
        self._notebook = SqlNotebook(store, namespace)
        self._keeps_history = keep.seconds > 0
        self._doctor = SqlDoctor(store, namespace)

    def sibling(self) -> SqlBackend:
        return SqlBackend(self._store.sibling(), self._namespace)

    async def migrate(self) -> tuple[int, int]:
        """Create the tables or bring them up to date: (version before, version now)."""
        return await self._store.migrate()

    async def erase(self) -> None:
        await self._store.run(self._admin.erase)
        await self._store.run(self._cargo.erase)

    async def close(self) -> None:
        await self._shortest.close()
        await self._results.close()

    async def _ring(self) -> None:
        """Something may have become ready."""
        self._shared.bells.ring()
        await self._store.tell()

    # Broker

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        if not jobs:
            return []
        ready = [checked(job) for job in jobs]
        try:
            new = await self._shortest.push(ready, now, once=once)
        except MaybeDone as lost:
            raise EnqueueOutcomeUnknown([job.id for job in jobs], str(lost)) from lost
        await self._ring()
        return new

    def within(self, connection: object) -> SqlIntake:
        return SqlIntake(self._broker, joined(self._store, connection), self._shared.bells)

    def beside(self, records: RecordStore) -> Beside | None:
        if not (isinstance(records, SqlRecords) and is_same_place(self._store, records.store)):
            return None
        return partial(SqlBeside, self._store, self._broker, records.pages, ring=self._ring)

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        started, waited, idle = time.monotonic(), 0.0, 0
        while True:
            rings = self._shared.bells.rings
            found = await self._shortest.fetch(want, now + waited)
            if found:
                return found
            if waited >= want.wait:
                return []
            left, patience = want.wait - waited, self._shortest.patience
            changed = await self._store.hear(self._shared.bells, min(left, patience), rings, idle)
            waited, idle = time.monotonic() - started, idle + 1
            if not changed and left <= patience:
                return []

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        if not batch:
            return []
        try:
            gone = await self._finished(batch, now)
        except MaybeDone:
            held = await self._settled(batch, now)
            if not all(held):  # ended before its answer was lost, or somebody else's: not to be told apart
                raise
        else:
            others = iter(await self._settled([one for one in batch if one.delivery.receipt.seq not in gone], now))
            held = [one.delivery.receipt.seq in gone or next(others) for one in batch]
        if not any(brings_jobs(settlement.outcome) for settlement in batch):
            self._shared.bells.ring()  # for its result; and one more of a limited type may run
        else:
            await self._ring()
        return held

    async def _settled(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        return await self._store.run(lambda: self._broker.settle(batch, now)) if batch else []

    async def _finished(self, batch: Sequence[Settlement], now: float) -> set[int]:
        """The numbers of the rows whose jobs have ended the shortest way."""
        shortest = self._finish.shortest(batch, now) if self._finish else None
        if shortest is None:
            return set()
        try:
            return await self._store.run(shortest, alone=self._store.one_step)
        except Unfinished:
            return set()

    async def begin(self, *, blocks: bool) -> SqlDeed:
        return SqlDeed(await self._store.lend(blocks=blocks), self._broker, self._store, self._shared.bells)

    # Upkeep

    async def enlist(self, pool: Pool, now: float) -> None:
        await self._store.run(lambda: self._upkeep.enlist(pool, now))

    async def beat(self, beat: Beat, now: float) -> Orders:
        return await self._store.run(lambda: self._upkeep.beat(beat, now))

    async def leave(self, pool: Pool, now: float) -> int:
        await self._store.calm()  # a fetch whose caller has given up would lend to a pool that is gone
        back = await self._store.run(lambda: self._upkeep.leave(pool))
        if back:
            await self._ring()
        return back

    async def promote(self, now: float, limit: int) -> int:
        moved = await self._store.run(lambda: self._upkeep.promote(now, limit))
        if moved:
            await self._ring()
        return moved

    async def reap(self, now: float, monotonic: float, *, dead: Sequence[str] = ()) -> Reaped:
        try:
            return await self._reap(now, monotonic, dead)
        except BackendUnavailable:
            self._upkeep.forget_silence()
            raise

    async def _reap(self, now: float, monotonic: float, dead: Sequence[str]) -> Reaped:
        silent = await self._store.run(lambda: self._upkeep.watch(monotonic), write=False)
        known: dict[str, int | None] = {**dict(silent), **dict.fromkeys(dead)}
        struck: list[str] = []
        recovered = crashed = 0
        away: BackendUnavailable | None = None
        for pool, seen in known.items():
            try:
                gone, again, buried = await self._store.run(partial(self._upkeep.bury_pool, pool, seen, now))
            except BackendUnavailable as failure:  # somebody holds its rows: those of the others need not wait for them
                away = failure
                continue
            struck += [pool] if gone else []
            recovered, crashed = recovered + again, crashed + buried
        if recovered:
            await self._ring()
        if away and not struck:
            raise away
        return Reaped(tuple(struck), recovered, crashed)

    async def prune(self, now: float) -> int:
        pruned = await self._store.run(lambda: self._upkeep.prune_ids(now))
        pruned += await self._store.run(self._upkeep.prune_told)
        while dropped := await self._store.run(lambda: self._upkeep.prune_dead(now)):
            pruned += dropped
        pruned += await self._results.prune(now)
        pruned += await self._store.run(lambda: self._chronicle.prune(now))
        pruned += await self._notebook.prune(now)
        if self._keeps_history:
            pruned += await self._store.run(lambda: self._upkeep.prune_history(now))
        return pruned

    # Inspector

    async def queues(self, now: float) -> list[QueueView]:
        return await self._store.run(lambda: self._inspector.queues(now), write=False)

    async def counts(self) -> dict[State, int]:
        return await self._store.run(self._inspector.counts, write=False)

    async def jobs(self, state: State, window: Window) -> Listing:
        return await self._store.run(lambda: self._inspector.jobs(state, window), write=False)

    async def job(self, job_id: str) -> JobView | None:
        return await self._store.run(lambda: self._inspector.job(job_id), write=False)

    async def pools(self) -> list[PoolView]:
        return await self._store.run(self._inspector.pools, write=False)

    async def busy(self) -> list[BusyView]:
        return await self._store.run(self._inspector.busy, write=False)

    async def history(self, window: Window) -> tuple[Sequence[Finished], int]:
        """Finished jobs, the last first, and how many are remembered: with `?history=168h` in the URL."""
        return await self._store.run(lambda: self._inspector.history(window), write=False)

    # Results

    async def put(self, results: Sequence[Result]) -> None:
        self._need_results()
        await self._results.put(results)

    async def result(self, job_id: str) -> Result | None:
        self._need_results()
        return await self._results.result(job_id)

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        self._need_results()
        return await self._results.wait_result(job_id, seconds)

    def _need_results(self) -> None:
        if not self._results.endings.seconds:
            self.refuse(Capability.RESULTS)

    # Doctor

    async def admit(self) -> list[Finding]:
        return [FORGETS.found(setting) for setting in await self._store.run(self._inspector.risks, write=False)]

    async def examine(self, now: float) -> list[Finding]:
        return await self._doctor.examine(self, now)

    async def fix(self, finding_id: str, now: float) -> str:
        return await self._doctor.fix(self, finding_id, now)

    async def trace(self, job_id: str) -> Trace:
        return await self._store.run(lambda: self._inspector.trace(job_id), write=False)

    # Admin

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        moved = 0
        for ids in _chunks(job_ids):
            while part := await self._store.run(partial(self._admin.requeue, state, ids, now)):
                moved += part
        if moved:
            await self._ring()
        return moved

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        dropped = 0
        for ids in _chunks(job_ids):
            while part := await self._store.run(partial(self._admin.delete, state, ids)):
                dropped += part
        return dropped

    async def cancel(self, job_id: str, now: float) -> bool:
        return await self._store.run(lambda: self._admin.cancel(job_id))

    async def pause(self, name: str) -> None:
        await self._store.run(lambda: self._admin.pause(name))

    async def resume(self, name: str) -> None:
        await self._store.run(lambda: self._admin.resume(name))
        await self._ring()

    async def purge(self, name: str) -> int:
        """In chunks: what is enqueued meanwhile may go as well."""
        purged, last = 0, 0
        while True:
            dropped, last = await self._store.run(partial(self._admin.purge, name, last))
            if not last:
                return purged
            purged += dropped

    async def direct(self, pool_id: str, direction: Direction) -> bool:
        return await self._store.run(lambda: self._admin.direct(pool_id, str(direction)))

    # Cargo

    async def load(self, state: State, *, passed: int, most: int, destination: str, now: float) -> Load | None:
        opening = Load(new_id(), destination)
        return await self._store.run(lambda: self._cargo.load(state, passed, most, opening), write=most > 0)

    def carried(self, parcel: Parcel) -> Parcel:
        return self._cargo.carried(parcel)

    async def unload(self, load: Load, without: Collection[str], now: float) -> Landing:
        landing = await self._store.run(lambda: self._cargo.unload(load, without, now))
        await self._ring()
        return landing

    async def release(self, load_id: str, staying: Collection[str], now: float) -> int:
        dropped = await self._released(load_id, staying)
        if staying:
            await self._ring()
        return dropped

    async def _released(self, load_id: str, staying: Collection[str]) -> int:
        """Anew where an id or a lock of those that stay was taken since it was looked for: the next look finds it."""
        for _ in range(RETRIES - 1):
            with contextlib.suppress(Refused):
                return await self._store.run(lambda: self._cargo.release(load_id, staying))
        return await self._store.run(lambda: self._cargo.release(load_id, staying))

    async def known(self, after: str, most: int) -> tuple[Sequence[Known], str]:
        return await self._store.run(lambda: self._cargo.known(after, most), write=False)

    async def know(self, ids: Sequence[Known], now: float) -> list[bool]:
        return await self._store.run(lambda: self._cargo.know(ids, now))

    # Chronicle

    async def note(self, tallies: Mapping[str, Tally], now: float) -> None:
        await self._store.run(lambda: self._chronicle.note(tallies, now), lasting=False)

    async def course(self, grain: Grain, since: float, until: float) -> list[Slot]:
        return await self._store.run(lambda: self._chronicle.course(grain, since, until), write=False)

    # Notebook

    async def jot(self, lines: Sequence[Line], now: float) -> None:
        await self._notebook.jot(lines, now)

    async def lines(self, page: str) -> list[str]:
        return await self._notebook.lines(page)


def brings_jobs(outcome: Outcome) -> bool:
    """Whether something may be ready when it is carried out."""
    return bool(following(outcome)) if isinstance(outcome, Done) else not isinstance(outcome, Discarded)


def _chunks(job_ids: Sequence[str] | None) -> list[Sequence[str] | None]:
    """All of them at once when none are named: each chunk leaves the state, so the next one finds the rest."""
    if job_ids is None:
        return [None]
    return [job_ids[start : start + CHUNK] for start in range(0, len(job_ids), CHUNK)]
