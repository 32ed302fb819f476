"""The contract of a backend, in small ports; adapters repeat nothing of it.

1. At least once: a job is gone only when a settlement said so.
2. A receipt is unique per lending: settling with an old one changes nothing and is reported. What was really removed
   from the lender's hands gates everything else (retry entry, dead entry, lock, limit).
3. `push` carried it out, or raised. A lost answer raises `EnqueueOutcomeUnknown`; only a push `once` may be repeated.
4. A server that is away raises `BackendUnavailable` from any method, and nothing else does.
5. Ownership is a record, not a timer: liveness is per pool (its beats), never per job, however long a job runs.
6. `now` is Unix seconds, given by the caller; formats with whole seconds round a run time up: late, never early.
7. What is found in the store and cannot be read goes to the dead jobs with a reason and its original bytes, at the
   first touch, and costs no other job anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from worksong.domain.capability import Capability
from worksong.domain.finding import Finding
from worksong.domain.job import Delivery, Job, JobView
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement
from worksong.ports.cargo import Cargo
from worksong.ports.chronicle import Chronicle
from worksong.ports.notebook import Notebook
from worksong.ports.pool import Allowance, Beat, Direction, Orders, Pool, Reaped, Running, Want
from worksong.ports.records import Change, RecordStore
from worksong.ports.results import Results
from worksong.ports.views import BusyView, Listing, PoolView, QueueView, Trace, Window

__all__ = [
    "BEAT_EVERY",
    "CRASHES_ALLOWED",
    "CRASHES_KEPT",
    "ONCE_KEPT",
    "SILENT_FOR",
    "Admin",
    "Allowance",
    "Backend",
    "BackendFactory",
    "Beat",
    "Beside",
    "Broker",
    "BusyView",
    "Deed",
    "Direction",
    "Doctor",
    "Inspector",
    "Intake",
    "Listing",
    "Orders",
    "Pool",
    "PoolView",
    "QueueView",
    "Reaped",
    "Running",
    "Trace",
    "Transaction",
    "Upkeep",
    "Want",
    "Window",
]

BEAT_EVERY = 1.0
"""Seconds between two beats of a pool."""
SILENT_FOR = 8.0
"""Seconds of standing still after which a pool is dead."""
CRASHES_ALLOWED = 3
"""Workers that a job may take with it; the next one buries it."""
CRASHES_KEPT = 72 * 3600
"""Seconds after the last of them for which they are counted."""
ONCE_KEPT = 48 * 3600
"""Seconds for which the id of a job pushed `once` is known, at least."""


class Intake(Protocol):
    """Jobs in."""

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        """As `Broker.push`."""
        ...


Beside: TypeAlias = Callable[[Sequence[Change]], Intake]
"""Makes the intake for one push of jobs that come into being together with these changes of records.

The push carries out the changes and takes in all the jobs in one step, and answers True for each; or it does nothing,
and answers False for each: a record was not as it was said to be, or one of the jobs is a refused duplicate. What
raises has done nothing either; `EnqueueOutcomeUnknown` means all or nothing.
"""


class Transaction(Intake, Protocol):
    """Takes jobs in by a transaction of the application: they are there if and only if that commits."""

    @property
    def blocks(self) -> bool:
        """Whether its connection blocks the thread, and a push waits for no event loop."""
        ...


class Deed(Protocol):
    """A transaction that a handler writes in. It ends together with the job, or leaves nothing behind."""

    @property
    def connection(self) -> Any:
        """The driver's own, for the handler; of no use to anybody once the transaction is over."""
        ...

    async def settle(self, settlement: Settlement, now: float) -> bool:
        """Carry out the ending in the transaction, and commit both; False: the claim did not hold, and nothing stays.

        A job that was cancelled meanwhile is dropped, and nothing stays. What raises has left nothing, but for a
        `BackendUnavailable` that comes of a commit without an answer: then both are done or neither. The job's row is
        locked until that is decided, so `Broker.settle` with another outcome tells: it is refused where both are done.
        """
        ...

    async def undo(self) -> None:
        """Leave nothing of what is not committed, and take the connection away, whoever uses it. Raises nothing."""
        ...


class Broker(Protocol):
    """Jobs in, jobs lent, jobs settled."""

    @property
    def fetches(self) -> int:
        """Fetches of one pool that are worth having under way at once: two where the way to the server counts."""
        ...

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        """Take in all `jobs`; tell for each whether it is new (False: a refused duplicate of a unique job).

        Every job has an id. With `once` an id already taken in, even long finished, is refused as well; kept for
        48 hours at least. A refused duplicate of a job unique by key replaces the data of the one that waits.
        """
        ...

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        """Lend at most `want.limit` jobs to `want.pool`, oldest first within a job type.

        Paused queues and job types at their limit count as empty. A unique job's lock that lasts until the start is
        free with the same step.
        """
        ...

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        """Carry out each ending in one atomic step; tell for each whether the claim still held.

        A backend that keeps results keeps them with the same step, and takes in the jobs that follow: nothing follows
        where the claim does not hold, or the job was cancelled. One that cannot (`Capability.THEN`) takes them in
        before. Raises `InvalidArguments` for what it cannot carry, and that ending is not carried out.
        """
        ...

    async def begin(self, *, blocks: bool) -> Deed:
        """Open a transaction for a handler; it holds no lock of ours before it is settled, unless the store has one.

        `blocks`: for use in a thread, without this event loop. Raises `Unsupported`.
        """
        ...


