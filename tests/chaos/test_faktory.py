"""A1, A3, A4, B1, C1 on the real Faktory, where a lease is a reservation: only time ends it, in a minute or more."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Set
from pathlib import Path
from typing import Any

import pytest

from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.ledger import Verdict, judge
from chaos.outage import at_work, processes, waited_out
from chaos.producer import Producer, mixed_job
from chaos.scale import FULL, sized, timeout
from chaos.theatre_faktory import FaktoryTheatre, quiet
from gotool import BUILT
from worksong import Job
from worksong.ports.backend import Allowance

JOBS = sized(5000) if FULL else 150
RATE = 400.0 if FULL else 150.0
"""Jobs a second."""
QUIESCE = 240.0
HELD = 60.0
"""Seconds of the shortest reservation there is."""
LATEST = HELD + 15.0 + 44.0 + 5.0
"""Seconds after which a job must run again: until its reservation is over, the reaper looks, the back-off, a scan."""

pytestmark = pytest.mark.timeout(BUILT + timeout(600))


@pytest.fixture
async def theatre(faktory_program: Path) -> AsyncIterator[FaktoryTheatre]:
    """A server of the test's own."""
    async with FaktoryTheatre.open(faktory_program) as theatre:
        yield theatre


def _judged(fleet: Fleet, theatre: FaktoryTheatre) -> Verdict:
    """Of what is lost: the server has lost it, if it was killed with it in hand."""
    verdict = judge(fleet.ledger, fleet.strokes, outages=theatre.outages)
    assert set(verdict.lost) <= theatre.taken, f"{verdict}\n{fleet.report()}"
    assert not verdict.phantom
    assert len(verdict.duplicates) <= verdict.budget, f"{verdict}\n{fleet.report()}"
    return verdict


