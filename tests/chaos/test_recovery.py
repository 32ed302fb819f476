"""A4, A6: how soon a dead worker's jobs run again, and that one which only seemed dead does no harm when it wakes."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path

import pytest

from chaos.certificates import Certify
from chaos.fleet import Fleet, Member
from chaos.ledger import Ledger, judge
from chaos.producer import Producer
from chaos.scale import FULL, sized, timeout
from chaos.theatre import EVERYWHERE, Theatre, on, quiet
from worksong import Job

IN_FLIGHT = 25
"""Jobs that each victim runs when it is killed."""

pytestmark = pytest.mark.timeout(timeout(240))


def _holding(ledger: Ledger, member: Member) -> int:
    return len(ledger.running(member.name))


def _restarts(ledger: Ledger, orphans: set[str], since: float) -> list[float]:
    """Seconds from `since` until each of the jobs was begun again; 0: it was before the kill was noted."""
    begun = {job: [line.at for line in ledger.of("S") if line.subject == job and line.at > since] for job in orphans}
    return [min(again, default=since) - since for again in begun.values()]


@on(*EVERYWHERE, "resque", "rabbitmq", small=("redis",))  # elsewhere A6 shows jobs recovered
async def test_a4_jobs_of_a_dead_pool_run_again_soon_at_default_settings(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given pools that have all their jobs under way, two that have nothing to do, and no other load
    victims = sized(4, 1)
    orphans: dict[Member, set[str]] = {}
    for _ in range(victims):
        (victim,) = await fleet.start(1, "--concurrency", str(IN_FLIGHT))
        ids = await producer.push([Job("hold", {"until": "over"})] * IN_FLIGHT)
        orphans[victim] = set(ids)
        await fleet.until(lambda ledger, victim=victim: _holding(ledger, victim) == IN_FLIGHT, victim)
    await fleet.start(2, "--concurrency", str(IN_FLIGHT * victims))

    # When they are killed, at moments that have nothing to do with the others' rhythm
    killed: dict[Member, float] = {}
    for victim in orphans:
        await asyncio.sleep(fleet.chance.uniform(0.5, 2.0))
        await fleet.kill(victim)
        killed[victim] = fleet.strokes[-1].at

    # Then others begin each of their jobs again
    again = {job for ids in orphans.values() for job in ids}
    ledger = await fleet.until(lambda ledger: all(ledger.count("S")[job] > 1 for job in again), within=60)
    took = [seconds for victim, ids in orphans.items() for seconds in _restarts(ledger, ids, killed[victim])]
    (fleet.directory / "over").touch()
    await quiet(theatre, 60)
    await fleet.stop_all()
    evictions = fleet.ledger.evictions()
    verdict = judge(fleet.ledger, [*fleet.strokes, *evictions])
    assert verdict.right, verdict
    assert evictions or len(verdict.duplicates) == len(again)
    p95 = statistics.quantiles(took, n=20)[-1]
    certify("A4", pools_killed=victims, orphans=len(took), recovery_p95=p95, recovery_max=max(took))
    if FULL:
        assert p95 <= 15.0
        assert max(took) <= 20.0


@on(*EVERYWHERE, "resque", "rabbitmq", small=("redis", "sqlite"))
async def test_a4_a_supervisor_frees_the_jobs_of_its_dead_process_at_once(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given a supervisor of two processes, which have jobs under way
    kills = sized(5, 2)
    supervisor = await fleet.launch("--processes", "2", silent=0)
    await fleet.until(lambda ledger: len(ledger.of("P")) == 2, supervisor)

    # When one process after the other is killed, its jobs begin again, and another takes its place
    took = [
        seconds for n in range(kills) for seconds in await _kill_supervised(fleet, supervisor, await _hold(producer, n))
    ]
    await quiet(theatre, 60)
    await fleet.stop_all()
    verdict = judge(fleet.ledger, [*fleet.strokes, *fleet.ledger.evictions()])
    assert verdict.right, verdict
    assert verdict.finished == verdict.acked == 8 * kills
    certify("A4-supervised", kills=kills, orphans=len(took), recovery_max=max(took))
    if FULL:
        assert max(took) <= 2.0


async def _hold(producer: Producer, number: int) -> list[str]:
    """Fresh jobs each time: one that lost four workers is not run again."""
    return await producer.push([Job("hold", {"until": f"over-{number}"})] * 8)


async def _kill_supervised(fleet: Fleet, supervisor: Member, jobs: list[str]) -> list[float]:
    """Kill one of the processes that run these jobs; answers after how many seconds each of its own ran again."""
    ledger = await fleet.until(lambda ledger: set(jobs) <= ledger.ids("S"), supervisor)
    pid = int(fleet.chance.choice([line.process for line in ledger.of("S") if line.subject in jobs]))
    orphans = ledger.running(str(pid))
    fleet.kill_process(pid)
    killed = fleet.strokes[-1].at
    ledger = await fleet.until(lambda ledger: orphans <= _begun(ledger, killed), supervisor)
    await fleet.until(lambda ledger: any(line.at > killed for line in ledger.of("P")), supervisor)
    (fleet.directory / f"over-{len(fleet.strokes) - 1}").touch()
    await fleet.until(lambda ledger: set(jobs) <= ledger.ids("F"), supervisor)
    return _restarts(ledger, orphans, killed)


def _begun(ledger: Ledger, since: float) -> set[str]:
    return {line.subject for line in ledger.of("S") if line.at > since}


@on(*EVERYWHERE, "resque", small=("redis", "sqlite"))
async def test_a6_a_frozen_worker_that_wakes_up_changes_nothing(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify
) -> None:
    # Given a worker that has half of the jobs, about to write to a resource that compares fences, and two for the rest
    count = sized(200, 30)
    _make_resource(fleet.directory)
    members = await fleet.start(1, "--concurrency", str(count // 2))
    (frozen,) = members
    ids = await _publish(producer, fleet.directory, count // 2)
    await fleet.until(lambda ledger: len(ledger.running(frozen.name)) == count // 2, frozen)
    members += await fleet.start(2, "--concurrency", str(count))
    ids += await _publish(producer, fleet.directory, count - len(ids))
    ledger = await fleet.until(lambda ledger: ledger.ids("S") == set(ids))
    zombies = ledger.running(frozen.name)

    # When one is frozen until the others have done its jobs, and then wakes up
    stopped = await _freeze(theatre, frozen)
    (fleet.directory / "gate").touch()
    await fleet.until(lambda ledger: _finished_elsewhere(ledger, frozen) == set(ids))
    took = time.monotonic() - stopped
    frozen.signal(signal.SIGCONT)
    ledger = await fleet.until(lambda ledger: len(ledger.of("P", process=frozen.name)) >= 2, frozen)

    # Then it goes on as a new pool, and nothing that it still did had an effect
    first, second, *_ = ledger.of("P", process=frozen.name)
    assert first.subject != second.subject
    await quiet(theatre, 60)
    await producer.push([Job("work")] * 50)
    await quiet(theatre, 60)
    await fleet.stop_all()
    with closing(sqlite3.connect(fleet.directory / "effects.db")) as effects:
        twice = effects.execute("SELECT count(*) FROM effects WHERE times != 1").fetchone()[0]
        stale = "SELECT count(*) FROM tries WHERE pid = ? AND changed = ?"
        refused = effects.execute(stale, (frozen.pid, 0)).fetchone()[0]
        applied = effects.execute(stale, (frozen.pid, 1)).fetchone()[0]
    assert (twice, refused, applied) == (0, len(zombies), 0)

    # And none of its endings counted: the figures of all workers add up to one per job
    told = {member: _figures(member) for member in members}
    assert sum(figures.get("done", 0) for figures in told.values()) == count + 50
    evictions = fleet.ledger.evictions()
    verdict = judge(fleet.ledger, evictions)
    assert not verdict.lost
    assert not verdict.phantom
    assert set(verdict.duplicates) >= zombies
    assert len(evictions) > 1 or set(verdict.duplicates) == zombies  # a busy machine may freeze others as well
    certify(
        "A6",
        jobs=count,
        zombies=len(zombies),
        zombie_endings_accepted=0,
        stale_effects_refused=refused,
        effects_applied_twice=twice,
        run_again_within=took,
    )


async def _freeze(theatre: Theatre, member: Member) -> float:
    """When it stood still; not in the middle of what makes everybody wait: one file has one writer."""
    while True:
        stopped = time.monotonic()
        member.signal(signal.SIGSTOP)
        while True:
            if member.stopped:
                break
            await asyncio.sleep(0.005)
        if not await theatre.blocked():
            return stopped
        member.signal(signal.SIGCONT)
        await asyncio.sleep(0.02)


def _make_resource(place: Path) -> None:
    with closing(sqlite3.connect(place / "effects.db")) as effects, effects:
        effects.execute("PRAGMA journal_mode = WAL")
        effects.execute("CREATE TABLE effects (job TEXT PRIMARY KEY, fence INTEGER DEFAULT 0, times INTEGER DEFAULT 0)")
        effects.execute("CREATE TABLE tries (job TEXT, fence INTEGER, pid INTEGER, changed INTEGER)")


async def _publish(producer: Producer, place: Path, count: int) -> list[str]:
    """Jobs with a row each in the resource; the row comes before the handler can look for it: it waits for a gate."""
    ids = await producer.push([Job("publish", {"until": "gate"})] * count)
    with closing(sqlite3.connect(place / "effects.db", timeout=60)) as effects, effects:
        effects.executemany("INSERT INTO effects (job) VALUES (?)", [(job,) for job in ids])
    return ids


def _finished_elsewhere(ledger: Ledger, frozen: Member) -> set[str]:
    return {line.subject for line in ledger.of("F") if line.process != frozen.name}


def _figures(member: Member) -> dict[str, int]:
    """What it said at its end, as in `stopped after 3 s: 20 done, 0 retried, 0 dead, 5 too late`."""
    said = re.findall(r"stopped after [^:]*: (.*)", member.said)
    assert len(said) == 1, member.said
    pairs = (part.split(" ", 1) for part in said[0].split(", "))
    return {what: int(number.replace(",", "")) for number, what in pairs}
