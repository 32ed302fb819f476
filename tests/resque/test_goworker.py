"""Worksong and goworker on the same queues: nothing lost, nothing altered, each counted and listed with the other."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from chaos.scale import FULL, SEED
from interop.fleet import eventually, left, running
from interop.peers import LIMIT
from resque.conftest import NewWorker, Open, Stored, counted, random_list
from resque.goworker import Goworker
from resque.test_doctor import examined
from worksong import Job
from worksong.adapters.resque import crew
from worksong.domain.lifecycle import State

pytestmark = pytest.mark.timeout(LIMIT)
MANY = 5000 if FULL else 300


# many jobs


async def test_the_jobs_of_goworker_are_worked_by_worksong_unaltered(goworker: Goworker, new_worker: NewWorker) -> None:
    # Given random jobs that goworker enqueued, some without arguments at all
    chance = random.Random(SEED)
    sent = [random_list(chance) for _ in range(MANY)]
    assert await goworker.enqueue(("critical", "mixed", args or None) for args in sent) == MANY
    # When worksong works on them
    worker, seen = new_worker(25), list[Any]()
    worker.register("mixed", lambda *args: seen.append(list(args)))
    async with running(worker):
        await eventually(lambda: asyncio.sleep(0, len(seen)), lambda count: count >= MANY)
        await eventually(lambda: left(worker), lambda states: states == {})
    # Then each of them ran once, as it was sent
    assert counted(seen) == counted(sent), f"seed {SEED}"


async def test_the_jobs_of_worksong_are_worked_by_goworker_unaltered(
    goworker: Goworker, new_worker: NewWorker, stored: Stored
) -> None:
    # Given random jobs that worksong enqueued, some with named arguments, some by position
    chance, worker = random.Random(SEED), new_worker()
    sent = [random_list(chance) if chance.random() < 0.5 else random_named(chance) for _ in range(MANY)]
    await worker.aperform_many([Job("mixed", args, queue="critical") for args in sent])
    # When goworker works on them
    async with goworker.work("critical", "-concurrency", "4") as pool:
        await pool.until_ended(MANY)
        # Then each of them ran once, as it was sent: named arguments are the one object that there is
        await eventually(lambda: stat(stored, "processed"), lambda count: count == MANY)
    as_lists = [[args] if isinstance(args, dict) else args for args in sent]
    assert counted([start["args"] or [] for start in pool.named("start")]) == counted(as_lists), f"seed {SEED}"
    assert stored.redis.llen(stored.key("queue:critical")) == 0


def random_named(chance: random.Random) -> dict[str, Any]:
    """Arguments by name, at least one."""
    return {"first": random_list(chance), "second": chance.random()}


async def stat(stored: Stored, name: str) -> int:
    """A total that all libraries count in."""
    return int(stored.redis.get(stored.key(f"stat:{name}")) or 0)


async def test_both_share_a_queue_and_count_together(goworker: Goworker, new_worker: NewWorker, stored: Stored) -> None:
    # Given jobs of both, of which some fail
    worker, seen = new_worker(2), list[int]()

    def mixed(n: int) -> None:
        seen.append(n)

    def boom(n: int) -> None:
        seen.append(n)
        raise ValueError(n)

    worker.register("mixed", mixed)
    worker.register("boom", boom, max_fails=1)
    await goworker.enqueue(("critical", "boom" if n % 10 == 0 else "mixed", [n]) for n in range(100))
    await worker.aperform_many(
        [Job("boom" if n % 10 == 0 else "mixed", [n], queue="critical") for n in range(100, 200)]
    )
    # When both work on them
    async with goworker.work("critical") as pool, running(worker):
        done = await eventually(lambda: ended(pool.named("start"), seen), lambda done: len(done) == 200)
        # Then each ran once, and all are counted: Ruby and we count a failure as processed too, goworker does not
        assert sorted(done) == list(range(200))
        failed_there = sum(start["class"] == "boom" for start in pool.named("start"))
        await eventually(lambda: stat(stored, "failed"), lambda count: count == 20)
        await eventually(lambda: stat(stored, "processed"), lambda count: count == 200 - failed_there)
    assert len(await worker.admin.adead()) == 20


async def ended(there: list[dict[str, Any]], here: list[int]) -> list[int]:
    return [int(start["args"][0]) for start in there] + here


# failures


async def test_failures_of_goworker_are_listed_retried_and_removed_by_worksong(
    goworker: Goworker, new_worker: NewWorker
) -> None:
    # Given jobs that failed in goworker: by an error, by a panic, and for want of a handler
    worker, seen = new_worker(), list[Any]()
    worker.register("boom", lambda *args: seen.append(list(args)))
    await goworker.enqueue([("critical", "boom", [1, "é"]), ("critical", "panic", [2]), ("critical", "stray", [3])])
    async with goworker.work("critical", "-concurrency", "1"):
        await eventually(worker.admin.adead, lambda dead: len(dead) == 3)
    # When an operator looks at them
    first, second, third = await worker.admin.adead()
    # Then they are there with their errors
    assert (first.handler, first.job.args, first.error) == ("boom", [1, "é"], "boom <x> é")
    assert (second.handler, second.job.args, second.error) == ("panic", [2], "boom <x> é")
    assert (third.handler, third.error) == ("stray", "No worker for stray in queue critical with args [3]")
    assert first.at > 1_700_000_000
    # And two are deleted, the other one runs here
    assert [await worker.admin.adelete_dead(view.id) for view in (second, third)] == [True, True]
    assert await worker.admin.aretry_dead(first.id)
    async with running(worker):
        await eventually(lambda: left(worker), lambda states: states == {})
    assert seen == [[1, "é"]]


# retries and delays, which goworker knows nothing of: they are ours until they are due


async def test_what_failed_here_and_what_is_for_later_is_worked_by_goworker(
    goworker: Goworker, new_worker: NewWorker, stored: Stored
) -> None:
    # Given a job that failed here, and one for later
    worker = new_worker()

    def mixed(n: int) -> None:
        raise ValueError(n)

    worker.register("mixed", mixed, max_fails=9, backoff=lambda job: 3600.0)
    await worker.aperform(Job("mixed", [1], queue="critical"))
    await worker.aperform_in(Job("mixed", [2, "später"], queue="critical"), 7200)
    async with running(worker):
        await eventually(lambda: left(worker), lambda states: states == {State.RETRY: 1, State.SCHEDULED: 1})
    # When they are due, and somebody of ours moves them
    backend = worker.backend()
    assert await backend.promote(4e9, 100) == 2
    async with goworker.work("critical") as pool:
        await pool.until_ended(2)
        # Then both run there as they were
        assert sorted(start["args"] for start in pool.named("start")) == [[1], [2, "später"]]
    assert stored.redis.llen(stored.key("queue:critical")) == 0


# workers


async def test_worksong_tells_the_workers_of_goworker_from_its_own(
    goworker: Goworker, new_worker: NewWorker, opened: Open, stored: Stored
) -> None:
    # Given a process of goworker that is busy, and a worker of ours
    await goworker.enqueue([("critical", "long", [5])])
    async with goworker.work("critical") as pool:
        await pool.until_started(1)
        async with running(new_worker()):
            registered = await eventually(lambda: workers(stored), lambda names: len(names) == 3 + 6)
            # When an operator looks, and the doctor
            theirs = [name for name in registered if not crew.is_ours(name)]
            (told,) = await eventually(lambda: records(stored), len)
            findings = await examined(opened())
            # Then its poller and its workers are told from ours, and nothing is wrong with them
            assert {name.split(":")[1].split("-", 1)[1] for name in theirs} == {"poller", "0", "1"}
            assert (told["queue"], told["payload"]) == ("critical", {"class": "long", "args": [5]})
            assert not {name for name in findings if name.startswith("resque.")}


async def workers(stored: Stored) -> list[str]:
    return sorted(stored.redis.smembers(stored.key("workers")))


async def records(stored: Stored) -> list[dict[str, Any]]:
    """What busy workers of all libraries say that they do."""
    names = [stored.key(f"worker:{name}") for name in await workers(stored)]
    return [json.loads(found) for found in stored.redis.mget(names) if found]


# giving back


async def test_what_goworker_gives_back_when_it_is_stopped_is_worked_by_worksong(
    goworker: Goworker, new_worker: NewWorker, stored: Stored
) -> None:
    # Given a process of goworker whose only worker is busy, and which holds the next job already
    worker, seen = new_worker(1), list[Any]()
    worker.register("mixed", lambda *args: seen.append(list(args)))
    queue = stored.key("queue:critical")
    await goworker.enqueue([("critical", "long", []), ("critical", "mixed", [1, "é", 2.5]), ("critical", "mixed", [2])])
    async with goworker.work("critical", "-concurrency", "1") as pool:
        await pool.until_started(1)
        await eventually(lambda: asyncio.sleep(0, stored.redis.llen(queue)), lambda length: length == 1)
        # When it is told to stop
        pool.terminate()
        await eventually(lambda: asyncio.sleep(0, stored.redis.llen(queue)), lambda length: length == 2)
        # Then what it gave back runs here, before what came after it
        async with running(worker):
            await eventually(lambda: left(worker), lambda states: states == {})
    assert seen == [[1, "é", 2.5], [2]]
