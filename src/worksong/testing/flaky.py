"""A backend that fails when told to: for tests of what happens while a server is away, or its answers are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

from worksong.domain.capability import Capability
from worksong.domain.course import Grain, Slot
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown
from worksong.domain.finding import Finding
from worksong.domain.job import Delivery, Job, JobView
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement
from worksong.domain.parcel import Parcel
from worksong.domain.result import Result
from worksong.domain.tally import Tally
from worksong.ports.backend import (
    Allowance,
    Backend,
    Beat,
    Beside,
    BusyView,
    Deed,
    Direction,
    Intake,
    Listing,
    Orders,
    Pool,
    PoolView,
    QueueView,
    Reaped,
    Trace,
    Transaction,
    Want,
    Window,
)
from worksong.ports.cargo import Known, Landing, Load
from worksong.ports.notebook import Line
from worksong.ports.records import Change, RecordStore

T = TypeVar("T")


class Fault(Enum):
    """What goes wrong with one call."""

    ERROR = "nothing is done, and the server cannot be reached"
    EXECUTE_THEN_ERROR = "it is done, and the answer is lost"


error, execute_then_error = Fault.ERROR, Fault.EXECUTE_THEN_ERROR


class FlakyBackend:
    """`inner`, with faults.

    `plan` has the faults of the next calls by the name of the method, None for a call that succeeds; when it is used
    up, every call does: ``FlakyBackend(inner, {"settle": [error] * 3 + [execute_then_error]})``.
    """

    def __init__(self, inner: Backend, plan: Mapping[str, Iterable[Fault | None]] | None = None) -> None:
        self.inner = inner
        self.plan: dict[str, Iterator[Fault | None]] = {}
        """May be changed while it is used; siblings share it."""
        self.calls: Counter[str] = Counter()
        """How often each method was called, failing calls included; shared by siblings."""
        for method, faults in (plan or {}).items():
            self.expect(method, faults)

    def expect(self, method: str, faults: Iterable[Fault | None]) -> None:
        """Plan the next calls of a method anew."""
        if not hasattr(Backend, method):
            raise ValueError(f"a backend has no method {method!r}")
        self.plan[method] = iter(faults)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def fetches(self) -> int:
        return self.inner.fetches

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.inner.capabilities

    def advise(self, allowance: Callable[[str], Allowance | None]) -> None:
        self.inner.advise(allowance)

    def sibling(self) -> FlakyBackend:
        other = FlakyBackend(self.inner.sibling())
        other.plan, other.calls = self.plan, self.calls
        return other

    def within(self, connection: object) -> Transaction:
        return self.inner.within(connection)

    def beside(self, records: RecordStore) -> Beside | None:
        """Its pushes are planned as all pushing is."""
        inner = self.inner.beside(records)
        return None if inner is None else lambda changes: _FlakyBeside(self._do, inner, changes)

    async def erase(self) -> None:
        await self.inner.erase()

    async def close(self) -> None:
        await self.inner.close()

    async def _do(self, method: str, act: Callable[[], Awaitable[T]], lost: Sequence[Job] = ()) -> T:
        self.calls[method] += 1
        match next(self.plan.get(method, iter(())), None):
            case Fault.ERROR:
                raise BackendUnavailable(f"{method} was planned to fail")
            case Fault.EXECUTE_THEN_ERROR:
                await act()
                if lost:
                    raise EnqueueOutcomeUnknown([job.id for job in lost], f"the answer to {method} was planned to fail")
                raise BackendUnavailable(f"the answer to {method} was planned to be lost")
            case None:
                return await act()

    # Broker

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        return await self._do("push", lambda: self.inner.push(jobs, now, once=once), jobs)

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        return await self._do("fetch", lambda: self.inner.fetch(want, now))

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        return await self._do("settle", lambda: self.inner.settle(batch, now))

    async def begin(self, *, blocks: bool) -> Deed:
        deed = await self._do("begin", lambda: self.inner.begin(blocks=blocks))
        return _FlakyDeed(deed, lambda settle: self._do("settle", settle))

    # Upkeep

    async def enlist(self, pool: Pool, now: float) -> None:
        await self._do("enlist", lambda: self.inner.enlist(pool, now))

    async def beat(self, beat: Beat, now: float) -> Orders:
        return await self._do("beat", lambda: self.inner.beat(beat, now))

    async def leave(self, pool: Pool, now: float) -> int:
        return await self._do("leave", lambda: self.inner.leave(pool, now))

    async def promote(self, now: float, limit: int) -> int:
        return await self._do("promote", lambda: self.inner.promote(now, limit))

    async def until_due(self, now: float, seconds: float) -> None:
        await self.inner.until_due(now, seconds)

    async def reap(self, now: float, monotonic: float, *, dead: Sequence[str] = ()) -> Reaped:
        return await self._do("reap", lambda: self.inner.reap(now, monotonic, dead=dead))

    async def prune(self, now: float) -> int:
        return await self._do("prune", lambda: self.inner.prune(now))

    # Inspector

    async def queues(self, now: float) -> list[QueueView]:
        return await self._do("queues", lambda: self.inner.queues(now))

    async def counts(self) -> dict[State, int]:
        return await self._do("counts", self.inner.counts)

    async def jobs(self, state: State, window: Window) -> Listing:
        return await self._do("jobs", lambda: self.inner.jobs(state, window))

    async def job(self, job_id: str) -> JobView | None:
        return await self._do("job", lambda: self.inner.job(job_id))

    async def pools(self) -> list[PoolView]:
        return await self._do("pools", self.inner.pools)

    async def busy(self) -> list[BusyView]:
        return await self._do("busy", self.inner.busy)

    # Admin

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        return await self._do("requeue", lambda: self.inner.requeue(state, job_ids, now))

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        return await self._do("delete", lambda: self.inner.delete(state, job_ids))

    async def cancel(self, job_id: str, now: float) -> bool:
        return await self._do("cancel", lambda: self.inner.cancel(job_id, now))

    async def pause(self, name: str) -> None:
        await self._do("pause", lambda: self.inner.pause(name))

    async def resume(self, name: str) -> None:
        await self._do("resume", lambda: self.inner.resume(name))

    async def purge(self, name: str) -> int:
        return await self._do("purge", lambda: self.inner.purge(name))

    async def direct(self, pool_id: str, direction: Direction) -> bool:
        return await self._do("direct", lambda: self.inner.direct(pool_id, direction))

    # Results

    async def put(self, results: Sequence[Result]) -> None:
        await self._do("put", lambda: self.inner.put(results))

    async def result(self, job_id: str) -> Result | None:
        return await self._do("result", lambda: self.inner.result(job_id))

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        return await self._do("wait_result", lambda: self.inner.wait_result(job_id, seconds))

    # Doctor

    async def admit(self) -> list[Finding]:
        return await self._do("admit", self.inner.admit)

    async def examine(self, now: float) -> list[Finding]:
        return await self._do("examine", lambda: self.inner.examine(now))

    async def fix(self, finding_id: str, now: float) -> str:
        return await self._do("fix", lambda: self.inner.fix(finding_id, now))

    async def trace(self, job_id: str) -> Trace:
        return await self._do("trace", lambda: self.inner.trace(job_id))

    # Cargo

    async def load(self, state: State, *, passed: int, most: int, destination: str, now: float) -> Load | None:
        return await self._do(
            "load",
            lambda: self.inner.load(state, passed=passed, most=most, destination=destination, now=now),
        )

    def carried(self, parcel: Parcel) -> Parcel:
        return self.inner.carried(parcel)

    async def unload(self, load: Load, without: Collection[str], now: float) -> Landing:
        return await self._do("unload", lambda: self.inner.unload(load, without, now))

    async def release(self, load_id: str, staying: Collection[str], now: float) -> int:
        return await self._do("release", lambda: self.inner.release(load_id, staying, now))

    async def known(self, after: str, most: int) -> tuple[Sequence[Known], str]:
        return await self._do("known", lambda: self.inner.known(after, most))

    async def know(self, ids: Sequence[Known], now: float) -> list[bool]:
        return await self._do("know", lambda: self.inner.know(ids, now))

    # Chronicle

    async def note(self, tallies: Mapping[str, Tally], now: float) -> None:
        await self._do("note", lambda: self.inner.note(tallies, now))

    async def course(self, grain: Grain, since: float, until: float) -> Sequence[Slot]:
        return await self._do("course", lambda: self.inner.course(grain, since, until))

    # Notebook

    async def jot(self, lines: Sequence[Line], now: float) -> None:
        await self._do("jot", lambda: self.inner.jot(lines, now))

    async def lines(self, page: str) -> list[str]:
        return await self._do("lines", lambda: self.inner.lines(page))


class _FlakyBeside:
    def __init__(self, do: Callable[..., Awaitable[list[bool]]], inner: Beside, changes: Sequence[Change]) -> None:
        self._do, self._inner, self._changes = do, inner, changes

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        intake: Intake = self._inner(self._changes)
        return await self._do("push", lambda: intake.push(jobs, now, once=once), jobs)


class _FlakyDeed:
    """Settling it is planned as all settling is."""

    def __init__(self, inner: Deed, do: Callable[[Callable[[], Awaitable[bool]]], Awaitable[bool]]) -> None:
        self._inner, self._do = inner, do

    @property
    def connection(self) -> Any:
        return self._inner.connection

    async def settle(self, settlement: Settlement, now: float) -> bool:
        return await self._do(lambda: self._inner.settle(settlement, now))

    async def undo(self) -> None:
        await self._inner.undo()
