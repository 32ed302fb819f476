"""A1, A2, A3: workers and servers killed at random under load; nothing is lost, and what runs twice was under way."""

from __future__ import annotations

import asyncio
import time

import pytest

from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.ledger import Verdict, judge
from chaos.producer import Producer, mixed_job
from chaos.scale import FULL, sized, timeout
from chaos.theatre import EVERYWHERE, WITH_A_SERVER, Theatre, on, quiet, stored
from worksong.domain.lifecycle import State

JOBS = sized(5000) if FULL else 250
RATE = 400.0 if FULL else 150.0
"""Jobs a second: as many as let the load last as long as the kills."""
QUIESCE = 90.0

pytestmark = pytest.mark.timeout(timeout(240))


async def _judged(fleet: Fleet, theatre: Theatre) -> Verdict:
    ledger = fleet.ledger
    dead = await stored(theatre, State.DEAD)
    verdict = judge(ledger, [*fleet.strokes, *ledger.evictions()], kept=dead, outages=theatre.outages)
    assert verdict.right, f"{verdict}\n{fleet.report()}"
    return verdict


@on(*EVERYWHERE, "resque", "rabbitmq", small=("sqlite",))  # where there is a server, A2 and A3 kill workers as well
async def test_a1_workers_killed_at_random_lose_nothing(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given four workers under load
    kills = sized(12, 3)
    await fleet.start(4)
    producing = asyncio.create_task(
        producer.produce(lambda: mixed_job(fleet.chance), RATE, lambda: producer.acked >= JOBS)
    )

    # When one after the other is killed, and started again at once
    await fleet.kill_in_turn(kills, every=1.0 if FULL else 0.7)
    await producing

    # Then all is done and in order, and only what was under way ran twice
    took = await quiet(theatre, QUIESCE)
    await fleet.stop_all()
    verdict = await _judged(fleet, theatre)
    assert verdict.acked >= JOBS
    assert await theatre.disorder() == []
    evictions = len(fleet.ledger.evictions())
    if FULL:
        assert evictions == 0
    certify(
        "A1",
        jobs=verdict.acked,
        kills=kills,
        lost=len(verdict.lost),
        phantom=len(verdict.phantom),
        duplicates=len(verdict.duplicates),
        budget=verdict.budget,
        quiet_after=took,
    )


@on(*WITH_A_SERVER, "resque", "rabbitmq", small=(*WITH_A_SERVER, "resque"))  # RabbitMQ takes long to come back
async def test_a2_a3_servers_and_workers_killed_at_random_lose_nothing(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given four workers under load
    outages, between = sized(3, 1), 4 if FULL else 1
    await fleet.start(4)
    over = asyncio.Event()
    producing = asyncio.create_task(
        producer.produce(lambda: mixed_job(fleet.chance), RATE, lambda: over.is_set() and producer.acked >= JOBS)
    )
    resumed: list[float] = []

    # When workers are killed, and now and then the server, which comes back after a second
    for _ in range(outages):
        await fleet.kill_in_turn(between, every=1.0 if FULL else 0.7)
        await asyncio.sleep(fleet.chance.uniform(0.2, 0.8))
        await theatre.kill()
        await asyncio.sleep(1.0 if FULL else 0.5)
        await theatre.restart()
        resumed.append(await _resumed(fleet))
        await asyncio.gather(*(fleet.launch() for _ in range(4 - len(fleet.alive))))  # it could not start without
    over.set()
    await producing

    # Then all is done and in order, and only what was under way ran twice
    took = await quiet(theatre, QUIESCE)
    await fleet.stop_all()
    verdict = await _judged(fleet, theatre)
    assert await theatre.disorder() == []
    redis, amqp = theatre.url.startswith(("redis", "resque")), theatre.url.startswith("amqp")
    if FULL:
        assert max(resumed) <= (10.0 if redis else 30.0 if amqp else 15.0)
        assert amqp or not fleet.ledger.evictions()  # RabbitMQ may be away for longer than a pool may be silent
    certify(
        "A2" if redis else "A3",
        jobs=verdict.acked,
        worker_kills=len(fleet.strokes),
        server_kills=outages,
        lost=len(verdict.lost),
        phantom=len(verdict.phantom),
        duplicates=len(verdict.duplicates),
        budget=verdict.budget,
        resumed_at_most_after=max(resumed),
        quiet_after=took,
    )


async def _resumed(fleet: Fleet) -> float:
    """Seconds until every worker that was at work has begun a job again; one just started cannot without the server."""
    begun = time.monotonic()
    names = {line.process for line in fleet.ledger.of("P")} & {member.name for member in fleet.alive}
    ledger = await fleet.until(lambda ledger: names <= {line.process for line in ledger.of("S") if line.at > begun})
    firsts = [min(line.at for line in ledger.of("S", process=name) if line.at > begun) for name in names]
    return max(firsts) - begun
