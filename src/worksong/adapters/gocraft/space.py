"""One namespace on one Redis: its keys, the scripts over them, and how its documents are read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from worksong.adapters.redis.client import Arg, Redis, Script
from worksong.adapters.redis.lookout import Gate
from worksong.adapters.redis.store import Store, as_bytes, stored, text, whole
from worksong.domain.errors import BackendRefused, InvalidArguments
from worksong.domain.job import Job, JobView, new_id
from worksong.domain.lifecycle import State
from worksong.domain.poison import Poison, Reason
from worksong.wire import gocraft
from worksong.wire.gocraft_keys import Keys

LOCK_KEPT = 86400
"""Seconds that a unique lock lasts, from the last time it was asked for."""
DEAD_KEPT = 180 * 86400.0
"""Seconds that dead jobs and the bytes of poison are kept."""

PUSH, PUSH_GUARDED, FETCH, SETTLE, MOVE, REMOVE, BEAT, STRIKE, REPAIR = (
    Script.named(name)
    for name in ("push", "push_guarded", "fetch", "settle", "move", "remove", "beat", "strike", "repair")
)
LOAD, UNLOAD, RELEASE, FOLLOW = (Script.named(name) for name in ("load", "unload", "release", "follow"))
RECORD_PUSH = Script.named("record_push")

_SUFFIXES = (":paused", ":lock", ":lock_info", ":max_concurrency", ":inprogress")

log = logging.getLogger("worksong")


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """One lending: whose in-progress list holds which bytes."""

    pool: str
    type: str
    """The job type whose queue it came from; a stray job's own name is another."""
    raw: bytes


class Item(msgspec.Struct, frozen=True):
    """One ending for the settle script."""

    action: str
    raw: bytes
    new: bytes = b""
    at: int = 0
    id: str = ""
    lock: str = ""
    held: str = ""


class Group(NamedTuple):
    """Endings of one job type in the hands of one pool, which no other group of the same call has."""

    pool: str
    keys: Sequence[Arg]
    """Those of `Space.lent`."""
    drops: Sequence[Arg]
    """Jobs that end with nothing to write and no lock to free: bytes, id, bytes, id ..."""
    items: Sequence[Item]


