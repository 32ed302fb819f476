"""F2: three at a time in the whole cluster, whoever dies and whoever is taken for dead."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import redis

from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.ledger import Ledger, Stroke, judge
from chaos.producer import Producer
from chaos.scale import FULL, UNSTORED, timeout
from chaos.theatre import NAMESPACE, Theatre, backend, on, quiet, stored
from worksong import Job
from worksong.domain.lifecycle import State
from worksong.wire.gocraft_keys import Keys

LIMIT = 3
POOLS = 8 if FULL else 3
LASTS = 20.0 if FULL else 2.0
"""Seconds of killing."""
BETWEEN = 1.0 if FULL else 0.8
RATE = 60.0
SAMPLE = 0.1 if FULL else 0.02
"""Seconds between two looks at the lock."""
QUIESCE = 90.0
RECOVERED = re.compile(r"of dead pools \((.*?)\)")
"""In what a worker says of others."""
LOCK = """
local running, told = 0, 0
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do running = running + redis.call('LLEN', key) end
for _, count in ipairs(redis.call('HVALS', KEYS[2])) do told = told + tonumber(count) end
return {tonumber(redis.call('GET', KEYS[1]) or '0'), told, running}
"""
"""The lock, the sum of lock_info, and what lies in progress, at one moment."""

pytestmark = pytest.mark.timeout(timeout(240))


class Samples:
    """What the lock was, again and again."""

    def __init__(self) -> None:
        self.taken = 0
        self.wrong: list[list[int]] = []
        self.most = 0


@contextmanager
def sampling(theatre: Theatre) -> Iterator[Samples]:
    """Look at the lock all the time, from a thread that nobody disturbs."""
    samples, over, keys = Samples(), threading.Event(), Keys(NAMESPACE)

    def sample() -> None:
        with redis.Redis.from_url(theatre.url.partition("?")[0]) as client:
            look = client.register_script(LOCK)
            while not over.wait(SAMPLE):
                pattern = f"{keys.jobs('three')}:*:inprogress"
                found = look(keys=[keys.lock("three"), keys.lock_info("three")], args=[pattern])
                samples.taken, samples.most = samples.taken + 1, max(samples.most, found[2])
                if len(set(found)) > 1:
                    samples.wrong.append(found)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


@on("redis")
async def test_f2_never_more_than_three_at_once(
    theatre: Theatre, fleet: Fleet, producer: Producer, certify: Certify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaos.fleet.APP", "chaos.limits_app:limited")
    # Given several pools that share a limit of three, and more work than that
    await fleet.start(POOLS)
    over, reaped = asyncio.Event(), list[Stroke]()
    job = Job("three", {"ms": 30.0})
    producing = asyncio.create_task(producer.produce(lambda: job, RATE, over.is_set))
    with sampling(theatre) as samples:
        # When one after the other is killed, or taken for dead while it lives
        end, strokes = time.monotonic() + LASTS, 0
        while time.monotonic() < end:
            await asyncio.sleep(BETWEEN)
            strokes += 1
            if strokes % 3:
                await _kill(fleet, theatre, told=not FULL or strokes % 3 == 1)
            else:
                reaped.append(await _take_for_dead(fleet, theatre))
        over.set()
        await producing
        took = await quiet(theatre, QUIESCE)
        calm = time.monotonic()
        await producer.push([Job("three", {"ms": 500.0})] * 9)  # each long enough for another pool to hear of the rest
        await quiet(theatre, QUIESCE)
        await fleet.stop_all()

    # Then never more than three ran at once, but for those who had lost their job already
    ledger = fleet.ledger
    zombies = [*reaped, *_heard(ledger, reaped)]
    most, after = _parallel(ledger, fleet.strokes, zombies), _parallel(ledger, fleet.strokes, zombies, since=calm)
    unasked = set[str]() if FULL else _unasked(ledger, fleet, reaped)
    assert samples.most == LIMIT
    # A pool that a slow machine kept from beating runs on until it hears that it lost its jobs: more, but never fewer.
    assert most == LIMIT or (most > LIMIT and unasked), (most, unasked)
    # And the lock said what was in progress, at every moment
    assert samples.wrong == []
    # And nothing leaked: three ran at once again afterwards, and nothing was lost
    assert after == LIMIT or (after > LIMIT and unasked), (after, unasked)
    assert await theatre.disorder() == []
    dead = await stored(theatre, State.DEAD)
    verdict = judge(ledger, [*fleet.strokes, *zombies], kept=dead)
    assert verdict.right, f"{verdict}\n{fleet.report()}"
    certify(
        "F2",
        pools=POOLS,
        jobs=verdict.acked,
        kills=len(fleet.strokes),
        live_pools_reaped=len(reaped),
        parallel_at_most=most,
        samples_of_the_lock=samples.taken,
        samples_wrong=len(samples.wrong),
        lost=len(verdict.lost),
        duplicates=len(verdict.duplicates),
        budget=verdict.budget,
        quiet_after=took,
    )


async def _kill(fleet: Fleet, theatre: Theatre, *, told: bool) -> None:
    """SIGKILL; if it is `told`, somebody says at once that it is dead, as a supervisor does."""
    member = fleet.any()
    await fleet.kill(member)
    pools = [line.subject for line in fleet.ledger.of("P", process=member.name)]
    if told and pools:
        async with backend(theatre) as store:
            await store.reap(time.time(), 0.0, dead=pools[-1:])
    await fleet.launch()


async def _take_for_dead(fleet: Fleet, theatre: Theatre) -> Stroke:
    """Reap the pool of one that lives: whatever it runs is somebody else's from now on."""
    formed = {line.process: line.subject for line in fleet.ledger.of("P")}
    name = fleet.chance.choice([member.name for member in fleet.alive if member.name in formed])
    stroke = Stroke(name, time.monotonic(), formed[name], UNSTORED)
    async with backend(theatre) as store:
        await store.reap(time.time(), 0.0, dead=[stroke.pool])
    return stroke


