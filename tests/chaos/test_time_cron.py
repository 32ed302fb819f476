"""D5: periodic jobs under five schedulers that die, err about the time and lose the server: each tick fires once.

Days pass in seconds: the schedulers are the real ones, their clocks and the server's absences are simulated.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from chaos.certificates import Certify
from chaos.scale import FULL, SEED, sized, timeout
from chaos.theatre import NAMESPACE, Theatre, on
from worksong.adapters import connect
from worksong.adapters.memory import MemoryBackend
from worksong.domain import cron
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown
from worksong.domain.job import new_id
from worksong.domain.outcome import Done, Settlement
from worksong.domain.turns import Share
from worksong.engine.servertime import ServerTime
from worksong.engine.timetable import HORIZON, PERIOD
from worksong.engine.upkeep import Upkeep
from worksong.ports.backend import Backend, Pool, Want
from worksong.registry import Periodic
from worksong.testing.flaky import Fault, FlakyBackend

START = 1_700_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SCHEDULERS = 5
SKEW = 10.0
LOOK = 10.0
"""Seconds between two rounds of queueing and running what is due."""
LOST_ANSWERS = 0.01
"""How many of the pushes are carried out and not answered; half of the schedulers to whom that happens die of it."""

pytestmark = pytest.mark.timeout(timeout(200))


class Entry(NamedTuple):
    """A periodic job, and how one computes its ticks without cron: those seconds that the period divides."""

    name: str
    spec: str
    period: int


EVERY_SECOND = [Entry(name, "* * * * * *", 1) for name in ("a", "b", "c")]
SELDOM = [Entry("a", "*/5 * * * *", 300), Entry("b", "@hourly", 3600), Entry("c", "*/10 * * * *", 600)]
SOMETIMES = [Entry("a", "*/5 * * * * *", 5), Entry("b", "*/20 * * * * *", 20), Entry("c", "* * * * *", 60)]


class Verdict(NamedTuple):
    """What became of the ticks."""

    ticks: int
    fired: int
    twice: int
    missed: int
    """Although a scheduler lived and had the server, long enough before."""
    unserved: int
    """Nobody was there to fire them."""
    kills: int
    outages: int


class Clock:
    """The one simulated time, as a scheduler reads it that is `skew` seconds wrong."""

    def __init__(self, world: World, skew: float) -> None:
        self._world, self._skew = world, skew

    def now(self) -> float:
        return self._world.now + self._skew

    def monotonic(self) -> float:
        return self._world.now

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here: the world calls")


class Scheduler:
    """One process: when it lives it schedules about once a minute, sooner when the server was away."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.born()

    def born(self) -> None:
        world = self._world
        skew = world.chance.uniform(-SKEW, SKEW)
        self.clock = Clock(world, skew)
        self.alive, self.pause = True, 0.1
        self._upkeep = Upkeep(
            world.flaky,
            Pool(id=new_id(), handlers=()),
            ServerTime(self.clock),
            look=lambda: pytest.fail("no beats here"),
            obey=lambda _: None,
            move_to=lambda _: None,
            periodic=world.periodic,
        )

    async def schedule(self) -> float:
        """Once; answers in how many seconds it does so again."""
        world, now = self._world, self.clock.now()
        try:
            await self._upkeep.schedule()
        except BackendUnavailable as away:
            if isinstance(away, EnqueueOutcomeUnknown) and world.chance.random() < 0.5:
                world.bury(self)
            pause, self.pause = self.pause, min(PERIOD, self.pause * 2)
            return world.chance.uniform(0.0, pause)
        self.pause = 0.1
        for entry in world.entries:
            first = int(now) // entry.period * entry.period + entry.period
            world.promised.update((entry.name, tick) for tick in range(first, math.ceil(now + HORIZON), entry.period))
        return PERIOD * world.chance.uniform(0.9, 1.0)


