"""D4: everything falls due at once, and those who queue it are killed: each job is queued once, and soon."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from typing import NamedTuple

import pytest
import redis
from msgspec.structs import replace

from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.scale import FULL, sized, timeout
from chaos.theatre import NAMESPACE, Theatre, backend
from worksong import Job
from worksong.domain.job import new_id
from worksong.wire.gocraft_keys import Keys

JOBS = sized(100_000) if FULL else 5000
RATE = 5000 if FULL else 2500
"""Jobs that fall due in a second."""
BETWEEN = 5.0 if FULL else 0.7
"""Seconds between two kills."""
SCHEDULERS = 4 if FULL else 3
LATE, SCRIPT = 2.0, 5000
"""Seconds that 99 of 100 jobs may be late at most; microseconds that a script may take."""
LOOK = 0.02
"""Seconds between two looks at how many are queued: lateness is not known better."""

pytestmark = pytest.mark.timeout(timeout(200))


class Look(NamedTuple):
    """How many jobs were queued by then."""

    at: float
    queued: int


@pytest.mark.parametrize("theatre", ["redis"], indirect=True)
async def test_d4_each_due_job_is_queued_once_though_schedulers_die(
    theatre: Theatre, fleet: Fleet, certify: Certify
) -> None:
    # Given workers that only schedule, since the queue is paused, and jobs that fall due within seconds
    await fleet.start(SCHEDULERS)
    async with backend(theatre) as store:
        await store.pause("work")
        first = math.ceil(time.time() + JOBS / 10_000 + 0.5)
        due = {new_id(): first + number // RATE for number in range(JOBS)}
        jobs = [replace(Job("work"), id=id_, enqueued_at=time.time(), run_at=at) for id_, at in due.items()]
        for start in range(0, JOBS, 1000):
            await store.push(jobs[start : start + 1000], time.time())
    assert time.time() < first, "the machine is too slow to enqueue them before they fall due"

    # When one scheduler after the other is killed, and another one started
    with redis.Redis.from_url(theatre.url.partition("?")[0]) as client:
        client.config_set("slowlog-log-slower-than", SCRIPT)
        client.config_set("slowlog-max-len", 10_000)
        client.config_resetstat()
        looking = asyncio.create_task(asyncio.to_thread(_watch, client, JOBS))
        await asyncio.sleep(max(0.0, first - time.time()))
        while not looking.done():
            await fleet.kill(fleet.any())
            await fleet.launch()
            await asyncio.wait([looking], timeout=BETWEEN)
        looks = await looking
        await asyncio.sleep(1.0)  # whoever wanted to queue one twice had the time

        # Then each is queued, and none twice
        queue = client.lrange(Keys(NAMESPACE).jobs("work"), 0, -1)[::-1]
        scripts = client.info("latencystats").get("latency_percentiles_usec_evalsha", {})
        slow = [entry for entry in client.slowlog_get(10_000) if entry["command"].startswith(b"EVALSHA")]
        left = client.zcard(Keys(NAMESPACE).scheduled)
    queued = [json.loads(raw)["id"] for raw in queue]
    twice = [id_ for id_, times in Counter(queued).items() if times > 1]
    assert (set(queued), twice, left) == (set(due), [], 0)
    # And in time
    lateness = sorted(_lateness(queued, due, looks))
    p99 = lateness[int(len(lateness) * 0.99)]
    early = [raw for raw in queue if json.loads(raw)["t"] < due[json.loads(raw)["id"]]]
    assert not early
    if FULL:
        assert p99 <= LATE
        assert scripts["p99"] <= SCRIPT
    certify(
        "D4",
        jobs=JOBS,
        due_in_a_second=RATE,
        kills=len(fleet.strokes),
        lost=0,
        duplicates=len(twice),
        lateness_p50=lateness[len(lateness) // 2],
        lateness_p99=p99,
        lateness_max=lateness[-1],
        script_p99_us=round(scripts["p99"]),
        scripts_over_5_ms=len(slow),
        slowest_script_us=max((entry["duration"] for entry in slow), default=0),
    )


def _watch(client: redis.Redis, count: int, within: float = 90.0) -> list[Look]:
    """Look again and again until so many are queued."""
    key, deadline = Keys(NAMESPACE).jobs("work"), time.monotonic() + within
    looks: list[Look] = []
    while time.monotonic() < deadline:
        queued = client.llen(key)
        looks.append(Look(time.time(), queued))
        if queued >= count:
            return looks
        time.sleep(LOOK)
    raise AssertionError(f"{looks[-1].queued} of {count} jobs were queued within {within:.0f} s")


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
