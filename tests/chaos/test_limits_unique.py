"""F1: workers die at every point of a unique job's way: no lock is left behind, and none is missing."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from chaos.certificates import Certify
from chaos.scale import FULL, SEED, sized, timeout
from chaos.theatre import NAMESPACE, Theatre, on
from worksong import Job
from worksong.adapters import connect
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import Delivery, Unique, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Outcome, Retried, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Beat, Pool, Running, Want, Window
from worksong.testing.flaky import FlakyBackend, error, execute_then_error
from worksong.wire.gocraft_keys import Keys

SEEDS = sized(200) if FULL else 5
START = 1_700_000_000.0
RETRY = 60.0
POINTS = (
    "the answer to the fetch is lost",
    "fetched, not begun",
    "running",
    "ended, the settlement never left",
    "settled, the answer is lost",
    "settled",
    "failed, waits for its retry",
    "taken for dead while it runs, and ends after all",
)
"""Where the worker dies; the last one does not."""
MODES: list[tuple[Unique, bool]] = [
    ("until_start", False),
    ("until_start", True),
    ("until_done", False),
    ("until_done", True),
]
"""(mode, whether a key makes jobs equal, whatever their other arguments)"""

pytestmark = pytest.mark.timeout(timeout(200))


class Story:
    """One key: who enqueues under it, who dies with it, and what ran."""

    def __init__(self, store: Backend, chance: random.Random, mode: Unique, *, by_key: bool) -> None:
        self.store, self.chance, self.mode, self.by_key = store, chance, mode, by_key
        self.now = START
        self.newest = 0
        """The version enqueued last; without a key all are equal, and called 0."""
        self.runs: list[tuple[str, int]] = []
        """(job id, version) of every handler that began."""
        self._versions = itertools.count(1)

    async def enqueue(self, *, most: int = 2) -> None:
        """Another program enqueues under the same key, or does not, or twice."""
        for _ in range(self.chance.randint(0, most)):
            await self._enqueue()

    async def first(self) -> None:
        """At least one is there."""
        await self._enqueue()
        await self.enqueue()

    async def _enqueue(self) -> None:
        self.newest = next(self._versions) if self.by_key else 0
        args: dict[str, Any] = {"key": 1, "version": self.newest}
        later = self.chance.choice((0.0, 0.0, 5.0))
        job = Job("alone", args, unique=self.mode, unique_by={"key": 1} if self.by_key else None)
        run_at = self.now + later if later else 0.0
        await self.store.push([replace(job, id=new_id(), enqueued_at=self.now, run_at=run_at)], self.now)
        await self.look()

    async def look(self) -> None:
        """Until it is done there is only one; until its start, one that has not started."""
        counts = await self.store.counts()
        live = sum(count for state, count in counts.items() if state is not State.DEAD)
        assert self.mode == "until_start" or live <= 1, f"{live} live jobs with one key"
        waiting = [view for state in (State.QUEUED, State.SCHEDULED) for view in await self.store.jobs(state, Window())]
        locked = [view for view in waiting if view.job.unique and not view.job.fails]
        assert len(locked) <= 1, f"{len(locked)} jobs that have not started wait with one key"

    async def enlist(self, backend: Backend) -> Pool:
        pool = Pool(id=new_id(), handlers=("alone",), concurrency=1, worker_ids=(new_id(),), started_at=self.now)
        await backend.enlist(pool, self.now)
        return pool

    async def fetch(self, backend: Backend, pool: Pool) -> list[Delivery]:
        self.now += 6.0
        while await self.store.promote(self.now, 100):
            pass
        found = await backend.fetch(Want(pool.id, 1, 0.0, (Share("alone", 1),)), self.now)
        for job in (delivery.job for delivery in found if delivery.job.unique and not delivery.job.fails):
            assert isinstance(job.args, dict)
            assert job.args["version"] == self.newest, f"lent with {job.args}, the newest is {self.newest}"
        return found

    async def begin(self, backend: Backend, pool: Pool, delivery: Delivery) -> None:
        assert isinstance(delivery.job.args, dict)
        self.runs.append((delivery.job.id, delivery.job.args["version"]))
        await backend.beat(Beat(pool, (Running(delivery, 0, self.now),), (delivery,)), self.now)

    async def settle(self, backend: Backend, delivery: Delivery, outcome: Outcome) -> list[bool]:
        return await backend.settle([Settlement(delivery, outcome)], self.now)

    async def reap(self, pool: Pool) -> None:
        await self.store.reap(self.now, self.now, dead=[pool.id])
        await self.look()

    # the worker that dies

    async def die_at(self, point: str) -> None:
        """A worker comes so far with one job; meanwhile others enqueue."""
        mortal = FlakyBackend(self.store)
        pool = await self.enlist(mortal)
        await self._until_it_dies(mortal, pool, POINTS.index(point))
        await self.enqueue()
        await self.reap(pool)
        await self.enqueue()

    async def _until_it_dies(self, mortal: FlakyBackend, pool: Pool, point: int) -> None:
        if point == 0:
            mortal.expect("fetch", [execute_then_error])
            with pytest.raises(BackendUnavailable):
                await self.fetch(mortal, pool)
            return
        (delivery,) = await self.fetch(mortal, pool)
        await self.enqueue()
        if point == 1:
            return
        await self.begin(mortal, pool, delivery)
        await self.enqueue()
        if point == 2:
            return
        if point == 7:
            await self.reap(pool)
            await self.enqueue()
            assert await self.settle(mortal, delivery, Done()) == [False]
            await self.look()
            return
        if point in (3, 4):
            mortal.expect("settle", [error if point == 3 else execute_then_error])
            with pytest.raises(BackendUnavailable):
                await self.settle(mortal, delivery, Done())
            return
        outcome = Done() if point == 5 else Retried(self.now + RETRY, "no")
        assert await self.settle(mortal, delivery, outcome) == [True]

    # everybody else

    async def finish(self) -> None:
        """A worker that lives does all that is left, some of it after a failure, while others still enqueue."""
        pool, enqueued = await self.enlist(self.store), 0
        while any(count for state, count in (await self.store.counts()).items() if state is not State.DEAD):
            for delivery in await self.fetch(self.store, pool):
                await self.begin(self.store, pool, delivery)
                if enqueued < 3:
                    enqueued += 1
                    await self.enqueue(most=1)
                fails = delivery.job.fails == 0 and self.chance.random() < 0.3
                outcome = Retried(self.now + RETRY, "no") if fails else Done()
                assert await self.settle(self.store, delivery, outcome) == [True]
                await self.look()
        await self.store.leave(pool, self.now)

    def check(self) -> None:
        """No run of a job has older arguments than the one before it, and until the start the newest ones run."""
        last: dict[str, int] = {}
        for id_, version in self.runs:
            assert version >= last.get(id_, 0), f"stale arguments: {self.runs}"
            last[id_] = version
        versions = [version for _, version in self.runs]
        if self.mode == "until_start":
            assert max(versions) == self.newest, f"the newest is {self.newest}, but {self.runs}"
        else:
            assert versions == sorted(versions), f"stale arguments: {self.runs}"


@pytest.fixture
async def store(theatre: Theatre) -> AsyncIterator[Backend]:
    opened = connect(theatre.url, namespace=NAMESPACE)
    yield opened
    await opened.close()


@pytest.fixture
def server(theatre: Theatre) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(theatre.url.partition("?")[0], decode_responses=True) as client:
        yield client


def locks(server: redis.Redis) -> list[str]:
    """Unique locks, and who holds them."""
    keys = Keys(NAMESPACE)
    return [*server.scan_iter(f"{keys.unique_prefix}*"), *server.scan_iter(f"{keys.held('')}*")]


@on("redis")
async def test_f1_no_lock_outlives_its_job_wherever_the_worker_dies(
    theatre: Theatre, store: Backend, server: redis.Redis, certify: Certify
) -> None:
    stories = 0
    for (mode, by_key), point, number in itertools.product(MODES, POINTS, range(SEEDS)):
        story = Story(store, random.Random(f"{SEED}-{number}"), mode, by_key=by_key)
        told = f"{mode}, by key {by_key}, {point}, seed {SEED}-{number}"
        try:
            # Given a unique job
            await story.first()
            # When its worker dies at this point, and another one does all that is left
            await story.die_at(point)
            await story.finish()
            # Then what ran was never stale, and no lock is left
            story.check()
            assert locks(server) == []
        except AssertionError as wrong:
            raise AssertionError(f"{told}: {wrong}") from wrong
        server.flushdb()
        stories += 1
    certify(
        "F1",
        stories=stories,
        points=len(POINTS),
        modes=len(MODES),
        seeds=SEEDS,
        locks_left=0,
        two_live_until_done=0,
        stale_arguments=0,
    )