class World:
    """Time, chance, a server that is away now and then, and who lives."""

    def __init__(self, backend: Backend, entries: list[Entry], seed: str) -> None:
        self.now, self.chance, self.entries = START, random.Random(seed), entries
        self.periodic = [Periodic(cron.parse(entry.spec), entry.name, None, "default") for entry in entries]
        self.away = False
        self.flaky = FlakyBackend(backend)
        self.flaky.plan["push"] = self._faults()
        self.fired: Counter[str] = Counter()
        self.promised: set[tuple[str, int]] = set()
        """Ticks that were pushed, and the push was answered."""
        self.served: list[tuple[float, float]] = []
        """From when until when one scheduler lived and had the server."""
        self.kills = self.outages = 0
        self._since: dict[int, float] = {}
        self._backend, self._pool = backend, Pool(id=new_id(), handlers=tuple(entry.name for entry in entries))
        self._events: list[tuple[float, int, str, Any]] = []
        self._order = itertools.count()
        self.schedulers = [Scheduler(self) for _ in range(SCHEDULERS)]

    def _faults(self) -> Iterator[Fault | None]:
        while True:
            if self.away:
                yield Fault.ERROR
            else:
                yield Fault.EXECUTE_THEN_ERROR if self.chance.random() < LOST_ANSWERS else None

    async def last(self, seconds: float) -> Verdict:
        """Let so much time pass; answers what became of the ticks of that time."""
        await self._backend.enlist(self._pool, self.now)
        for scheduler in self.schedulers:
            self._since[id(scheduler)] = self.now
            self._later(self.chance.uniform(0.0, PERIOD), "schedule", scheduler)
            self._later(self.chance.expovariate(1 / 400), "die", scheduler)
        self._later(self.chance.expovariate(1 / 600), "leave", None)
        self._later(LOOK, "run", None)
        end = START + seconds
        while self._events[0][0] <= end + 2 * SKEW:
            self.now, _, what, scheduler = heapq.heappop(self._events)
            await self._happen(what, scheduler)
        self._note_served()
        return self._judge(end)

    async def _happen(self, what: str, scheduler: Scheduler) -> None:
        match what:
            case "schedule" if scheduler.alive:
                self._later(await scheduler.schedule(), "schedule", scheduler)
            case "die" if scheduler.alive:
                self.bury(scheduler)
            case "rise":
                scheduler.born()
                self._since[id(scheduler)] = self.now
                self._later(0.0, "schedule", scheduler)
                self._later(self.chance.expovariate(1 / 400), "die", scheduler)
            case "leave":
                self._note_served()
                self.away, self.outages = True, self.outages + 1
                self._later(self.chance.uniform(2.0, 90.0), "return", None)
            case "return":
                self.away = False
                self._since = {id(one): self.now for one in self.schedulers if one.alive}
                self._later(self.chance.expovariate(1 / 600), "leave", None)
            case "run":
                await self._run()
                self._later(LOOK, "run", None)

    def bury(self, scheduler: Scheduler) -> None:
        """It dies; another one takes its place after a while."""
        if not self.away:
            self.served.append((self._since.pop(id(scheduler)), self.now))
        scheduler.alive, self.kills = False, self.kills + 1
        self._later(self.chance.uniform(0.0, 600.0), "rise", scheduler)

    def _note_served(self) -> None:
        self.served += [(since, self.now) for since in self._since.values()]
        self._since = {}

    def _later(self, seconds: float, what: str, scheduler: Scheduler | None) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), what, scheduler))

    async def _run(self) -> None:
        """Whoever lives queues what is due by its clock; all of it is run."""
        for scheduler in self.schedulers:
            while scheduler.alive and not self.away and await self._backend.promote(scheduler.clock.now(), 1000):
                pass
        want = Want(self._pool.id, 1000, 0.0, tuple(Share(name, 1000) for name in self._pool.handlers))
        while lent := await self._backend.fetch(want, self.now):
            self.fired.update(delivery.job.id for delivery in lent)
            assert all(await self._backend.settle([Settlement(one, Done()) for one in lent], self.now))

    def _judge(self, end: float) -> Verdict:
        settled = end - HORIZON  # what was promised until then has had the time to run
        ticks = {
            f"periodic:{entry.name}:{entry.spec}:{tick}": (entry.name, tick)
            for entry in self.entries
            for tick in range(int(START + HORIZON) // entry.period * entry.period, int(settled), entry.period)
        }
        unfired = [tick for id_, tick in ticks.items() if id_ not in self.fired]
        missed = [tick for tick in unfired if tick in self.promised or self._was_served(tick[1])]
        strange = [id_ for id_ in self.fired if not id_.startswith("periodic:")]
        assert not strange
        return Verdict(
            ticks=len(ticks),
            fired=len(ticks) - len(unfired),
            twice=sum(times - 1 for times in self.fired.values()),
            missed=len(missed),
            unserved=len(unfired) - len(missed),
            kills=self.kills,
            outages=self.outages,
        )

    def _was_served(self, tick: int) -> bool:
        """Whether a scheduler had the server for a whole period, within the horizon by whatever clock."""
        earliest, latest = tick - HORIZON + SKEW, tick - SKEW
        return any(min(latest, until) - max(earliest, since) > PERIOD + 2.0 for since, until in self.served)


async def _seeds(backend: Backend, entries: list[Entry], seconds: float, seeds: int) -> Verdict:
    """The same with one seed after the other; the sum of all."""
    total = Verdict(*[0] * len(Verdict._fields))
    for number in range(seeds):
        await backend.erase()
        seed = f"{SEED}-{number}"
        found = await World(backend, entries, seed).last(seconds)
        assert (found.twice, found.missed) == (0, 0), f"seed {seed}: {found}"
        assert found.fired > 0
        total = Verdict(*(one + other for one, other in zip(total, found, strict=True)))
        await asyncio.sleep(0)
    return total


async def test_d5_every_tick_of_three_a_second_fires_once(certify: Certify) -> None:
    seconds, seeds = 20 * MINUTE, sized(12, 1) if FULL else 1
    found = await _seeds(MemoryBackend("memory://"), EVERY_SECOND, seconds, seeds)
    certify("D5-seconds", backend="`memory://`", seeds=seeds, simulated_minutes=round(seeds * 20), **found._asdict())


async def test_d5_every_tick_of_ten_days_fires_once(certify: Certify) -> None:
    days, seeds = (10, 2) if FULL else (1, 1)
    found = await _seeds(MemoryBackend("memory://"), SELDOM, days * DAY, seeds)
    assert found.unserved > 0 or not FULL, "nobody was ever away for long: that is too easy"
    certify("D5-days", backend="`memory://`", seeds=seeds, simulated_days=days * seeds, **found._asdict())


@on("redis")
async def test_d5_every_tick_fires_once_on_a_server(theatre: Theatre, certify: Certify) -> None:
    seconds, seeds = 40 * MINUTE, sized(8, 1) if FULL else 1
    backend = connect(theatre.url, namespace=NAMESPACE)
    try:
        found = await _seeds(backend, SOMETIMES, seconds, seeds)
    finally:
        await backend.close()
    certify("D5", seeds=seeds, simulated_minutes=round(seeds * 40), **found._asdict())