@pytest.mark.skipif(not FULL, reason="A3 kills workers as well: A1 on Faktory is measured by make chaos")
async def test_a1_workers_killed_at_random_lose_nothing(
    theatre: FaktoryTheatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given four workers under load
    kills = sized(12, 3)
    await fleet.start(4, silent=0)
    producing = asyncio.create_task(
        producer.produce(lambda: mixed_job(fleet.chance), RATE, lambda: producer.acked >= JOBS)
    )

    # When one after the other is killed, and started again at once
    await fleet.kill_in_turn(kills, every=1.0 if FULL else 0.5, silent=0)
    await producing

    # Then all is done, once the reservations of the dead are over, and only what was under way ran twice
    took = await quiet(theatre, fleet, QUIESCE)
    await fleet.stop_all()
    verdict = _judged(fleet, theatre)
    assert verdict.acked >= JOBS
    assert theatre.count() + theatre.count("scheduled", "retries", "dead", "working") == 0
    certify(
        "A1",
        jobs=verdict.acked,
        kills=kills,
        lost=len(verdict.lost),
        phantom=len(verdict.phantom),
        duplicates=len(verdict.duplicates),
        budget=verdict.budget,
        quiet_after_reservations=took,
    )


async def test_a3_servers_and_workers_killed_at_random_lose_nothing(
    theatre: FaktoryTheatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given workers under load
    outages, between = sized(3, 1), 4 if FULL else 1
    await fleet.start(4 if FULL else 2, silent=0)
    over = asyncio.Event()
    producing = asyncio.create_task(
        producer.produce(lambda: mixed_job(fleet.chance), RATE, lambda: over.is_set() and producer.acked >= JOBS)
    )

    # When workers are killed, and now and then the server, which comes back after a second
    for _ in range(outages):
        await fleet.kill_in_turn(between, every=1.0 if FULL else 0.5, silent=0)
        await asyncio.sleep(fleet.chance.uniform(0.2, 0.8))
        await theatre.kill(lambda: fleet.ledger.ids("K") - fleet.ledger.ids("F"))
        await asyncio.sleep(1.0 if FULL else 0.5)
        await theatre.restart()
        await _resumed(fleet)
    over.set()
    await producing

    # Then all is done that the server still knew, and only what was under way ran twice
    took = await quiet(theatre, fleet, QUIESCE)
    await fleet.stop_all()
    verdict = _judged(fleet, theatre)
    certify(
        "A3",
        jobs=verdict.acked,
        worker_kills=len(fleet.strokes),
        server_kills=outages,
        lost=len(set(verdict.lost) - theatre.taken),
        lost_by_the_server_itself=len(verdict.lost),
        phantom=len(verdict.phantom),
        duplicates=len(verdict.duplicates),
        budget=verdict.budget,
        quiet_after_reservations=took,
    )


async def _resumed(fleet: Fleet) -> None:
    """Wait until some worker has begun a job again."""
    begun = time.monotonic()
    await fleet.until(lambda ledger: any(line.at > begun for line in ledger.of("S")))


@pytest.mark.skipif(not FULL, reason="a reservation lasts a minute at least: A4 on Faktory is measured by make chaos")
async def test_a4_jobs_of_a_dead_worker_run_again_when_their_reservation_is_over(
    theatre: FaktoryTheatre, fleet: Fleet, certify: Certify
) -> None:
    # Given a worker that has all its jobs under way, each reserved as shortly as can be, and one that has nothing to do
    producer = Producer(theatre.url, fleet.directory, allowance=Allowance(timeout=1.0))
    (victim,) = await fleet.start(1, "--concurrency", "25", silent=0)
    orphans = set(await producer.push([Job("hold", {"until": "over", "seconds": 300.0})] * 25))
    await fleet.until(lambda ledger: len(ledger.running(victim.name)) == 25, victim)
    await fleet.start(1, "--concurrency", "50", silent=0)

    # When it is killed, then the other one begins each of its jobs again
    await fleet.kill(victim)
    killed = fleet.strokes[-1].at
    ledger = await fleet.until(lambda ledger: all(ledger.count("S")[job] > 1 for job in orphans), within=LATEST + 60)
    took = [min(line.at for line in ledger.of("S") if line.subject == job and line.at > killed) for job in orphans]
    took = [at - killed for at in took]
    (fleet.directory / "over").touch()
    await quiet(theatre, fleet, QUIESCE)
    await fleet.stop_all()
    await producer.close()
    verdict = _judged(fleet, theatre)
    assert len(verdict.duplicates) == len(orphans)
    p95 = statistics.quantiles(took, n=20)[-1]
    certify("A4", pools_killed=1, orphans=len(took), recovery_p95=p95, recovery_max=max(took))
    assert max(took) <= LATEST + 1.0


async def test_b1_rolling_restarts_lose_nothing_and_run_nothing_twice(
    theatre: FaktoryTheatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given workers under load
    restarts, rate = sized(30) if FULL else 1, 300.0 if FULL else 100.0
    over = asyncio.Event()
    await fleet.start(2, silent=0)
    producing = asyncio.create_task(producer.produce(lambda: Job("work", {"ms": 50.0}), rate, over.is_set))
    ends: list[tuple[int, float]] = []

    # When one after the other is asked to stop, and another one started
    for number in range(restarts):
        await asyncio.sleep(fleet.chance.uniform(0.1, 0.6))
        member = fleet.alive[0]
        await fleet.launch(silent=0)
        await fleet.until(lambda ledger, count=number + 3: len(ledger.of("P")) == count)
        ends.append(await fleet.stop(member))
    over.set()
    await producing

    # Then each ends in order, and every job ran exactly once
    await quiet(theatre, fleet, QUIESCE)
    await fleet.stop_all()
    verdict = judge(fleet.ledger)
    assert (verdict.lost, verdict.phantom, verdict.duplicates) == ((), (), ()), f"{verdict}\n{fleet.report()}"
    assert verdict.finished == verdict.acked >= restarts
    assert {code for code, _ in ends} == {0}
    longest = max(seconds for _, seconds in ends)
    certify("B1", jobs=verdict.acked, restarts=restarts, lost=0, duplicates=0, exit_at_most_after=longest)
    if FULL:  # a FETCH that waits at the server is not broken off
        assert longest <= 0.05 + 1.0 + 2.0


@pytest.mark.skipif(not FULL, reason="tests/faktory kills the server as well: C1 on Faktory is measured by make chaos")
async def test_c1_an_outage_is_told_in_time_waited_out_quietly_and_costs_nothing(
    theatre: FaktoryTheatre, tmp_path: Path, certify: Certify
) -> None:
    async def kill() -> None:
        await theatre.kill(lambda: set(map(str, enqueuer.acked - set(enqueuer.runs))), as_=_number)

    async def taken() -> Set[int]:
        """What it was killed with in its hands; what was asked for in vain comes when its reservation is over."""
        await enqueuer.until(lambda: not theatre.count())
        theatre.expire()
        return frozenset(map(int, theatre.taken))

    with processes(theatre.server.url, tmp_path) as workers:
        async with at_work(theatre.server.url, tmp_path, workers) as enqueuer:
            figures = await waited_out(enqueuer, workers, kill=kill, restart=theatre.restart, lost=taken)
    certify("C1", **figures, lost_by_the_server_itself=len(theatre.taken))


def _number(job: dict[str, Any]) -> str:
    return str(job["args"][0]["number"])
