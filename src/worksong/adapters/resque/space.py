"""One Resque namespace: its keys, the scripts over them, and how its payloads are read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from worksong.adapters.redis.client import Arg, Redis, Script
from worksong.adapters.redis.lookout import Gate
from worksong.adapters.redis.store import Store, stored, text
from worksong.adapters.resque.crew import Crew
from worksong.domain.job import Job, JobView, new_id
from worksong.domain.lifecycle import State
from worksong.domain.poison import Poison, Reason
from worksong.wire import resque, resque_failure
from worksong.wire.resque_keys import Keys

HEAVY = 8 << 20
"""Bytes of payloads from which on one command carries no more of them."""
MOST = 1000

PUSH, FETCH, SETTLE, LENT, MOVE, STRIKE, CLEAN, PURGE = (
    Script.named(name, package="worksong.adapters.resque")
    for name in ("push", "fetch", "settle", "lent", "move", "strike", "clean", "purge")
)
BEAT = Script.named("beat")

log = logging.getLogger("worksong")


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """One lending: under which fence it lies in the hash of the pool."""

    pool: str
    queue: str
    raw: bytes


class Item(msgspec.Struct, frozen=True):
    """One ending for the settle script."""

    action: str
    fence: int
    queue: str = ""
    new: bytes = b""
    at: int | str = ""
    id: str = ""
    counter: str = ""
    """The key by which peers count retries, if this ending changes it; then its value, or '' when it is over."""
    value: str = ""


class Lent(msgspec.Struct, frozen=True):
    """What lies in the hands of a pool."""

    fence: int
    queue: str
    raw: bytes
    """Empty for what is too large to be told."""
    size: int


class Space(Store):
    """The namespace as all parts of the adapter see it."""

    def __init__(self, redis: Redis, keys: Keys, crews: dict[str, Crew], *, plain: bool) -> None:
        """`crews`: pools that were enlisted here, and how the peers know them."""
        super().__init__(redis)
        self.keys, self.crews, self.plain = keys, crews, plain

    async def queues(self) -> list[str]:
        """The names of all queues."""
        return sorted(text(name) for name in await self.call("SMEMBERS", self.keys.queues))

    async def pools(self) -> list[str]:
        """The ids of our pools."""
        return sorted(text(name) for name in await self.call("SMEMBERS", self.keys.pools))

    async def settle(self, pool: str, items: Sequence[Item], now: float) -> list[bool]:
        """Carry out endings: whose were still the pool's."""
        k, crew = self.keys, self.crews.get(pool)
        stats = (k.processed_by(crew.name), k.failures_of(crew.name)) if crew else (k.processed, k.failures)
        keys: tuple[Arg, ...] = (
            *(k.lent(pool), k.cancelled, k.failed, k.queues, k.schedule, k.retries, k.recovered, k.recovered_at),
            *(k.processed, k.failures, *stats),
        )
        args: list[Arg] = [k.prefix, int(now)]
        for item in items:
            args += (item.action, item.fence, item.queue, item.new, item.at, item.id, item.counter, item.value)
        return [answer == 1 for answer in await self.run(SETTLE, keys, args)]

    async def lent(self, pool: str, *, newest_first: bool, only: Sequence[int] = ()) -> list[Lent]:
        """What the pool holds, all or of these fences, or a part of it that one answer should carry."""
        order = "newest" if newest_first else "oldest"
        found = await self.run(LENT, (self.keys.lent(pool),), (resque.LIMIT, MOST, HEAVY, order, *only))
        entries: list[Lent] = []
        for place in range(0, len(found), 3):
            fence, queue, raw = found[place : place + 3]
            large = isinstance(raw, int)
            entries.append(Lent(int(fence), text(queue), b"" if large else raw, raw if large else len(raw)))
        return entries

    async def strike(self, pool: str, crew: Sequence[str], slots: Sequence[str]) -> bool:
        """Strike a pool off, unless it still holds something; `crew`: as the peers know it."""
        k = self.keys
        keys = (k.pools, k.beaten, k.pool(pool), k.lent(pool), k.workers, k.heartbeats)
        return bool(await self.run(STRIKE, keys, (pool, k.prefix, k.slot(""), len(crew), *crew, *slots)))

    def buried(self, lent: Lent, poison: Poison, pool: str, now: float, where: str) -> Item:
        """The ending of bytes that are no job: to the failures, as they were."""
        job_id = new_id()
        key = self.keys.poison(job_id) if poison.reason is Reason.TOO_LARGE else ""
        document = self.poisoned(lent.raw, poison, job_id, where=where, queue=lent.queue, now=now, key=key, pool=pool)
        return Item("KEEP" if key else "BURY", lent.fence, lent.queue, document, key, job_id)

    def poisoned(
        self,
        raw: bytes,
        poison: Poison,
        job_id: str,
        *,
        where: str,
        queue: str,
        now: float,
        key: str = "",
        pool: str = "",
    ) -> bytes:
        """The failure that keeps bytes that are no job."""
        return resque_failure.poisoned(
            raw, poison, job_id=job_id, where=where, worker=self.who(pool), queue=queue, now=now, key=key
        )

    def who(self, pool: str) -> str:
        """How the peers know the pool."""
        crew = self.crews.get(pool)
        return crew.name if crew else f"worksong:{pool or 'upkeep'}:*"

    def gate(self, name: str) -> Gate:
        """A queue: a pause holds it, of its own or of all; ALL: the set of queues, which never gives anything."""
        if name == ALL:
            return Gate(stored(self.keys.queues), (), ())
        paused, everybody = stored(self.keys.paused(name)), stored(self.keys.pause_all)
        return Gate(stored(self.keys.queue(name)), (paused, everybody), (("EXISTS", paused), ("GET", everybody)))


ALL = ""
"""Stands for the set of queues, where all of them are asked."""


def is_held(answers: Sequence[Any]) -> bool:
    """Whether a queue gives nothing for now."""
    paused, everybody = answers
    return bool(paused) or everybody == b"true"


def too_large(size: int) -> Poison:
    """Why such a payload is not even looked at."""
    return Poison(Reason.TOO_LARGE, f"{size:,} bytes, more than {resque.LIMIT:,}")


def view(raw: bytes, state: State, *, at: float = 0.0, queue: str = "") -> JobView:
    """A stored payload as listings show it; poison is shown as such."""
    try:
        job = resque.decode(raw, queue=queue, limit=64 * resque.LIMIT)
    except Poison as poison:
        return JobView(job=Job("", queue=queue, error=str(poison)), state=state, at=at, reason=poison.reason, raw=raw)
    if state in (State.SCHEDULED, State.RETRY):
        job = msgspec.structs.replace(job, run_at=at)
    return JobView(job=job, state=state, at=at or job.enqueued_at)


def failure_view(raw: bytes) -> JobView:
    """A failure as listings show it, whoever wrote it."""
    found = resque_failure.decode(raw)
    return JobView(
        job=found.job,
        state=State.DEAD,
        at=found.job.failed_at,
        reason=found.reason,
        raw=found.raw if found.reason else b"",
    )


def is_job(raw: bytes, job_id: str) -> bool:
    """Whether a payload is the job of this id."""
    if not job_id.startswith(resque.FOREIGN) and job_id.encode("utf-8", "surrogatepass") not in raw:
        return False
    return id_of(raw) == job_id


def id_of(raw: bytes) -> str | None:
    """The id of the job that a payload is; None: it is none."""
    try:
        return resque.decode(raw, limit=64 * resque.LIMIT).id
    except Poison:
        return None
