"""The jobs of one process and the moves between their states; every method is one atomic step."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from worksong.adapters.memory.chronicle import Chronicle
from worksong.adapters.memory.notebook import Notebook
from worksong.adapters.memory.results import MemoryResults
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.ports.backend import CRASHES_ALLOWED, CRASHES_KEPT, ONCE_KEPT, Direction, Pool, Running, Want
from worksong.ports.cargo import Fate, Load
from worksong.wire import result as wire

_ORDER, _TIME = attrgetter("order"), attrgetter("at", "order")


class Receipt(NamedTuple):
    """One lending: which pool holds which record, under which fence."""

    pool: str
    record: Record
    fence: int


class Record:
    """A job and where it is. A record that was moved leaves its old place by being passed over there."""

    __slots__ = ("at", "fence", "job", "order", "pool", "state")

    def __init__(self, job: Job, state: State, at: float, order: int) -> None:
        self.job = job
        self.state = state
        self.at = at
        self.order = order
        """Its place among the waiting: smaller goes first; a new number with every move."""
        self.pool = ""
        self.fence = 0


class Member(msgspec.Struct):
    """A pool and what it said last."""

    pool: Pool
    heartbeat_at: float
    beats: int = 0
    running: tuple[Running, ...] = ()
    missed: frozenset[int] = frozenset()
    """Fences lent to it that it did not hold at its last beat."""
    told: Direction | None = None
    """What an operator wants of it."""


class Aside(NamedTuple):
    """Records on their way to another store, with the state, the time and the lock that they had."""

    load: Load
    held: tuple[tuple[Record, State, bool], ...]


class Store:
    """All jobs by id, by line (queue, job type) and by time."""

    def __init__(self) -> None:
        self.guard = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Be empty."""
        self.records: dict[str, Record] = {}
        self.lines: dict[str, dict[str, deque[tuple[int, Record]]]] = {}
        """Job type -> queue -> waiting records with the order under which they joined."""
        self.timed: list[tuple[float, int, Record]] = []
        self.locks: dict[str, str] = {}
        """Unique key -> id of the job that holds it."""
        self.paused: set[str] = set()
        self.limits: dict[str, int] = {}
        self.running: Counter[str] = Counter()
        self.lent: defaultdict[str, dict[int, Record]] = defaultdict(dict)
        """Pool -> fence -> record."""
        self.members: dict[str, Member] = {}
        self.once: dict[str, float] = {}
        self.foreign: set[str] = set()
        """Ids known once that were not pushed here, or whose jobs went to another store."""
        self.aside: Aside | None = None
        """What a move has put aside."""
        self.landed: dict[str, dict[str, Fate]] = {}
        """Load taken in -> why some of its jobs were not."""
        self.cancelled: set[str] = set()
        self.results = MemoryResults()
        self.chronicle = Chronicle()
        self.notebook = Notebook()
        self.crashes: dict[str, tuple[int, float]] = {}
        self._orders = itertools.count(1)
        self._fronts = itertools.count(-1, -1)
        self._fences = itertools.count(1)

    # in

    def push(self, job: Job, now: float, *, once: bool) -> bool:
        """Take in one checked job; False: refused."""
        if self._is_known(job, now, once=once):
            return False
        if job.unique and not self._take_lock(job):
            return False
        if once:
            self.once[job.id] = now + ONCE_KEPT
            self.foreign.discard(job.id)
        if job.run_at > now:
            self.schedule(job, State.SCHEDULED, job.run_at)
        else:
            self.queue(Record(job, State.QUEUED, job.enqueued_at, next(self._orders)))
        return True

    def refuses(self, job: Job, now: float, *, once: bool) -> bool:
        """Whether it would be refused now."""
        is_locked = bool(job.unique) and self.locks.get(job.unique_key, "") in self.records
        return is_locked or self._is_known(job, now, once=once)

    def _is_known(self, job: Job, now: float, *, once: bool) -> bool:
        return job.id in self.records or (once and self.once.get(job.id, 0.0) > now)

    def _take_lock(self, job: Job) -> bool:
        """Take the lock; if it is taken by a waiting job unique by key, that one gets this job's data."""
        holder = self.records.get(self.locks.get(job.unique_key, ""))
        if holder is None:
            self.locks[job.unique_key] = job.id
            return True
        if job.unique_by is not None and holder.state in (State.QUEUED, State.SCHEDULED):
            del self.records[holder.job.id]
            holder.job = replace(job, run_at=holder.job.run_at)
            self.records[job.id] = holder
            self.locks[job.unique_key] = job.id
        return False

    def queue(self, record: Record, *, front: bool = False) -> None:
        """Let the record wait in its line."""
        record.state, record.pool = State.QUEUED, ""
        record.order = next(self._fronts if front else self._orders)
        self.records[record.job.id] = record
        line = self.lines.setdefault(record.job.handler, {}).setdefault(record.job.queue, deque())
        if front:
            line.appendleft((record.order, record))
        else:
            line.append((record.order, record))

    def schedule(self, job: Job, state: State, at: float) -> None:
        """Let the job wait for its time."""
        record = Record(job, state, at, next(self._orders))
        self.records[job.id] = record
        heapq.heappush(self.timed, (at, record.order, record))

    # lent

    def take(self, want: Want, now: float) -> list[Delivery]:
        """Lend at most `want.limit` jobs: each type's quota first, then whatever is left of them."""
        found: list[Delivery] = []
        for share in want.handlers:
            self._take_type(share.name, min(share.quota, want.limit - len(found)), want, now, found)
        for share in want.handlers:
            if len(found) >= want.limit:
                break
            self._take_type(share.name, want.limit - len(found), want, now, found)
        return found

    def _take_type(self, handler: str, count: int, want: Want, now: float, found: list[Delivery]) -> None:
        queues = self.lines.get(handler)
        if not queues:
            return
        limit = self.limits.get(handler, 0)
        if limit:
            count = min(count, limit - self.running[handler])
        while count > 0:
            record = self._next(queues, want.queues)
            if record is None:
                return
            found.append(self._lend(record, want.pool, now))
            count -= 1

    def _next(self, queues: dict[str, deque[tuple[int, Record]]], names: tuple[str, ...] | None) -> Record | None:
        """The next waiting record: of the first queue named that has one, or the oldest of all queues."""
        best: deque[tuple[int, Record]] | None = None
        for name in queues if names is None else names:
            line = queues.get(name)
            if line is None or name in self.paused:
                continue
            while line and (line[0][1].order != line[0][0] or line[0][1].state is not State.QUEUED):
                line.popleft()
            if line and (best is None or line[0][0] < best[0][0]):
                best = line
                if names is not None:
                    break
        return best.popleft()[1] if best else None

    def _lend(self, record: Record, pool: str, now: float) -> Delivery:
        job = record.job
        record.state, record.at, record.pool, record.fence = State.RUNNING, now, pool, next(self._fences)
        if job.unique and job.unique != "until_done":
            self.unlock(job)
        self.lent[pool][record.fence] = record
        self.running[job.handler] += 1
        return Delivery(job, Receipt(pool, record, record.fence), record.fence)

    def unlock(self, job: Job) -> None:
        """Give back the lock, if it is this job's."""
        if self.locks.get(job.unique_key) == job.id:
            del self.locks[job.unique_key]

    # back

    def settle(self, receipt: Receipt, outcome: Outcome, now: float, then: Sequence[Job] = ()) -> bool:
        """Carry out an ending, if this lending still holds the job; behind one that is done come others."""
        record = self.lent[receipt.pool].pop(receipt.fence, None)
        if record is None:
            return False
        job = record.job
        self.running[job.handler] -= 1
        del self.records[job.id]
        if job.id in self.cancelled:
            self.cancelled.discard(job.id)
            outcome = Discarded("cancelled")
        match outcome:
            case Retried(run_at, error):
                failed = replace(job, attempt=job.attempt + 1, error=error, failed_at=now, run_at=run_at)
                self.schedule(failed, State.RETRY, run_at)
            case Snoozed(run_at):
                self.schedule(replace(job, run_at=run_at), State.SCHEDULED, run_at)
            case Buried(error):
                self.unlock(job)
                self.bury(replace(job, attempt=job.attempt + 1, error=error, failed_at=now), now)
            case Released():
                self.queue(record, front=True)
            case _:
                self.unlock(job)
                for follower in then if isinstance(outcome, Done) else ():
                    self.push(follower, now, once=True)
        if result := wire.of(job.id, outcome, now):
            self.results.keep(result)
        return True

    def bury(self, job: Job, now: float) -> None:
        """Keep the job among the dead."""
        self.records[job.id] = Record(job, State.DEAD, now, next(self._orders))

    def give_back(self, pool: str, fences: Collection[int]) -> int:
        """Put these at the front of their queues, as they came; answers how many."""
        lent, back = self.lent[pool], 0
        for record in [lent.pop(fence) for fence in sorted(fences, reverse=True)]:
            self.running[record.job.handler] -= 1
            if record.job.id in self.cancelled:
                self.drop(record)
            else:
                self.queue(record, front=True)
                back += 1
        return back

    def recover(self, pool: str, now: float) -> tuple[int, int]:
        """Queue again what a dead pool held, or bury what has lost too many workers: (queued, buried)."""
        recovered = buried = 0
        for fence, record in list(self.lent.pop(pool, {}).items()):
            self.running[record.job.handler] -= 1
            record.fence = fence
            count, since = self.crashes.get(record.job.id, (0, now))
            count = count + 1 if now - since <= CRASHES_KEPT else 1
            self.crashes[record.job.id] = (count, since)
            if record.job.id in self.cancelled:
                self.drop(record)
            elif count > CRASHES_ALLOWED:
                self.unlock(record.job)
                self.bury(replace(record.job, error=f"worker_crashed: lost {count} workers", failed_at=now), now)
                buried += 1
            else:
                self.queue(record)
                recovered += 1
        return recovered, buried

    # moved

    def promote(self, now: float, limit: int) -> int:
        """Queue what is due."""
        moved = 0
        while self.timed and self.timed[0][0] <= now and moved < limit:
            _, order, record = heapq.heappop(self.timed)
            if record.order == order and record.state in (State.SCHEDULED, State.RETRY):
                record.job = replace(record.job, enqueued_at=now, run_at=0.0)
                record.at = now
                self.queue(record)
                moved += 1
        return moved

    def requeue(self, record: Record, now: float) -> None:
        """Queue a dead, retry or scheduled job at once."""
        if record.state is State.DEAD:
            record.job = replace(record.job, attempt=1, error="", failed_at=0.0)
        record.job = replace(record.job, enqueued_at=now, run_at=0.0)
        record.at = now
        self.queue(record)

    def drop(self, record: Record) -> None:
        """Forget the job and its lock."""
        record.state, record.order = State.GONE, 0
        self.records.pop(record.job.id, None)
        self.cancelled.discard(record.job.id)
        self.unlock(record.job)

    def prune(self, now: float) -> int:
        """Forget ids pushed once, crashes, results and pages that are old enough."""
        once = [job_id for job_id, until in self.once.items() if until <= now]
        crashes = [job_id for job_id, (_, since) in self.crashes.items() if now - since > CRASHES_KEPT]
        for job_id in once:
            del self.once[job_id]
            self.foreign.discard(job_id)
        for job_id in crashes:
            del self.crashes[job_id]
        return len(once) + len(crashes) + self.results.prune(now) + self.notebook.prune(now)

    # looked at

    def waiting(self, queue: str) -> Iterator[Record]:
        """The records waiting in a queue, in no order."""
        return (r for r in self.records.values() if r.state is State.QUEUED and r.job.queue == queue)

    def in_state(self, state: State) -> list[Record]:
        """All records of one state: soonest, or oldest, first."""
        found = [record for record in self.records.values() if record.state is state]
        by_time = state in (State.SCHEDULED, State.RETRY, State.DEAD)
        return sorted(found, key=_TIME if by_time else _ORDER)