class Space(Store):
    """The namespace as all parts of the adapter see it."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        super().__init__(redis)
        self.keys = keys
        self._complained: set[str] = set()

    async def known(self) -> list[str]:
        """The names of all job types ever enqueued or served here."""
        return sorted(text(name) for name in await self.call("SMEMBERS", self.keys.known_jobs))

    async def settle(self, groups: Sequence[Group], now: float) -> list[bool]:
        """Carry out endings: whose were still the pool's; of each group its drops come first."""
        k = self.keys
        keys: list[Arg] = [k.retry, k.scheduled, k.dead, k.cancelled, k.recovered, k.recovered_at]
        args: list[Arg] = [int(now)]
        for pool, lists, drops, items in groups:
            keys += lists
            args += (pool, len(drops) // 2, len(items))
            args += drops
            for item in items:
                args += (item.action, item.raw, item.new, item.at, item.id, item.lock, item.held)
        return [answer == 1 for answer in await self.run(SETTLE, keys, args)]

    def lent(self, pool: str, name: str) -> tuple[Arg, ...]:
        """The keys that the ending of a job changes, which the pool was lent from the queue of this type."""
        k = self.keys
        return as_bytes((k.inprogress(name, pool), k.jobs(name), k.lock(name), k.lock_info(name)))

    async def try_settle(self, pool: str, name: str, items: Sequence[Item], now: float) -> list[bool]:
        """Endings of one job type; none, and a word of it, when the server refuses them for one of its keys."""
        try:
            return await self.settle([Group(pool, self.lent(pool, name), (), items)], now)
        except BackendRefused as refusal:
            if name not in self._complained:
                self._complained.add(name)
                log.error("jobs of type %s lie in progress and cannot be taken from there: %s", name, refusal)
            return [False] * len(items)

    async def strike(self, pool: str, names: Iterable[str]) -> bool:
        """Strike a pool off, unless something of these types is left in progress."""
        k = self.keys
        lists = [key for name in names for key in (k.inprogress(name, pool), k.lock(name), k.lock_info(name))]
        return bool(await self.run(STRIKE, (k.worker_pools, k.pool(pool), *lists), (pool,)))

    def gate(self, name: str) -> Gate:
        """The queue of a job type: a pause holds it, or its limit."""
        k = self.keys
        paused, lock, limit = (stored(key(name)) for key in (k.paused, k.lock, k.max_concurrency))
        return Gate(stored(k.jobs(name)), (paused, lock, limit), (("EXISTS", paused), ("GET", lock), ("GET", limit)))

    def held(self, job: Job) -> str:
        """The key that says who holds the lock of a job unique until it is done; '' for all others."""
        lock = self.lock_of(job) if job.unique == "until_done" else ""
        return self.keys.held(lock) if lock else ""

    def lock_of(self, job: Job) -> str:
        """The key of the job's unique lock; '' when it has none, or names a key that is none of this namespace.

        Release 0.5.1 of gocraft/work writes no `unique_key`: its lock is named by the arguments.
        """
        if not job.unique:
            return ""
        if job.unique_key:
            return job.unique_key if job.unique_key.startswith(self.keys.unique_prefix) else ""
        args = job.args if isinstance(job.args, Mapping) else None
        try:
            return gocraft.unique_key(self.keys.unique_prefix, job.handler, args, root="args")
        except InvalidArguments:  # Go could not have written them, so there is no such lock
            return ""

    def buried(self, raw: bytes, name: str, poison: Poison, now: float, where: str) -> Item:
        """The ending of bytes that are no job: to the dead, as they were."""
        document = gocraft.wrap_poison(
            raw, name, new_id(), reason=poison.reason, detail=poison.detail, now=now, where=where
        )
        return Item("bury", raw, document, int(now))


def is_held(answers: Sequence[Any]) -> bool:
    """Whether a queue gives nothing for now: paused, at its limit, or one of these keys is of a wrong type."""
    paused, lock, limit = answers
    if isinstance(lock, Exception) or isinstance(limit, Exception):
        return True
    return paused != 0 or 0 < whole(limit) <= whole(lock)


def misnamed(name: str) -> str:
    """Why no job type may have this name here; '' for good ones."""
    if not name.endswith(_SUFFIXES):
        return ""
    ending = next(filter(name.endswith, _SUFFIXES))
    return (
        f"job name {name!r} ends in {ending!r}, and its queue would be the key in which gocraft/work keeps "
        f"something of another job type: choose a name with another ending"
    )


def unlocked(job: Job, raw: bytes) -> bytes:
    """What becomes of a lent job that comes back without a failure; empty for "as it is".

    One that is unique until its start gave its lock back then: lent again, it must not free that of a newer one.
    """
    return gocraft.rewrite(raw, {}, ["unique", "unique_key"]) if job.unique == "until_start" else b""


def view(raw: bytes, state: State, at: float, name: str = "") -> JobView:
    """A stored document as listings show it; poison is shown as such."""
    try:
        job = gocraft.decode(raw, limit=64 * gocraft.LIMIT)
    except Poison as poison:
        return JobView(job=Job(name, error=str(poison)), state=state, at=at, reason=poison.reason, raw=raw)
    if state in (State.SCHEDULED, State.RETRY):
        job = msgspec.structs.replace(job, run_at=at)
    if kept_apart(job):
        return JobView(job=job, state=state, at=at, reason=Reason.TOO_LARGE)
    found = gocraft.unwrap_poison(job)
    if found is None:
        return JobView(job=job, state=state, at=at or job.enqueued_at)
    return JobView(job=job, state=state, at=at, reason=found[0], raw=found[1])


def kept_apart(job: Job) -> str:
    """The key under which the fetch script left poison too large for a document; '' for everything else."""
    if not isinstance(job.args, dict) or "poison" not in job.args:
        return ""
    try:
        return msgspec.convert(job.args, _Apart).poison.key
    except msgspec.ValidationError:
        return ""


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    reason: Literal["too_large"]
    where: str
    key: str


class _Apart(msgspec.Struct, forbid_unknown_fields=True):
    poison: _Key
