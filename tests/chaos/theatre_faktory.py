"""The theatre on Faktory: the real server with its own clock, and what its Redis holds, looked at past everybody."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import redis

import servers
from chaos.fleet import Fleet

DAYS = 3 * 86400.0
"""Seconds that outlast every reservation and every wait."""


class Lent(NamedTuple):
    """A reservation."""

    job: str
    """The id, by which the ledger knows it."""
    pool: str
    at: float
    """Unix seconds."""


class FaktoryTheatre:
    """One server; a job has as many jids as it was enqueued anew, and one id."""

    name = "`faktory://`"
    version = "Faktory 1.10.0"

    def __init__(self, server: servers.Faktory) -> None:
        self.server, self.url = server, f"{server.url}?timeout=60"
        self.outages: list[tuple[float, float]] = []
        """(from, until), monotonic seconds, when it was away."""
        self.taken: set[str] = set()
        """Jobs that it had taken out of their queue when it was killed, and not noted anywhere else."""
        self._back = 0.0
        self._redis = redis.Redis(unix_socket_path=str(server.socket), decode_responses=True)

    @classmethod
    @asynccontextmanager
    async def open(cls, program: Path) -> AsyncIterator[FaktoryTheatre]:
        with servers.faktory(program) as server:
            theatre = cls(server)
            try:
                yield theatre
            finally:
                theatre._redis.close()

    async def kill(self, known: Callable[[], set[str]], *, as_: Callable[[dict[str, Any]], str] | None = None) -> None:
        """SIGKILL. What it takes out of a queue it notes a moment later: what it is killed between is lost.

        `known`: the jobs that were taken in and have not run, called as `as_` calls them; by their ids, if not told.
        """
        os.kill(self.server.pid, signal.SIGSTOP)
        killed = time.monotonic()
        while True:  # its Redis may still carry out what it was told
            stored = self.stored(as_ or _id)
            await asyncio.sleep(0.02)
            if stored == self.stored(as_ or _id):
                break
        self.taken |= known() - stored
        await asyncio.to_thread(self.server.kill)
        self.outages.append((killed, killed))

    async def restart(self) -> None:
        """Start it again on what it had stored; when this returns it answers."""
        await asyncio.to_thread(self.server.start)
        self._back = time.time()
        self.outages[-1] = (self.outages[-1][0], time.monotonic())

    def stored(self, as_: Callable[[dict[str, Any]], str]) -> set[str]:
        """All jobs that it has anywhere, called so."""
        raw = [raw for name in self._redis.smembers("queues") for raw in self._redis.lrange(f"q:{name}", 0, -1)]
        raw += [raw for name in ("scheduled", "retries", "dead") for raw in self._redis.zrange(name, 0, -1)]
        lent = [json.loads(raw)["job"] for raw in self._redis.zrange("working", 0, -1)]
        return {as_(job) for job in [*map(json.loads, raw), *lent]}

    def places(self, jobs: set[str]) -> Counter[tuple[str, str]]:
        """Where every copy of these jobs is: in a "queue", or in the set of that name."""
        queues = [raw for name in self._redis.smembers("queues") for raw in self._redis.lrange(f"q:{name}", 0, -1)]
        found = [("queue", json.loads(raw)) for raw in queues]
        for name in ("scheduled", "retries", "dead"):
            found += [(name, json.loads(raw)) for raw in self._redis.zrange(name, 0, -1)]
        found += [("working", json.loads(raw)["job"]) for raw in self._redis.zrange("working", 0, -1)]
        return Counter((place, _id(job)) for place, job in found if _id(job) in jobs)

    @property
    def lent(self) -> list[Lent]:
        """All reservations."""
        found = [json.loads(raw) for raw in self._redis.zrange("working", 0, -1)]
        return [
            Lent(_id(one["job"]), one["wid"], datetime.fromisoformat(one["reserved_at"]).timestamp()) for one in found
        ]

    def count(self, *names: str) -> int:
        """How many jobs are in these sets; without any, in queues."""
        if names:
            return sum(self._redis.zcard(name) for name in names)
        return sum(self._redis.llen(f"q:{name}") for name in self._redis.smembers("queues"))

    def expire(self) -> None:
        """Time passes: every reservation that there is ends; then each of those jobs is in its queue again."""
        far = time.time() + DAYS
        self.server.order("turn", 0, 0, far)
        self.server.order("turn", 0, far, 0)

    def orphans(self, fleet: Fleet) -> bool:
        """Whether all that is lent is lent to nobody: its worker is dead, or never heard of it."""
        ledger = fleet.ledger
        pools = {line.subject: line.process for line in ledger.of("P")}
        living = {member.name for member in fleet.alive}
        for lent in self.lent:
            process = pools.get(lent.pool, "")
            unheard = lent.at < self._back and lent.job not in {
                line.subject for line in ledger.of("S", process=process)
            }
            if process in living and not unheard:
                return False
        return True


def _id(job: dict[str, Any]) -> str:
    own = (job.get("custom") or {}).get("worksong") or {}
    return str(own.get("as") or job["jid"])


async def quiet(theatre: FaktoryTheatre, fleet: Fleet, within: float) -> float:
    """Wait until nothing is left to do; what dead workers hold comes back as if its reservations had run out."""
    begun = time.monotonic()
    while True:
        left = theatre.count(), theatre.count("scheduled", "retries"), theatre.count("working")
        if not any(left):
            return time.monotonic() - begun
        if not left[0] and theatre.orphans(fleet):
            theatre.expire()
        assert time.monotonic() - begun < within, (
            f"not quiet after {within:.0f} s: {left} queued, waiting, lent; {fleet.report()}"
        )
        await asyncio.sleep(0.1)
