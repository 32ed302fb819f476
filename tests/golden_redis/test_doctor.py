"""The doctor of a gocraft/work namespace on a real Redis: every fault planted, found, and mended where that is safe."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest

from golden_redis.stored import Stored
from worksong.adapters.gocraft import GocraftBackend
from worksong.adapters.gocraft.doctor import GocraftDoctor
from worksong.adapters.gocraft.mover import Mover
from worksong.adapters.gocraft.reaper import Reaper
from worksong.adapters.gocraft.space import Space
from worksong.adapters.gocraft.views import Views
from worksong.adapters.redis.address import parse
from worksong.adapters.redis.client import Redis
from worksong.adapters.redis.orphans import SWEEP
from worksong.domain.capability import Capability
from worksong.domain.finding import Finding, Severity
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.turns import Share
from worksong.ports.backend import Beat, Pool, Running, Want
from worksong.wire.gocraft_keys import Keys


class Practice(NamedTuple):
    """A doctor whose waits are noted instead of waited for."""

    doctor: GocraftDoctor
    backend: GocraftBackend
    slept: list[float]
    meanwhile: list[Callable[[], Awaitable[object]]]
    """What happens during the next waits."""

    async def all(self, now: float | None = None) -> list[Finding]:
        return await self.doctor.examine(self.backend, frozenset(Capability), time.time() if now is None else now)

    async def found(self, finding_id: str, now: float | None = None) -> Finding | None:
        return next((finding for finding in await self.all(now) if finding.id == finding_id), None)

    async def fix(self, finding_id: str) -> str:
        return await self.doctor.fix(finding_id, time.time())


@pytest.fixture
async def practice(stored: Stored, backend: GocraftBackend) -> AsyncIterator[Practice]:
    redis = Redis(parse(stored.url))
    space = Space(redis, Keys("work"))
    slept: list[float] = []
    meanwhile: list[Callable[[], Awaitable[object]]] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if meanwhile:
            await meanwhile.pop(0)()

    doctor = GocraftDoctor(space, Views(space, Mover(space)), Reaper(space, "doctor"), sleep=sleep)
    yield Practice(doctor, backend, slept, meanwhile)
    await redis.close()


async def a_pool(backend: GocraftBackend, *names: str, limit: int = 0) -> Pool:
    pool = Pool(
        id=new_id(), handlers=names, worker_ids=(new_id(),), limits=dict.fromkeys(names, limit) if limit else {}
    )
    await backend.enlist(pool, time.time())
    return pool


async def lend(backend: GocraftBackend, pool: Pool, *jobs: Job) -> list[str]:
    """Enqueue and lend; answers the ids."""
    await backend.push(jobs, time.time())
    shares = tuple(Share(name, 10) for name in pool.handlers)
    return [lent.job.id for lent in await backend.fetch(Want(pool.id, len(jobs), 0.0, shares), time.time())]


def a_job(name: str = "send", **more: object) -> Job:
    return Job(name, {"n": 1}, id=new_id(), enqueued_at=time.time(), **more)  # type: ignore[arg-type]


async def test_a_healthy_namespace_passes_every_check_of_its_own(practice: Practice) -> None:
    pool = await a_pool(practice.backend, "send", limit=2)
    await lend(practice.backend, pool, a_job(), a_job(unique="until_done"))
    await practice.backend.push([a_job(unique=True), a_job(run_at=time.time() + 600)], time.time())

    ill = [f.id for f in await practice.all() if f.severity is not Severity.OK and not f.id.startswith("redis.")]

    assert ill == []
    assert practice.slept == []


# keys of a wrong type


WRONG = {
    "work:known_jobs": ("SET", "x"),
    "work:retry": ("SET", "x"),
    "work:scheduled": ("RPUSH", "x"),
    "work:dead": ("SADD", "x"),
    "work:worker_pools": ("SET", "x"),
    "work:jobs:send": ("SET", "x"),
    "work:jobs:send:lock": ("RPUSH", "x"),
    "work:jobs:send:lock_info": ("SET", "x"),
    "work:jobs:send:paused": ("RPUSH", "x"),
    "work:jobs:send:max_concurrency": ("SADD", "x"),
    "work:worksong:cancelled": ("SET", "x"),
    "work:worksong:recovered": ("SET", "x"),
    "work:worksong:pools": ("SET", "x"),
    "work:worksong:fence": ("RPUSH", "x"),
}


@pytest.mark.parametrize("key", WRONG)
async def test_a_key_of_a_wrong_type_is_named_and_stops_no_other_check(
    practice: Practice, stored: Stored, key: str
) -> None:
    stored.call("SADD", "work:known_jobs", "send")
    stored.call("DEL", key)
    command, value = WRONG[key]
    stored.call(command, key, value)

    finding = await practice.found("redis.keys.type")

    assert finding
    assert f"{key} holds a " in finding.detail
    ids = {finding.id for finding in await practice.all()}
    assert {"redis.role", "pools.clocks"} <= ids


async def test_the_heartbeat_of_a_pool_and_its_list_are_looked_at(practice: Practice, stored: Stored) -> None:
    pool = await a_pool(practice.backend, "send")
    stored.call("SET", f"work:jobs:send:{pool.id}:inprogress", "x")
    stored.call("DEL", f"work:worker:{pool.worker_ids[0]}")
    stored.call("SET", f"work:worker:{pool.worker_ids[0]}", "x")

    finding = await practice.found("redis.keys.type")

    assert finding
    assert f"work:jobs:send:{pool.id}:inprogress holds a string where a list belongs" in finding.detail
    assert f"work:worker:{pool.worker_ids[0]} holds a string where a hash belongs" in finding.detail


# locks


async def test_a_wrong_lock_is_found_at_two_looks_and_mended(practice: Practice, stored: Stored) -> None:
    # Given a lock that a dead process left behind
    pool = await a_pool(practice.backend, "send", limit=2)
    await lend(practice.backend, pool, a_job())
    stored.call("SET", "work:jobs:send:lock", 7)
    stored.call("HSET", "work:jobs:send:lock_info", "gone", 6)
    # When the doctor looks
    finding = await practice.found("locks.wrong")
    # Then it looked twice, and mends what was wrong
    assert finding
    assert finding.fixable
    assert practice.slept == [1.0]
    assert "send" in await practice.fix("locks.wrong")
    assert stored.call("GET", "work:jobs:send:lock") == b"1"
    assert stored.call("HGETALL", "work:jobs:send:lock_info") == [pool.id.encode(), b"1"]
    assert await practice.found("locks.wrong") is None
    assert "right by now" in await practice.fix("locks.wrong")


async def test_a_lock_that_is_right_at_the_second_look_is_left_alone(practice: Practice, stored: Stored) -> None:
    await a_pool(practice.backend, "send")
    stored.call("SET", "work:jobs:send:lock", 1)

    async def put_right() -> None:
        stored.call("DEL", "work:jobs:send:lock")

    practice.meanwhile.append(put_right)

    assert await practice.found("locks.wrong") is None
    assert practice.slept == [1.0]


# jobs that belong to nobody


def orphan(stored: Stored, pool: str, job_id: str) -> None:
    raw = json.dumps({"name": "send", "id": job_id, "t": 1, "args": {}})
    stored.call("SADD", "work:known_jobs", "send")
    stored.call("LPUSH", f"work:jobs:send:{pool}:inprogress", raw)


async def test_jobs_of_an_unregistered_pool_are_found_and_queued_after_a_minute(
    practice: Practice, stored: Stored
) -> None:
    orphan(stored, "gone", "a")

    finding = await practice.found("jobs.orphaned")
    done = await practice.fix("jobs.orphaned")

    assert finding
    assert "1 jobs of pools gone" in finding.detail
    assert SWEEP in practice.slept
    assert done == "1 jobs queued again, 0 buried"
    assert stored.call("LLEN", "work:jobs:send") == 1
    assert await practice.found("jobs.orphaned") is None


async def test_a_pool_that_registers_within_the_minute_keeps_its_jobs(practice: Practice, stored: Stored) -> None:
    orphan(stored, "late", "a")

    async def register() -> None:
        stored.call("SADD", "work:worker_pools", "late")

    practice.meanwhile.append(register)

    assert await practice.fix("jobs.orphaned") == "0 jobs queued again, 0 buried"
    assert stored.call("LLEN", "work:jobs:send:late:inprogress") == 1


async def test_the_lists_of_our_own_pools_need_no_minute(practice: Practice, stored: Stored) -> None:
    orphan(stored, "ours", "a")
    stored.call("ZADD", "work:worksong:pools", 1, "ours")

    assert await practice.fix("jobs.orphaned") == "1 jobs queued again, 0 buried"
    assert practice.slept == []


async def test_a_silent_pool_of_ours_is_struck_off_and_its_jobs_run_again(practice: Practice, stored: Stored) -> None:
    pool = await a_pool(practice.backend, "send")
    (job_id,) = await lend(practice.backend, pool, a_job())
    stored.call("HSET", f"work:worker_pools:{pool.id}", "heartbeat_at", int(time.time()) - 90)

    finding = await practice.found("pools.silent")
    done = await practice.fix("pools.silent")

    assert finding
    assert pool.id in finding.detail
    assert done == f"struck off {pool.id}: 1 jobs queued again, 0 buried"
    view = await practice.backend.job(job_id)
    assert view
    assert view.state is State.QUEUED
    assert await practice.backend.pools() == []


async def test_a_silent_pool_of_gos_is_left_to_those_who_watch_it(practice: Practice, stored: Stored) -> None:
    stored.call("SADD", "work:worker_pools", "go")
    stored.call("HSET", "work:worker_pools:go", "heartbeat_at", int(time.time()) - 90)

    assert await practice.found("pools.silent")
    assert "1 of Go's are left" in await practice.fix("pools.silent")
    assert stored.call("SISMEMBER", "work:worker_pools", "go") == 1


async def test_a_pool_that_beats_is_not_silent(practice: Practice) -> None:
    await a_pool(practice.backend, "send")

    assert await practice.found("pools.silent") is None
    assert "no pool was struck off" in await practice.fix("pools.silent")
    assert len(await practice.backend.pools()) == 1


async def test_a_beat_from_the_future_is_found(practice: Practice, stored: Stored) -> None:
    stored.call("SADD", "work:worker_pools", "go")
    stored.call("HSET", "work:worker_pools:go", "heartbeat_at", int(time.time()) + 60, "host", "barge")

    finding = await practice.found("pools.clock")

    assert finding
    assert finding.detail.startswith("barge by ")


# unique locks


async def test_a_lock_without_a_job_is_found_and_let_go(practice: Practice, stored: Stored) -> None:
    stored.call("SET", 'work:unique:send:{"n":1}\n', "1", "EX", 86400)
    assert await practice.backend.push([a_job(unique=True)], time.time()) == [False]

    finding = await practice.found("unique.stuck")
    done = await practice.fix("unique.stuck")

    assert finding
    assert 'work:unique:send:{"n":1}' in finding.detail
    assert "let go of" in done
    assert await practice.backend.push([a_job(unique=True)], time.time()) == [True]
    assert await practice.found("unique.stuck") is None
    assert "no lock" in await practice.fix("unique.stuck")


@pytest.mark.parametrize("where", ["queued", "scheduled", "running"])
async def test_a_lock_whose_job_is_there_stays(practice: Practice, stored: Stored, where: str) -> None:
    job = a_job(unique="until_done", run_at=time.time() + 600 if where == "scheduled" else 0.0)
    if where == "running":
        await lend(practice.backend, await a_pool(practice.backend, "send"), job)
    else:
        await practice.backend.push([job], time.time())

    assert await practice.found("unique.stuck") is None
    assert "no lock" in await practice.fix("unique.stuck")
    assert stored.call("EXISTS", 'work:unique:send:{"n":1}\n') == 1


async def test_the_lock_of_a_job_of_release_0_5_1_stays(practice: Practice, stored: Stored) -> None:
    # Given a lock that only the arguments of its job name
    stored.call("SET", 'work:unique:send:{"n":1}\n', "1")
    stored.call("SADD", "work:known_jobs", "send")
    stored.call("LPUSH", "work:jobs:send", '{"name":"send","id":"a","t":1,"args":{"n":1},"unique":true}')

    assert await practice.found("unique.stuck") is None
    assert "no lock" in await practice.fix("unique.stuck")
    assert stored.call("EXISTS", 'work:unique:send:{"n":1}\n') == 1


async def test_a_lock_whose_job_turns_up_between_two_looks_stays(practice: Practice, stored: Stored) -> None:
    stored.call("SET", 'work:unique:send:{"n":1}\n', "1")
    raw = {
        "name": "send",
        "id": "a",
        "t": 1,
        "args": {"n": 1},
        "unique": True,
        "unique_key": 'work:unique:send:{"n":1}\n',
    }

    async def turn_up() -> None:
        stored.call("ZADD", "work:retry", 1, json.dumps(raw))

    practice.meanwhile.append(turn_up)

    assert "no lock" in await practice.fix("unique.stuck")


async def test_with_too_many_jobs_to_read_no_lock_is_judged(
    practice: Practice, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worksong.adapters.gocraft.doctor import ward

    monkeypatch.setattr(ward, "READ_MOST", 2)
    stored.call("SET", "work:unique:send:", "1")
    await practice.backend.push([a_job(), a_job(), a_job()], time.time())

    assert await practice.found("unique.unchecked")
    assert "no lock" in await practice.fix("unique.stuck")
    assert stored.call("EXISTS", "work:unique:send:") == 1


# jobs


async def test_documents_that_cannot_be_read_are_counted_where_they_are(practice: Practice, stored: Stored) -> None:
    stored.call("SADD", "work:known_jobs", "send")
    stored.call("RPUSH", "work:jobs:send", "{", "[1]")
    stored.call("ZADD", "work:scheduled", time.time() + 60, "nonsense")

    finding = await practice.found("jobs.unreadable")

    assert finding
    assert finding.detail == "in send (2), scheduled (1)"


async def test_limits_of_types_that_nobody_knows_are_found_while_somebody_works(
    practice: Practice, stored: Stored
) -> None:
    stored.call("SET", "work:jobs:former:max_concurrency", 3)
    assert await practice.found("limits.leftover") is None

    await a_pool(practice.backend, "send", limit=1)

    finding = await practice.found("limits.leftover")
    assert finding
    assert finding.detail == "work:jobs:former:max_concurrency"


async def test_a_type_that_only_a_silent_pool_knows_is_unserved(practice: Practice, stored: Stored) -> None:
    pool = await a_pool(practice.backend, "send")
    await practice.backend.push([a_job()], time.time())
    assert await practice.found("jobs.unserved") is None

    stored.call("HSET", f"work:worker_pools:{pool.id}", "heartbeat_at", int(time.time()) - 90)

    finding = await practice.found("jobs.unserved")
    assert finding
    assert finding.detail == "no worker lives; waiting are send"


async def test_the_clock_of_this_host_is_compared(practice: Practice) -> None:
    finding = await practice.found("redis.clock", now=time.time() - 3600)

    assert finding
    assert "ahead" in finding.detail
    assert await practice.found("redis.clock") is None


async def test_the_worker_of_a_running_job_is_told(practice: Practice) -> None:
    pool = await a_pool(practice.backend, "send")
    await practice.backend.push([a_job()], time.time())
    (delivery,) = await practice.backend.fetch(Want(pool.id, 1, 0.0, (Share("send", 1),)), time.time())
    await practice.backend.beat(Beat(pool, (Running(delivery, 0, time.time()),), (delivery,)), time.time())

    trace = await practice.backend.trace(delivery.job.id)

    assert (trace.pool, [busy.worker_id for busy in await practice.backend.busy()]) == (pool.id, [*pool.worker_ids])
