"""A7, A8: handlers that crash, hang, leak and take all memory; whatever one does, the next hundred jobs succeed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial

import pytest

from chaos import matrix
from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.ledger import Ledger, judge
from chaos.producer import Producer
from chaos.scale import CALM, FULL, sized, timeout
from chaos.theatre import Theatre, backend, on, quiet
from patience import auntil
from worksong import Job
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.ports.backend import Window

GOOD = 100
BLOCKED = 20.0 if FULL else 1.0
"""Seconds for which a handler blocks its event loop: at full scale longer than a silent pool is left alone."""
HELD = 8.0 if FULL else 0.5
"""Seconds for which one holds the whole interpreter, its beats included."""
ARGUMENTS: Mapping[str, dict[str, float]] = {
    "block_the_loop": {"seconds": BLOCKED},
    "hold_the_interpreter": {"seconds": HELD},
}

pytestmark = [pytest.mark.timeout(timeout(240)), on("redis")]
"""What a handler does to its worker is the same whatever keeps the jobs: Redis stands for all."""


async def _good_jobs_succeed(fleet: Fleet, producer: Producer, after: str) -> float:
    """Answers how long the hundred jobs took that were enqueued now."""
    begun = time.monotonic()
    ids = set(await producer.push([Job("work", {"ms": 1.0})] * GOOD))
    assert len(ids) == GOOD
    try:
        await fleet.until(lambda ledger: ids <= ledger.ids("F"), within=60)
    except AssertionError as missing:
        raise AssertionError(f"after {after}: {missing}") from None
    return time.monotonic() - begun


async def _dead(theatre: Theatre, expected: Collection[str]) -> dict[str, JobView]:
    """The dead jobs, once all those are among them."""
    async with backend(theatre) as store:

        async def dead() -> dict[str, JobView]:
            return {view.id: view for view in await store.jobs(State.DEAD, Window(limit=1000))}

        return await auntil(
            dead,
            lambda dead: f"the deaths of {set(expected) - dead.keys()}",
            met=lambda dead: dead.keys() >= set(expected),
        )


async def test_a8_a_handler_that_misbehaves_costs_no_other_job_anything(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given one worker
    (worker,) = await fleet.start(1, silent=CALM)
    ids: dict[str, str] = {}
    longest = 0.0

    # When handlers do what they should not, one after the other, then each time the next hundred jobs succeed
    async with _watched(theatre) as ages:
        for name in (*matrix.FAILS, *matrix.FINISH, *matrix.STUCK):
            if name == "hold_the_interpreter":
                continue
            (ids[name],) = await producer.push([Job(name, ARGUMENTS.get(name))])
            longest = max(longest, await _good_jobs_succeed(fleet, producer, name))
    (ids["hold_the_interpreter"],) = await producer.push([Job("hold_the_interpreter", {"seconds": HELD})])
    await _good_jobs_succeed(fleet, producer, "hold_the_interpreter")

    # And what failed is dead with class and message, and what did no harm is done
    await fleet.until(lambda ledger: all(ids[name] in ledger.ids("F") for name in matrix.FINISH), worker)
    dead = await _dead(theatre, [ids[name] for name in (*matrix.FAILS, "never_end_in_a_thread")])
    for name, (_, error) in matrix.FAILS.items():
        assert dead[ids[name]].error.startswith(error), name
        assert len(dead[ids[name]].error.encode()) <= 8192, name
    assert "timeout" in dead[ids["never_end_in_a_thread"]].error.lower()

    # And the worker still lives, beats, and has all its slots but the one that will not be let go
    assert worker.alive
    assert fleet.ledger.evictions() == []
    if FULL:
        assert max(ages) <= 3.0  # twice the interval, in whole seconds
    (fleet.directory / "enough").touch()
    await quiet(theatre, 60)
    assert judge(fleet.ledger, kept=dead).right
    await fleet.kill(worker)  # one of them made it deaf to SIGTERM
    certify(
        "A8",
        handlers=len(ids) + len(matrix.FATAL),
        good_jobs_after_each=GOOD,
        good_jobs_took_at_most=longest,
        oldest_heartbeat=max(ages),
    )


@asynccontextmanager
async def _watched(theatre: Theatre) -> AsyncIterator[list[float]]:
    """The ages of the oldest heartbeat, looked at again and again."""
    ages: list[float] = [0.0]

    async def look() -> None:
        async with backend(theatre) as store:
            while True:
                pools = await store.pools()
                ages.extend(time.time() - pool.heartbeat_at for pool in pools)
                await asyncio.sleep(0.1)

    looking = asyncio.create_task(look())
    try:
        yield ages
    finally:
        looking.cancel()


async def test_a8_a_handler_that_ends_its_process_is_run_again_by_another(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    names = sorted(matrix.FATAL) if FULL else ["segv"]
    again: list[float] = []
    replaced: list[float] = []
    for number, name in enumerate(names):
        # Given a supervisor of two processes
        supervisor = await fleet.launch("--processes", "2", silent=0)
        await fleet.until(partial(_formed, 3 * number + 2), supervisor)

        # When a handler ends the process that it runs in, then the next hundred jobs succeed
        (job,) = await producer.push([Job(name)])
        await _good_jobs_succeed(fleet, producer, name)

        # And it runs again, and another process takes the place of the one that ended
        ledger = await fleet.until(partial(_finished, job), supervisor)
        first, second = [line for line in ledger.of("S") if line.subject == job]
        again.append(second.at - first.at)
        ledger = await fleet.until(partial(_formed, 3 * number + 3), supervisor)
        replaced.append(ledger.of("P")[-1].at - first.at)
        await quiet(theatre, 60)
        await fleet.stop_all()
    assert not judge(fleet.ledger).lost
    certify("A8-fatal", handlers=len(names), run_again_within=max(again), process_replaced_within=max(replaced))
    if FULL:
        assert max(again) <= 2.0
        assert max(replaced) <= 2.0


def _formed(pools: int, ledger: Ledger) -> bool:
    return len(ledger.of("P")) == pools


def _finished(job: str, ledger: Ledger) -> bool:
    return job in ledger.ids("F")


async def test_a7_a_child_that_runs_out_of_memory_ends_alone(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given a worker with jobs of its own, some of them in processes
    (worker,) = await fleet.start(1, silent=CALM)
    others = await producer.push([Job("hold", {"until": "over"}), *[Job("modest")] * sized(100, 20)])

    # When a handler in a child process takes memory until the kernel ends it
    (greedy,) = await producer.push([Job("gobble")])
    await fleet.until(lambda ledger: ledger.count("R")[greedy] == 3, worker)
    await fleet.until(lambda ledger: set(others[1:]) <= ledger.ids("F"), worker)

    # Then the third crash was its last, and nobody else ended with it
    (fleet.directory / "over").touch()
    await quiet(theatre, 60)
    dead = await _dead(theatre, [greedy])
    assert dead[greedy].error == "worker_crashed:SIGKILL(oom?)"
    assert worker.alive
    children = len(list(fleet.directory.glob("gobbler-*")))
    assert children == 3
    await fleet.stop_all()
    verdict = judge(fleet.ledger, kept=dead)
    assert verdict.right, verdict
    assert verdict.finished == len(others)
    certify("A7", crashes_until_dead=3, children_lost=children, other_jobs=len(others), lost=0)