class Upkeep(Protocol):
    """What keeps the jobs moving; every pool does all of it, and nothing of it needs a leader."""

    async def enlist(self, pool: Pool, now: float) -> None:
        """Register the pool before its first fetch: its job types, limits and first beat."""
        ...

    async def beat(self, beat: Beat, now: float) -> Orders:
        """Say that the pool lives, and hear what it should do. Recovers what this very pool lost track of."""
        ...

    async def leave(self, pool: Pool, now: float) -> int:
        """Hand back whatever the pool still holds, then strike it off; answers how many jobs went back."""
        ...

    async def promote(self, now: float, limit: int) -> int:
        """Queue scheduled and retry jobs that are due, at most `limit`, unaltered but for the time."""
        ...

    async def until_due(self, now: float, seconds: float) -> None:
        """Return when something may be due for `promote`, whoever put it there; after `seconds` at the latest.

        At once where the store cannot tell, or is away: the caller asks again by its own clock.
        """
        ...

    async def reap(self, now: float, monotonic: float, *, dead: Sequence[str] = ()) -> Reaped:
        """Recover the jobs of pools that stopped beating; of `dead` ones at once.

        A pool is dead when its beat was not seen to change for 8 s (`SILENT_FOR`) of the caller's `monotonic` clock:
        nobody's wall clock is compared. Pools of another library on the same store may beat less often than once in
        a second; the adapter knows how long those may be silent (gocraft/work's: 15 s). A job that lost more than 3
        workers within 72 hours is buried as `worker_crashed`.
        """
        ...

    async def prune(self, now: float) -> int:
        """Drop what is kept for a time only (old dead jobs, bookkeeping)."""
        ...


class Inspector(Protocol):
    """Looking without touching."""

    async def queues(self, now: float) -> list[QueueView]: ...

    async def counts(self) -> dict[State, int]: ...

    async def jobs(self, state: State, window: Window) -> Listing:
        """Soonest or oldest first."""
        ...

    async def job(self, job_id: str) -> JobView | None: ...

    async def pools(self) -> list[PoolView]: ...

    async def busy(self) -> list[BusyView]: ...


class Admin(Protocol):
    """An operator's hand. Ids that are not (or no longer) there are not counted; None means all of that state."""

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        """Queue dead, retry or scheduled jobs at once, dead ones with their failures forgotten."""
        ...

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        """Drop dead, retry or scheduled jobs, their unique locks included."""
        ...

    async def cancel(self, job_id: str, now: float) -> bool:
        """Drop the job wherever it waits; a running one is told to stop and not run again. False: not found."""
        ...

    async def pause(self, name: str) -> None:
        """Lend nothing more from this queue, until resumed; running jobs go on."""
        ...

    async def resume(self, name: str) -> None: ...

    async def purge(self, name: str) -> int:
        """Drop all jobs waiting in this queue; answers how many."""
        ...

    async def direct(self, pool_id: str, direction: Direction) -> bool:
        """Have the pool hear this with every beat from now on; False: there is no such pool.

        Nothing takes it back, and `stop` outweighs `quiet`. It is gone with the pool: a new id begins anew. Raises
        `InvalidArguments` for a pool of another library, which would not hear it.
        """
        ...


class Doctor(Protocol):
    """What is wrong with the store, or with one job in it."""

    async def admit(self) -> list[Finding]:
        """What whoever begins to work here should be warned of; one round trip.

        Raises `ConfigError` for a store that drops jobs by its settings. What the server refuses to tell is no finding.
        """
        ...

    async def examine(self, now: float) -> list[Finding]:
        """Look at everything, and change nothing: a finding for each ailment, one that is `ok` for each passed check.

        A check that the server does not permit is a finding too. May take seconds: what must be wrong at two looks in
        a row is looked at twice.
        """
        ...

    async def fix(self, finding_id: str, now: float) -> str:
        """Mend a fixable finding as far as that is safe; answers what was done. Nothing to do is no error.

        Raises `InvalidArguments` for a finding that the doctor cannot mend.
        """
        ...

    async def trace(self, job_id: str) -> Trace:
        """Where the job is, and what stands in its way."""
        ...


class Backend(Broker, Upkeep, Inspector, Admin, Results, Doctor, Cargo, Chronicle, Notebook, Protocol):
    """A store of jobs, all ports; what it cannot do it does not declare."""

    @property
    def name(self) -> str:
        """How errors call it: the URL without secrets."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    def advise(self, allowance: Callable[[str], Allowance | None]) -> None:
        """Where to ask what a job type allows; None: it is not known here. Siblings made afterwards ask there, too."""
        ...

    def sibling(self) -> Backend:
        """The same store, for use in another event loop."""
        ...

    def within(self, connection: object) -> Transaction:
        """For a connection of the application to the same database; raises `Unsupported` for any other."""
        ...

    def beside(self, records: RecordStore) -> Beside | None:
        """For records that are kept in the same place as the jobs; None: a step cannot change both."""
        ...

    async def erase(self) -> None:
        """Drop everything in this namespace, as after a benchmark or a test."""
        ...

    async def close(self) -> None:
        """Let go of connections; a closed backend opens them again when used."""
        ...


class BackendFactory(Protocol):
    """What an entry point of `worksong.backends` names."""

    def __call__(self, url: str, *, namespace: str) -> Backend:
        """A backend for the URL; raises `ConfigError` for one that cannot work, and connects only when used."""
        ...
