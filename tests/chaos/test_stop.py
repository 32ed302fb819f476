"""B1, B2, B3: stops in order lose nothing, run nothing twice, and end soon, whatever the server does."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from chaos.certificates import Certify
from chaos.fleet import Fleet, Member
from chaos.ledger import Ledger, judge
from chaos.producer import Producer
from chaos.scale import CALM, FULL, sized, timeout
from chaos.theatre import EVERYWHERE, WITH_A_SERVER, Theatre, on, quiet
from patience import auntil
from worksong import Job

GRACE = 3.0 if FULL else 0.5
SOON = 2.0 if FULL else 60.0
"""Seconds in which an idle worker ends."""
AT_ONCE = 1.0 if FULL else 60.0
"""Seconds in which a second signal ends it."""

pytestmark = pytest.mark.timeout(timeout(240))


@on(*EVERYWHERE, "resque", "rabbitmq", small=("redis", "sqlite", "mariadb"))
async def test_b1_rolling_restarts_lose_nothing_and_run_nothing_twice(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given three workers under load
    restarts, rate = sized(30, 3), 500.0 if FULL else 150.0
    over = asyncio.Event()
    await fleet.start(3, "--concurrency", "25", silent=CALM)
    producing = asyncio.create_task(producer.produce(lambda: Job("work", {"ms": 50.0}), rate, over.is_set))
    ends: list[tuple[int, float]] = []
    late: list[float] = []

    # When one after the other is asked to stop, and another one started
    for number in range(restarts):
        await asyncio.sleep(fleet.chance.uniform(0.1, 0.6))
        member = fleet.alive[0]
        await fleet.launch("--concurrency", "25", silent=CALM)
        await fleet.until(lambda ledger, count=number + 4: len(ledger.of("P")) == count)
        asked = time.monotonic()
        ends.append(await fleet.stop(member))
        late += [line.at - asked for line in fleet.ledger.of("S", process=member.name) if line.at > asked]
    over.set()
    await producing

    # Then each ends in order and soon, and every job ran exactly once
    await quiet(theatre, 60)
    await fleet.stop_all()
    verdict = judge(fleet.ledger)
    assert (verdict.lost, verdict.phantom, verdict.duplicates) == ((), (), ()), f"{verdict}\n{fleet.report()}"
    assert verdict.finished == verdict.acked >= restarts
    assert {code for code, _ in ends} == {0}
    assert await theatre.disorder() == []
    certify(
        "B1",
        jobs=verdict.acked,
        restarts=restarts,
        lost=0,
        duplicates=0,
        exit_at_most_after=max(seconds for _, seconds in ends),
        last_start_after_the_signal=max(late, default=0.0),
    )
    if FULL:
        assert max(seconds for _, seconds in ends) <= 0.05 + 1.0
        assert max(late, default=0.0) <= 0.1


@on(*EVERYWHERE, "resque", small=("redis",))
async def test_b2_jobs_that_outlive_the_grace_go_back_to_the_front_uncounted(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given a worker whose slots are taken by long jobs, and more jobs that wait
    (first,) = await fleet.start(1, "--concurrency", "4", "--grace", f"{GRACE}s", silent=CALM)
    long = await producer.push([Job("hold", {"until": "over"})] * 4)
    await fleet.until(lambda ledger: ledger.running(first.name) == set(long), first)
    waiting = await producer.push([Job("hold", {"until": "over"})] * 8)

    # When it is asked to stop
    (second,) = await fleet.start(1, "--concurrency", "4", silent=CALM)
    await fleet.until(lambda ledger: len(ledger.running(second.name)) == 4, second)
    code, seconds = await fleet.stop(first)
    (third,) = await fleet.start(1, "--concurrency", "4", silent=CALM)

    # Then its jobs are the next to run, before those that waited longer, with the same attempt
    ledger = await fleet.until(lambda ledger: len(ledger.running(third.name)) == 4, third)
    assert code == 0
    assert ledger.running(third.name) == set(long)
    assert {line.attempt for line in ledger.of("S")} == {1}
    again = max(line.at for line in ledger.of("S", process=third.name))
    ready = ledger.of("P", process=third.name)[0].at
    (fleet.directory / "over").touch()
    await quiet(theatre, 60)
    await fleet.stop_all()

    # And they are exactly what ran twice
    verdict = judge(fleet.ledger)
    assert (verdict.lost, verdict.phantom) == ((), ())
    assert set(verdict.duplicates) == set(long)
    assert verdict.finished == len(long) + len(waiting)
    certify("B2", grace=GRACE, exit_after=seconds, given_back=len(long), taken_up_after=again - ready)
    if FULL:
        assert seconds <= GRACE + 5.0
        assert again - ready <= 2.0


# B3: a worker is asked to stop while the server is not there for it

Situation = Callable[[Theatre, Fleet], Awaitable[Member]]


async def _idle(_: Theatre, fleet: Fleet) -> Member:
    (member,) = await fleet.start(1)
    return member


async def _server_gone(theatre: Theatre, fleet: Fleet) -> Member:
    member = await _idle(theatre, fleet)
    await theatre.kill()
    return member


async def _server_gone_for_a_while(theatre: Theatre, fleet: Fleet) -> Member:
    member = await _server_gone(theatre, fleet)
    await asyncio.sleep(fleet.chance.uniform(0.5, 2.0))
    return member


async def _server_frozen(theatre: Theatre, fleet: Fleet) -> Member:
    """So that it waits for the answer to some command: a fetch, a beat, a promotion."""
    member = await _idle(theatre, fleet)
    theatre.freeze()
    await asyncio.sleep(fleet.chance.uniform(0.0, 1.0))
    return member


async def _connecting_to_a_frozen_server(theatre: Theatre, fleet: Fleet) -> Member:
    theatre.freeze()
    member = await fleet.launch()
    await _until_said(member, "starts chaos.app")
    await asyncio.sleep(fleet.chance.uniform(0.2, 0.8))
    return member


SITUATIONS: dict[str, Situation] = {
    "idle": _idle,
    "server gone": _server_gone,
    "server gone for a while": _server_gone_for_a_while,
    "server frozen": _server_frozen,
    "connecting to a frozen server": _connecting_to_a_frozen_server,
}


@on(*WITH_A_SERVER, small=("redis",))
async def test_b3_an_idle_worker_ends_soon_whatever_the_server_does(
    theatre: Theatre, fleet: Fleet, certify: Certify
) -> None:
    took: dict[str, float] = {}
    for name, situation in list(SITUATIONS.items())[0 if FULL else 3 :]:
        for number in (signal.SIGTERM, signal.SIGINT) if FULL else (signal.SIGTERM,):
            # Given a worker in some situation
            member = await situation(theatre, fleet)

            # When it hears a signal, then it ends in order and soon
            begun = time.monotonic()
            member.signal(number)
            code = await member.ended()
            took[f"{name}, {number.name}"] = time.monotonic() - begun
            assert code == 0, f"{name}: {member.said}"
            await _heal(theatre)
    print(took)
    certify("B3", situations=len(took), idle_exit_at_most_after=max(took.values()))
    assert max(took.values()) <= SOON, took


@on(*WITH_A_SERVER, small=("redis",))
async def test_b3_a_second_signal_ends_a_busy_worker_at_once_whatever_the_server_does(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    took: list[float] = []
    for away in ("", "gone", "frozen") if FULL else ("frozen",):
        # Given a worker with a job that does not end, and a server that is there, or gone, or frozen
        (member,) = await fleet.start(1)
        await producer.push([Job("hold", {"until": "over"})])
        await fleet.until(partial(_busy, member), member)
        if away == "gone":
            await theatre.kill()
        if away == "frozen":
            theatre.freeze()

        # When a signal asks for all stacks, it goes on; after one to stop, it waits for its job
        member.signal(signal.SIGQUIT)
        await _until_said(member, "Current thread")
        member.signal(signal.SIGTERM)
        await _until_said(member, "stopping")
        assert member.alive

        # And after a second one it does not
        begun = time.monotonic()
        member.signal(signal.SIGTERM)
        code = await member.ended()
        took.append(time.monotonic() - begun)
        assert code == 128 + signal.SIGTERM
        await _heal(theatre)

    # And what it ran is not lost
    (fleet.directory / "over").touch()
    await fleet.start(1)
    await quiet(theatre, 90)
    await fleet.stop_all()
    verdict = judge(fleet.ledger)
    assert (verdict.lost, verdict.finished) == ((), len(took))
    certify("B3-second", second_signal_exit_at_most_after=max(took))
    assert max(took) <= AT_ONCE


async def _heal(theatre: Theatre) -> None:
    """The server is there again, whatever was done to it."""
    theatre.thaw()
    await theatre.kill()
    await theatre.restart()


def _busy(member: Member, ledger: Ledger) -> bool:
    return bool(ledger.running(member.name))


async def _until_said(member: Member, words: str) -> None:
    await auntil(lambda: words in member.said, lambda _: f"{words!r} in what it said: {member.said}")
