"""D4: everything falls due at once, and those who queue it are killed: each job is queued once, and soon."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.scale import FULL, sized, timeout
from chaos.theatre import EVERYWHERE, Theatre, backend, on, quiet
from worksong import Job
from worksong.domain.capability import Capability
from worksong.domain.job import JobView, new_id
from worksong.domain.lifecycle import State
from worksong.ports.backend import Backend, Window

JOBS = sized(100_000) if FULL else 1000
RATE = 5000 if FULL else 500
"""Jobs that fall due in a second."""
BETWEEN = 5.0 if FULL else 0.5
"""Seconds between two kills."""
SCHEDULERS = 4 if FULL else 2
LATE, SCRIPT = 2.0, 5000
"""Seconds that 99 of 100 jobs may be late at most; microseconds that a script may take."""
RUN_ALL = 300.0
"""Seconds that a machine which is busy may take for all of them."""
SETTLE = 1.0 if FULL else 0.3
LOOK = 0.02
"""Seconds between two looks at how many are queued: lateness is not known better."""

pytestmark = pytest.mark.timeout(timeout(400))


class Look(NamedTuple):
    """How many jobs were queued by then."""

    at: float
    queued: int


@on(*EVERYWHERE, small=("redis", "sqlite", "postgres"))
async def test_d4_each_due_job_is_queued_once_and_runs_once_though_schedulers_die(
    theatre: Theatre, fleet: Fleet, certify: Certify
) -> None:
    # Given workers that only schedule, since the queue is paused, and jobs that fall due within seconds
    await fleet.start(SCHEDULERS)
    async with backend(theatre) as store:
        queue = "default" if Capability.QUEUES in store.capabilities else "work"
        await store.pause(queue)
        first = math.ceil(time.time() + JOBS / 10_000 + 0.5)
        due = {new_id(): first + number // RATE for number in range(JOBS)}
        jobs = [replace(Job("work"), id=id_, enqueued_at=time.time(), run_at=at) for id_, at in due.items()]
        for start in range(0, JOBS, 1000):
            await store.push(jobs[start : start + 1000], time.time())
        in_time = time.time() < first
        if FULL:
            assert in_time, "the machine is too slow to enqueue them before they fall due: lateness says nothing"

        # When one scheduler after the other is killed, and another one started
        await theatre.measure()
        looking = asyncio.create_task(_watch(store, JOBS))
        await asyncio.sleep(max(0.0, first - time.time()))
        while not looking.done():
            await fleet.kill(fleet.any())
            if FULL:
                await fleet.launch()
            else:
                await fleet.start()  # at work before the next one is killed, however slow the machine is
            await asyncio.wait([looking], timeout=BETWEEN)
        looks = await looking
        await asyncio.sleep(SETTLE)  # whoever wanted to queue one twice had the time
        figures = await theatre.measured()

        # Then each is queued, none twice, none before its time
        queued = await _queued(store)
        twice = [id_ for id_, times in Counter(view.id for view in queued).items() if times > 1]
        assert ({view.id for view in queued}, twice) == (set(due), [])
        assert (await store.counts())[State.SCHEDULED] == 0
        assert [view.id for view in queued if view.job.enqueued_at < due[view.id]] == []
        # And in time
        lateness = sorted(_lateness([view.id for view in queued], due, looks))
        p99 = lateness[int(len(lateness) * 0.99)]
        if FULL and "script_p99_us" in figures:  # a server that promises how soon
            assert p99 <= LATE
            assert figures["script_p99_us"] <= SCRIPT

        # And when the queue goes on, each runs once
        kills = len(fleet.strokes)
        await store.resume(queue)
    await quiet(theatre, RUN_ALL)
    await fleet.stop_all()
    runs = fleet.ledger.count("F")
    evictions = fleet.ledger.evictions()
    assert set(runs) == set(due)
    assert evictions or set(runs.values()) == {1}
    certify(
        "D4",
        jobs=JOBS,
        due_in_a_second=RATE,
        kills=kills,
        lost=0,
        duplicates=len(twice),
        lateness_p50=lateness[len(lateness) // 2],
        lateness_p99=p99,
        lateness_max=lateness[-1],
        **figures,
    )


async def _watch(store: Backend, count: int, within: float = RUN_ALL) -> list[Look]:
    """Look again and again until so many are queued."""
    deadline = time.monotonic() + within
    looks: list[Look] = []
    while time.monotonic() < deadline:
        queued = (await store.counts())[State.QUEUED]
        looks.append(Look(time.time(), queued))
        if queued >= count:
            return looks
        await asyncio.sleep(LOOK)
    raise AssertionError(f"{looks[-1].queued} of {count} jobs were queued within {within:.0f} s")


async def _queued(store: Backend) -> list[JobView]:
    """All that wait, in the order in which they are lent."""
    found: list[JobView] = []
    while page := (await store.jobs(State.QUEUED, Window(limit=1000, offset=len(found)))).jobs:
        found += page
    return found


def _lateness(queued: list[str], due: dict[str, int], looks: list[Look]) -> list[float]:
    """Seconds from each job's time to the first look that saw it queued."""
    found: list[float] = []
    seen = iter(looks)
    look = next(seen)
    for number, id_ in enumerate(queued):
        while look.queued <= number:
            look = next(seen)
        found.append(max(0.0, look.at - due[id_]))
    return found
