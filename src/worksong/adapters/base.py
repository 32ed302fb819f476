"""What every backend starts from: all that it does not declare is refused, with what to use instead."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NoReturn

from msgspec.structs import replace

from worksong.adapters import rounds
from worksong.domain.capability import INSTEAD, Capability
from worksong.domain.course import Grain, Slot
from worksong.domain.errors import InvalidArguments, Unsupported
from worksong.domain.finding import Finding
from worksong.domain.job import Job, JobView
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement, following
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
    Listing,
    Orders,
    Pool,
    PoolView,
    QueueView,
    Reaped,
    Trace,
    Transaction,
    Window,
)
from worksong.ports.cargo import Known, Landing, Load
from worksong.ports.notebook import Line
from worksong.ports.records import RecordStore


class BaseBackend:
    """Override push, fetch and settle, then what the server can do more, and declare it in `capabilities`."""

    name = "this backend"
    capabilities: frozenset[Capability] = frozenset()
    fetches = 1

    def refuse(self, capability: Capability) -> NoReturn:
        """Say that the backend lacks the capability."""
        what = f"promise that {capability.value}"
        raise Unsupported(what, self.name, INSTEAD.get(capability, "choose another backend"))

    def check(self, job: Job) -> None:
        """Refuse what no undeclared capability can carry: call it for every pushed job."""
        have = self.capabilities
        if job.run_at and Capability.DELAY not in have:
            self.refuse(Capability.DELAY)
        if job.unique and Capability.UNIQUE not in have:
            self.refuse(Capability.UNIQUE)
        if isinstance(job.args, list) and Capability.POSITIONAL not in have:
            raise InvalidArguments(
                f"job {job.handler!r}: {self.name} carries arguments by name only; "
                f"{INSTEAD[Capability.POSITIONAL]}, as in args={{'user_id': 123}}"
            )

    def advise(self, allowance: Callable[[str], Allowance | None]) -> None:
        """It counts and times nothing by itself."""

    def within(self, connection: object) -> Transaction:
        self.refuse(Capability.TRANSACTION)

    def beside(self, records: RecordStore) -> Beside | None:
        return None

    async def begin(self, *, blocks: bool) -> Deed:
        self.refuse(Capability.EFFECT)

    async def erase(self) -> None:
        self.refuse(Capability.PURGE)

    async def close(self) -> None:
        """Nothing to let go of."""

    async def enlist(self, pool: Pool, now: float) -> None:
        """Nothing to register."""

    async def beat(self, beat: Beat, now: float) -> Orders:
        return Orders()

    async def leave(self, pool: Pool, now: float) -> int:
        return 0

    async def promote(self, now: float, limit: int) -> int:
        return 0

    async def until_due(self, now: float, seconds: float) -> None:
        """It cannot tell."""

    async def reap(self, now: float, monotonic: float, *, dead: Sequence[str] = ()) -> Reaped:
        return Reaped()

    async def prune(self, now: float) -> int:
        return 0

    async def queues(self, now: float) -> list[QueueView]:
        self.refuse(Capability.BROWSE)

    async def counts(self) -> dict[State, int]:
        self.refuse(Capability.BROWSE)

    async def jobs(self, state: State, window: Window) -> Listing:
        self.refuse(Capability.BROWSE)

    async def job(self, job_id: str) -> JobView | None:
        self.refuse(Capability.BROWSE)

    async def put(self, results: Sequence[Result]) -> None:
        self.refuse(Capability.RESULTS)

    async def result(self, job_id: str) -> Result | None:
        self.refuse(Capability.RESULTS)

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        self.refuse(Capability.RESULTS)

    async def pools(self) -> list[PoolView]:
        self.refuse(Capability.POOLS)

    async def busy(self) -> list[BusyView]:
        self.refuse(Capability.POOLS)

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        self.refuse(Capability.REVIVE)

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        self.refuse(Capability.REVIVE)

    async def cancel(self, job_id: str, now: float) -> bool:
        self.refuse(Capability.CANCEL)

    async def pause(self, name: str) -> None:
        self.refuse(Capability.PAUSE)

    async def resume(self, name: str) -> None:
        self.refuse(Capability.PAUSE)

    async def purge(self, name: str) -> int:
        self.refuse(Capability.PURGE)

    async def direct(self, pool_id: str, direction: Direction) -> bool:
        self.refuse(Capability.DIRECT)

    async def admit(self) -> list[Finding]:
        return []

    async def examine(self, now: float) -> list[Finding]:
        found = await rounds.visit(self, self.capabilities, now)
        return [replace(finding, fixable=False) for finding in found]

    async def fix(self, finding_id: str, now: float) -> str:
        raise InvalidArguments(f"{self.name} has nothing that could be mended under the name {finding_id!r}")

    async def trace(self, job_id: str) -> Trace:
        self.refuse(Capability.BROWSE)

    async def load(self, state: State, *, passed: int, most: int, destination: str, now: float) -> Load | None:
        self.refuse(Capability.MOVE)

    def carried(self, parcel: Parcel) -> Parcel:
        self.refuse(Capability.MOVE)

    async def unload(self, load: Load, without: Collection[str], now: float) -> Landing:
        self.refuse(Capability.MOVE)

    async def release(self, load_id: str, staying: Collection[str], now: float) -> int:
        self.refuse(Capability.MOVE)

    async def known(self, after: str, most: int) -> tuple[Sequence[Known], str]:
        self.refuse(Capability.MOVE)

    async def know(self, ids: Sequence[Known], now: float) -> list[bool]:
        self.refuse(Capability.MOVE)

    async def note(self, tallies: Mapping[str, Tally], now: float) -> None:
        self.refuse(Capability.HISTORY)

    async def course(self, grain: Grain, since: float, until: float) -> Sequence[Slot]:
        self.refuse(Capability.HISTORY)

    async def jot(self, lines: Sequence[Line], now: float) -> None:
        self.refuse(Capability.NOTES)

    async def lines(self, page: str) -> list[str]:
        self.refuse(Capability.NOTES)


async def precede(backend: Backend, batch: Sequence[Settlement], now: float) -> None:
    """Take in what follows these endings before they are carried out, for a store that cannot do both at once.

    Who is killed in between runs its job again; what follows is taken in once all the same where the store can tell.
    """
    if then := [job for settlement in batch for job in following(settlement.outcome)]:
        await backend.push(then, now, once=Capability.DEDUP in backend.capabilities)
