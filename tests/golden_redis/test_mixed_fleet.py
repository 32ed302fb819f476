"""Beside Go workers: what they leave behind, and what they break.

Time is told, never waited for: `now` is the wall clock, `monotonic` the reaper's own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from golden_redis.mishaps import LOOK, beat_on, let_die
from golden_redis.steps import a_job, fetch, join, listed, push, settle
from golden_redis.stored import Stored, T, recordings
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.job import Delivery
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Done, Released, Retried, Snoozed
from worksong.ports.backend import Pool


class GoWorker:
    """The steps of a real Go worker, as they were recorded: what it writes when it fetches and when it finishes."""

    def __init__(self, stored: Stored, pool: str) -> None:
        self.stored, self.pool = stored, pool
        self.held: list[bytes] = []
        cases = recordings()
        self._recorded = "aaaaaaaaaaaaaaaaaaaaaaaa"
        self._fetch = [call["cmd"] for call in cases["fetch_one"].calls if call["from"] == "lua"][-3:]
        self._done = self._transaction(cases["process_success"].calls)
        self._failed = self._transaction(cases["process_fail_first"].calls)
        assert [command[0] for command in self._fetch] == ["incr", "hincrby", "rpoplpush"]
        assert [command[0] for command in self._failed] == ["LREM", "DECR", "HINCRBY", "ZADD"]

    @staticmethod
    def _transaction(calls: list[dict[str, Any]]) -> list[list[str]]:
        names = [call["cmd"][0] for call in calls]
        return [call["cmd"] for call in calls[names.index("MULTI") + 1 : names.index("EXEC")]]

    def beat(self, now: int) -> None:
        """Its heartbeat."""
        self.stored.call("SADD", "work:worker_pools", self.pool)
        self.stored.call("HSET", f"work:worker_pools:{self.pool}", "heartbeat_at", now, "job_names", "alpha")

    def fetch(self) -> None:
        """Take one job, if there is one."""
        if self.stored.call("LLEN", "work:jobs:alpha"):
            self.held.append(self._replay(self._fetch, b"")[-1])

    def finish(self, *, failed: bool) -> None:
        """End the oldest job it holds."""
        if self.held:
            self._replay(self._failed if failed else self._done, self.held.pop(0))

    def _replay(self, commands: list[list[str]], raw: bytes) -> list[Any]:
        self.stored.call("MULTI")
        for command in commands:
            self.stored.call(*(self._mine(part, raw) for part in command))
        answers: list[Any] = self.stored.call("EXEC")
        return answers

    def _mine(self, part: str, raw: bytes) -> str | bytes:
        if not part.startswith("{"):
            return part.replace(self._recorded, self.pool)
        failure = {name: value for name, value in json.loads(part).items() if name in ("fails", "err", "failed_at")}
        return json.dumps(json.loads(raw) | failure).encode() if failure else raw


class Fleet:
    """Go workers and our pools on one job type, each step as chance has it."""

    def __init__(self, backend: GocraftBackend, stored: Stored, seed: int) -> None:
        self.backend, self.stored, self.chance = backend, stored, random.Random(seed)
        self.now = float(T)
        self.ours: dict[str, tuple[Pool, list[Delivery]]] = {}
        self.go: list[GoWorker] = []
        self.gone = 0
        often = (self.push, self.go_fetch, self.go_finish, self.fetch, self.settle)
        self.steps: tuple[Callable[[], Awaitable[None]], ...] = (*often, *often, self.promote, self.die, self.go_die)

    async def step(self) -> None:
        """Something happens."""
        self.now += 1
        await self.chance.choice(self.steps)()

    async def push(self) -> None:
        await push(self.backend, a_job("alpha"), a_job("alpha"), now=self.now)

    async def promote(self) -> None:
        await self.backend.promote(self.now, 10)

    async def go_fetch(self) -> None:
        if len(self.go) < 2:
            self.go.append(GoWorker(self.stored, f"go{self.gone}{len(self.go)}"))
            self.go[-1].beat(T)
        self.chance.choice(self.go).fetch()

    async def go_finish(self) -> None:
        for worker in self.go:
            worker.finish(failed=self.chance.random() < 0.3)

    async def go_die(self) -> None:
        self.gone += 1
        for worker in self.go:
            await self.backend.reap(self.now, 0.0, dead=[worker.pool])
        self.go.clear()

    async def fetch(self) -> None:
        if len(self.ours) < 2:
            pool = await join(self.backend, "alpha")
            self.ours[pool.id] = (pool, [])
        pool, held = self.ours[self.chance.choice(list(self.ours))]
        held += await fetch(self.backend, pool, self.chance.randint(1, 3), now=self.now)

    async def settle(self) -> None:
        outcomes = [Done(), Done(), Retried(self.now + 1, "no"), Released(), Buried("no"), Snoozed(self.now + 1)]
        for _, held in self.ours.values():
            if held:
                delivery = held.pop(self.chance.randrange(len(held)))
                assert await settle(self.backend, delivery, self.chance.choice(outcomes), now=self.now)

    async def die(self) -> None:
        """One of ours is taken for dead, and ends its jobs after all."""
        if self.ours:
            pool, held = self.ours.pop(self.chance.choice(list(self.ours)))
            await let_die(self.backend, pool, now=self.now)
            assert not any([await settle(self.backend, delivery, now=self.now) for delivery in held])


@pytest.mark.parametrize("seed", range(12))
async def test_the_lock_says_what_is_in_progress_whoever_works(
    backend: GocraftBackend, stored: Stored, seed: int
) -> None:
    # Given Go workers and our own on one job type
    fleet = Fleet(backend, stored, seed)
    ran = 0
    # When all do their steps in any order, and workers of both kinds die
    for step in range(150):
        await fleet.step()
        # Then after each step the counters say what the lists hold
        assert stored.balanced("alpha"), (seed, step)
        ran += stored.running("alpha").total()
    assert ran > 100


async def test_a_go_zombie_breaks_the_lock_only_until_it_is_mended(backend: GocraftBackend, stored: Stored) -> None:
    # Given a Go worker that finishes after its job was given away, which Go does not notice
    worker = GoWorker(stored, "go")
    worker.beat(T)
    await push(backend, a_job("alpha"))
    worker.fetch()
    assert (await backend.reap(T, 0.0, dead=["go"])).recovered == 1
    worker.finish(failed=False)
    assert stored.call("GET", "work:jobs:alpha:lock") == b"-1"
    # When our pool works on, and the reaper looks twice
    pool = await join(backend, "alpha")
    (delivery,) = await fetch(backend, pool)
    for second in (0.0, LOOK):
        await beat_on(stored, pool)
        await backend.reap(T, second)
    # Then the lock is right again
    assert stored.balanced("alpha")
    assert await settle(backend, delivery)


async def test_a_worker_of_ours_takes_over_what_a_go_worker_left(backend: GocraftBackend, stored: Stored) -> None:
    worker = GoWorker(stored, "go")
    worker.beat(T)
    first, second = a_job("alpha"), a_job("alpha")
    await push(backend, first, second)
    worker.fetch()
    worker.finish(failed=True)
    (retry,) = await listed(backend, State.RETRY)
    assert (retry.id, retry.job.fails, retry.error) == (first.id, 1, "boom")
    pool = await join(backend, "alpha")
    assert await backend.promote(retry.at, 10) == 1
    found = await fetch(backend, pool, 10, now=retry.at)
    assert [(one.job.id, one.job.attempt) for one in found] == [(second.id, 1), (first.id, 2)]
