"""A backend as a dict: the little that is needed to say what a real one must answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec

from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Outcome, Released, Retried, Snoozed
from worksong.ports.backend import CRASHES_ALLOWED, SILENT_FOR

STARTED = "until_start"


class Entry(msgspec.Struct, eq=False):
    """A job, where it is, and what it holds."""

    job: Job
    name: str
    """The queue by which it can be paused and purged."""
    state: State
    at: float = 0.0
    attempt: int = 1
    args: Any = None
    key: str = ""
    """The lock that it holds."""
    pool: str = ""
    fence: int = 0
    crashes: int = 0
    cancelled: bool = False


class Model:
    """What a backend should hold after everything that was asked of it."""

    def __init__(self, limits: Mapping[str, int], name_of: Callable[[Job], str]) -> None:
        self.entries: dict[str, Entry] = {}
        """By id; a job renewed by a duplicate is known under both ids."""
        self.members: dict[str, object] = {}
        """Pools enlisted -> their latest beat as others see it."""
        self.paused: set[str] = set()
        self._limits, self._name_of = limits, name_of
        self._locks: dict[str, Entry] = {}
        self._once: set[str] = set()
        self._watched: dict[str, tuple[object, float]] = {}

    # in

    def push(self, job: Job, now: float, *, once: bool = False) -> bool:
        """Whether the job is new."""
        if once and job.id in self._once:
            return False
        key = _key(job)
        holder = self._locks.get(key)
        if holder:
            if job.unique_by is not None:
                holder.args = job.args
                self.entries[job.id] = holder
            return False
        if once:
            self._once.add(job.id)
        state = State.SCHEDULED if job.run_at > now else State.QUEUED
        entry = Entry(job, self._name_of(job), state, job.run_at, args=job.args, key=key)
        self.entries[job.id] = entry
        if key:
            self._locks[key] = entry
        return True

    # lent

    def lendable(self, limit: int) -> int:
        """How many jobs a fetch must find."""
        waiting: dict[str, int] = {}
        for entry in self.all(State.QUEUED):
            if entry.name not in self.paused:
                waiting[entry.job.handler] = waiting.get(entry.job.handler, 0) + 1
        return min(limit, sum(min(count, self._room(handler)) for handler, count in waiting.items()))

    def lend(self, delivery: Delivery, pool: str) -> None:
        """Check one lending, and note it."""
        job, entry = delivery.job, self.entries.get(delivery.job.id)
        assert entry is not None, f"lent a job that nobody pushed: {job}"
        assert entry.state is State.QUEUED, f"lent a job that is {entry.state}: {job}"
        assert entry.name not in self.paused, f"lent a job of a paused queue: {job}"
        assert self._room(job.handler) > 0, f"lent a job beyond its type's limit: {job}"
        assert (job.attempt, job.args) == (entry.attempt, entry.args), f"lent {job} instead of {entry}"
        assert delivery.fence > entry.fence, f"lent twice under the fence {delivery.fence}: {job}"
        entry.state, entry.pool, entry.fence = State.RUNNING, pool, delivery.fence
        if entry.job.unique == STARTED:
            self._unlock(entry)

    def _room(self, handler: str) -> int:
        running = sum(1 for entry in self.all(State.RUNNING) if entry.job.handler == handler)
        return self._limits.get(handler, 1 << 30) - running

    def settle(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Carry out an ending; whether the claim still held."""
        entry = self.entries[delivery.job.id]
        if entry.state is not State.RUNNING or entry.fence != delivery.fence:
            return False
        match outcome:
            case _ if entry.cancelled:
                self._drop(entry)
            case Retried(run_at):
                entry.state, entry.at, entry.attempt = State.RETRY, run_at, entry.attempt + 1
            case Snoozed(run_at):
                entry.state, entry.at = State.SCHEDULED, run_at
            case Buried():
                entry.attempt += 1
                self._bury(entry)
            case Released():
                entry.state = State.QUEUED
            case _:
                self._drop(entry)
        return True

    # pools

    def beat(self, pool: str, value: object) -> bool:
        """Note a beat; whether the pool is still enlisted."""
        if pool in self.members:
            self.members[pool] = value
        return pool in self.members

    def reap(self, monotonic: float, dead: Collection[str] = ()) -> tuple[set[str], range, int]:
        """(dead pools, how many jobs may count as recovered, jobs buried)."""
        for pool, value in self.members.items():
            if self._watched.get(pool, (None, 0.0))[0] != value:
                self._watched[pool] = (value, monotonic)
        silent = {pool for pool in self.members if pool in dead or monotonic - self._watched[pool][1] >= SILENT_FOR}
        lost = [entry for entry in self.all(State.RUNNING) if entry.pool in silent]
        for entry in lost:
            entry.crashes += 1
            self._hand_back(entry)
            if entry.crashes > CRASHES_ALLOWED and entry.state is State.QUEUED:
                self._bury(entry)
        self._strike(silent)
        return silent, _back(lost), sum(1 for entry in lost if entry.state is State.DEAD)

    def leave(self, pool: str) -> range:
        """How many jobs may count as gone back."""
        held = [entry for entry in self.all(State.RUNNING) if entry.pool == pool]
        for entry in held:
            self._hand_back(entry)
        self._strike({pool})
        return _back(held)

    def _hand_back(self, entry: Entry) -> None:
        if entry.cancelled:
            self._drop(entry)
        else:
            entry.state = State.QUEUED

    def _strike(self, pools: Collection[str]) -> None:
        for pool in pools:
            self.members.pop(pool, None)
            self._watched.pop(pool, None)

    # moved

    def promote(self, now: float) -> int:
        """How many are due."""
        due = [entry for entry in self.all(State.SCHEDULED, State.RETRY) if entry.at <= now]
        for entry in due:
            entry.state = State.QUEUED
        return len(due)

    def requeue(self, entry: Entry) -> None:
        """Queue it at once."""
        if entry.state is State.DEAD:
            entry.attempt = 1
        entry.state = State.QUEUED

    def cancel(self, entry: Entry) -> None:
        """Drop it, or have it dropped when its run ends."""
        if entry.state is State.RUNNING:
            entry.cancelled = True
        else:
            self._drop(entry)

    def delete(self, *entries: Entry) -> int:
        """Drop them; answers how many."""
        for entry in entries:
            self._drop(entry)
        return len(entries)

    def _bury(self, entry: Entry) -> None:
        entry.state = State.DEAD
        self._unlock(entry)

    def _drop(self, entry: Entry) -> None:
        entry.state = State.GONE
        self._unlock(entry)

    def _unlock(self, entry: Entry) -> None:
        if entry.key:
            del self._locks[entry.key]
            entry.key = ""

    # looked at

    def all(self, *states: State) -> Iterator[Entry]:
        """Every job in one of these states, once."""
        seen: set[int] = set()
        for entry in list(self.entries.values()):
            if entry.state in states and id(entry) not in seen:
                seen.add(id(entry))
                yield entry


def _back(handed: Collection[Entry]) -> range:
    """A job that was cancelled and is dropped now may be counted or not."""
    back = sum(1 for entry in handed if entry.state is State.QUEUED)
    return range(back, back + sum(1 for entry in handed if entry.state is State.GONE) + 1)


def _key(job: Job) -> str:
    if not job.unique:
        return ""
    same = job.args if job.unique_by is None else job.unique_by
    return f"{job.handler}:{same}"
