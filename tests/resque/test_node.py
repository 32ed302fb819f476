"""Worksong and node-resque on the same queues: nothing lost, nothing altered, each seen by the other's own calls."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from chaos.scale import FULL, SEED
from interop.fleet import eventually, left, random_args, running
from resque.conftest import NewWorker, Open, Stored, counted, random_list
from resque.peers import NodeResque
from worksong import Job
from worksong.domain.lifecycle import State

pytestmark = pytest.mark.timeout(1500)
MANY = 5000 if FULL else 150

# many jobs


async def test_the_jobs_of_node_are_worked_by_worksong_unaltered(node: NodeResque, new_worker: NewWorker) -> None:
    # Given random jobs that node-resque enqueued
    chance = random.Random(SEED)
    sent = [random_list(chance) for _ in range(MANY)]
    for start in range(0, MANY, 500):
        await node.ask("all", [["critical", "mixed", args] for args in sent[start : start + 500]])
    # When worksong works on them
    worker, seen = new_worker(25), list[Any]()
    worker.register("mixed", lambda *args: seen.append(list(args)))
    async with running(worker):
        await eventually(lambda: asyncio.sleep(0, len(seen)), lambda count: count >= MANY)
        await eventually(lambda: left(worker), lambda states: states == {})
    # Then each of them ran once, as it was sent
    assert counted(seen) == counted(sent), f"seed {SEED}"


async def test_the_jobs_of_worksong_are_worked_by_node_unaltered(
    node: NodeResque, new_worker: NewWorker, stored: Stored
) -> None:
    # Given random jobs that worksong enqueued, some with named arguments, some by position
    chance, worker = random.Random(SEED), new_worker()
    sent = [random_list(chance) if chance.random() < 0.5 else random_args(chance) for _ in range(MANY)]
    for start in range(0, MANY, 500):
        await worker.aperform_many([Job("mixed", args, queue="critical") for args in sent[start : start + 500]])
    # When node-resque works on them
    await node.ask("work", ["critical"])
    await node.until(lambda events: sum(event["event"] == "success" for event in events) >= MANY)
    await node.ask("rest")
    # Then each of them ran once, as it was sent: named arguments are the one object that there is
    as_lists = [[args] if isinstance(args, dict) and args else args or [] for args in sent]
    assert counted(node.ran()) == counted(as_lists), f"seed {SEED}"
    assert stored.redis.llen(stored.key("queue:critical")) == 0


# failures


async def test_a_failure_of_node_is_listed_retried_and_removed_by_worksong(
    node: NodeResque, new_worker: NewWorker
) -> None:
    # Given two jobs that failed in node-resque
    await node.ask("all", [["critical", "boom", [1, "é"]], ["critical", "boom", [2]]])
    await node.ask("work", ["critical"])
    await node.until(lambda events: sum(event["event"] == "failure" for event in events) == 2)
    await node.ask("rest")
    # When an operator looks at them
    worker, seen = new_worker(), list[Any]()
    worker.register("boom", lambda *args: seen.append(list(args)))
    first, second = await worker.admin.adead()
    # Then they are there with their errors
    assert (first.handler, first.job.args, first.error) == ("boom", [1, "é"], "TypeError: boom <x> é")
    assert first.at > 1_700_000_000
    # And one is deleted, the other one runs here
    assert await worker.admin.adelete_dead(second.id) == 1
    assert await worker.admin.aretry_dead(first.id) == 1
    async with running(worker):
        await eventually(lambda: left(worker), lambda states: states == {})
    assert seen == [[1, "é"]]


async def test_a_failure_of_worksong_is_listed_retried_and_removed_by_node(
    node: NodeResque, new_worker: NewWorker
) -> None:
    # Given two jobs that are dead here
    worker = new_worker()

    def fragile(n: int) -> None:
        raise ValueError(f"boom <{n}> é")

    worker.register("fragile", fragile, max_fails=1)
    await worker.aperform_many([Job("fragile", {"n": n}, queue="critical") for n in (1, 2)])
    async with running(worker):
        await eventually(lambda: left(worker), lambda states: states == {State.DEAD: 2})
    # When node-resque reads them
    assert await node.ask("failedCount") == 2
    failures = await node.ask("failed", 0, 10)
    # Then it finds what its own failures have
    assert {failure["error"] for failure in failures} == {"boom <1> é", "boom <2> é"}
    assert {failure["exception"] for failure in failures} == {"ValueError"}
    assert all(failure["queue"] == "critical" and failure["payload"]["class"] == "fragile" for failure in failures)
    assert all("raise ValueError" in "\n".join(failure["backtrace"]) for failure in failures)
    # And it removes one of them, and retries the other one
    assert await node.ask("removeFailed", failures[0]) == 1
    await node.ask("retryAndRemoveFailed", failures[1])
    assert await node.ask("failedCount") == 0
    assert await node.ask("length", "critical") == 1


# delays


async def test_a_delayed_job_of_worksong_is_seen_and_moved_by_node(node: NodeResque, new_worker: NewWorker) -> None:
    # Given a job for later, and no worker of ours
    worker = new_worker()
    await worker.aperform_in(Job("mixed", [1, "später"], queue="critical"), 1)
    ((when, (job,)),) = (await node.ask("allDelayed")).items()
    assert (job["class"], job["queue"], job["args"], int(when) % 1000) == ("mixed", "critical", [1, "später"], 0)
    # When node-resque schedules and works
    await node.ask("schedule")
    await node.ask("work", ["critical"])
    # Then it runs there
    await node.until(lambda events: any(event["event"] == "success" for event in events))
    assert node.ran() == [[1, "später"]]
    await node.ask("rest")
    await node.ask("unschedule")


async def test_a_delayed_job_of_node_is_moved_and_run_by_worksong(node: NodeResque, new_worker: NewWorker) -> None:
    worker, seen = new_worker(), list[Any]()
    worker.register("mixed", lambda *args: seen.append(list(args)))
    await node.ask("enqueueIn", 1000, "critical", "mixed", [1, "später"])
    assert [view.job.args for view in await worker.admin.ascheduled()] == [[1, "später"]]
    async with running(worker):
        await eventually(lambda: asyncio.sleep(0, len(seen)), lambda count: count == 1)
        await eventually(lambda: left(worker), lambda states: states == {})
    assert seen == [[1, "später"]]
    assert await node.ask("timestamps") == []


async def test_while_the_scheduler_of_node_leads_worksong_moves_nothing(
    node: NodeResque, opened: Open, stored: Stored
) -> None:
    # Given a scheduler of node-resque that holds its lock
    await node.ask("schedule")
    await eventually(lambda: node.ask("leader"), lambda leader: leader)
    # When something is due here, then it is left to that one
    backend = opened()
    assert await backend.promote(1e10, 100) == 0
    # And when it ends, this one moves what is due, without a lock
    await node.ask("unschedule")
    await backend.push([Job("mixed", [1], id="a", run_at=2e9)], 1.0)
    assert await backend.promote(2e9, 100) == 1
    assert not await node.ask("leader")


async def test_the_tries_that_node_counted_go_on_here(node: NodeResque, new_worker: NewWorker) -> None:
    # Given a job that failed once in node-resque, whose plugin has counted that
    await node.ask("enqueue", "critical", "retried", [7])
    await node.ask("work", ["critical"])
    await eventually(lambda: node.ask("allDelayed"), lambda delayed: delayed)
    await node.ask("rest")
    # When it runs here
    worker, attempts = new_worker(), list[int]()

    def note(job: Job, n: int) -> None:
        attempts.append(job.attempt)

    worker.register("retried", note)
    async with running(worker):
        await eventually(lambda: asyncio.sleep(0, len(attempts)), lambda count: count == 1)
        await eventually(lambda: left(worker), lambda states: states == {})
    # Then it is its second try
    assert attempts == [2]


async def test_what_failed_here_is_tried_again_by_node(node: NodeResque, new_worker: NewWorker) -> None:
    # Given a job that failed here, and waits on the common schedule
    worker = new_worker()

    def mixed(n: int) -> None:
        raise ValueError(n)

    worker.register("mixed", mixed, max_fails=9, backoff=lambda job: 1.0)
    await worker.aperform(Job("mixed", [7], queue="critical"))
    async with running(worker):
        await eventually(lambda: asyncio.sleep(0, worker.stats.retried), lambda count: count >= 1)
    # When node-resque schedules and works
    await node.ask("schedule")
    await node.ask("work", ["critical"])
    # Then it runs there as it was
    await node.until(lambda events: any(event["event"] == "success" for event in events))
    assert node.ran() == [[7]]
    await node.ask("rest")
    await node.ask("unschedule")


# workers


async def test_node_lists_the_workers_of_worksong_and_what_they_do(
    node: NodeResque, new_worker: NewWorker, stored: Stored
) -> None:
    # Given a worker with a job that runs
    worker, go_on = new_worker(2), asyncio.Event()

    async def long(n: int) -> None:
        await go_on.wait()

    worker.register("long", long)
    async with running(worker):
        await worker.aperform(Job("long", [5], queue="critical"))
        # When node-resque asks who works on what
        busy = await eventually(lambda: node.ask("allWorkingOn"), lambda on: any(map(is_busy, on.values())))
        # Then it finds the job with one of the slots
        (one,) = filter(is_busy, busy.values())
        assert (one["queue"], one["payload"]["class"], one["payload"]["args"]) == ("critical", "long", [5])
        assert len(await node.ask("workers")) == 3
        go_on.set()
        await eventually(lambda: left(worker), lambda states: states == {})
        assert (await node.ask("stats"))["processed"] == "1"
    # And nothing of it is left when the worker has stopped
    assert await node.ask("workers") == {}
    assert [key for key in stored.all() if key.startswith(("worker", "stat:processed:"))] == []


def is_busy(told: Any) -> bool:
    """Whether node-resque was told of a job."""
    return isinstance(told, dict) and "payload" in told