def _heard(ledger: Ledger, reaped: Sequence[Stroke]) -> list[Stroke]:
    """When pools heard that they were taken for dead; what they did since they were is done again."""
    since = {stroke.pool: stroke.at - stroke.within for stroke in reaped}
    return [
        heard._replace(within=heard.at - since[heard.pool]) if heard.pool in since else heard
        for heard in ledger.evictions()
    ]


def _unasked(ledger: Ledger, fleet: Fleet, reaped: Sequence[Stroke]) -> set[str]:
    """Pools that others took for dead by themselves, although their processes live."""
    told = {pool for member in fleet.members for pools in RECOVERED.findall(member.said) for pool in pools.split(", ")}
    killed = {line.subject for stroke in fleet.strokes for line in ledger.of("P", process=stroke.process)}
    heard = {eviction.pool for eviction in ledger.evictions()}
    return (ledger.ids("P") & (told | heard)) - killed - {stroke.pool for stroke in reaped}


def _parallel(ledger: Ledger, kills: Sequence[Stroke], reaped: Sequence[Stroke], since: float = 0.0) -> int:
    """How many ran at once at most: a run ends with its line, its process, or when its job is taken from its pool.

    What is lent to that pool afterwards counts: one that is lent a job at that moment is not struck off, and lives on.
    """
    killed = {stroke.process: stroke.at for stroke in kills}
    taken = defaultdict[str, list[float]](list)
    for stroke in reaped:
        taken[stroke.pool].append(stroke.at)
    runs: dict[tuple[str, str, int], tuple[float, float]] = {}
    for line in ledger.lines:
        key = (line.subject, line.pool, line.attempt)
        if line.kind == "S":
            lost = [at for at in taken[line.pool] if at > line.at]
            runs[key] = (line.at, min([killed.get(line.process, float("inf")), *lost]))
        elif line.kind in "FR" and key in runs:
            begun, last = runs[key]
            runs[key] = (begun, min(last, line.at))
    events = [event for begun, ended in runs.values() if ended > begun for event in ((begun, 1), (ended, -1))]
    running = most = 0
    for at, change in sorted(events):
        running += change
        most = max(most, running) if at >= since else most
    return most
