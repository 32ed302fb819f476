"""Faults that were found once, each by the story that showed it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from golden_redis.conftest import Open
from golden_redis.steps import a_job, a_pool, fetch, good, ids, join, lend, listed, push, settle
from golden_redis.stored import Stored, T
from worksong.adapters import connect
from worksong.adapters.gocraft import GocraftBackend
from worksong.adapters.redis.client import NotSent
from worksong.domain.errors import (
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    EnqueueOutcomeUnknown,
    InvalidArguments,
)
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Released, Settlement
from worksong.ports.backend import Beat, Running
from worksong.ports.cargo import Load

MANY_KEYS = {f"k{n}": 1 for n in range(10_030)}
"""More than can be written as arguments, few enough for a document to be read."""


@pytest.mark.parametrize("ending", ["paused", "lock", "lock_info", "max_concurrency", "inprogress"])
async def test_no_job_type_is_named_like_the_key_of_another(
    backend: GocraftBackend, stored: Stored, ending: str
) -> None:
    name = f"send:{ending}"
    with pytest.raises(InvalidArguments, match="choose a name"):
        await push(backend, a_job(name))
    with pytest.raises(ConfigError, match="choose a name"):
        await backend.enlist(a_pool("send", name), T)
    assert stored.dump() == {}


async def test_a_queue_of_a_wrong_type_fails_only_the_push_into_it(backend: GocraftBackend, stored: Stored) -> None:
    # Given pushes that leave together, one into a queue that is none
    stored.call("SET", "work:jobs:x", "no list")
    answers = await asyncio.gather(*(push(backend, a_job(name)) for name in "axb"), return_exceptions=True)
    # Then only that one fails
    assert [answers[0], answers[2]] == [[True], [True]]
    assert isinstance(answers[1], BackendRefused)
    assert [len(stored.entries(f"work:jobs:{name}")) for name in "ab"] == [1, 1]


async def test_many_guarded_jobs_are_taken_in_with_few_waits(backend: GocraftBackend, stored: Stored) -> None:
    # Given unique jobs, every second one equal to the one before it
    jobs = [a_job(args={"n": number // 2}, unique=True) for number in range(100)]
    before = received(stored)
    assert await push(backend, *jobs) == [True, False] * 50
    # Then they came in one after the other, but did not wait for each other's answers
    pool = await join(backend)
    assert ids(await fetch(backend, pool, 100)) == [job.id for job in jobs[::2]]
    assert before["reads"] + 40 > received(stored)["reads"]


def received(stored: Stored) -> dict[str, int]:
    """How often the server read something from a client."""
    return {"reads": stored.redis.info("stats")["total_reads_processed"]}


async def test_no_fetch_lends_and_no_push_or_ending_carries_more_bytes_than_one_command_should(
    backend: GocraftBackend, stored: Stored
) -> None:
    # Given forty megabytes of jobs, and one that is too large
    jobs = [a_job(args={"data": "x" * 1_000_000}) for _ in range(40)]
    assert await push(backend, *jobs) == [True] * 40
    stored.call("RPUSH", "work:jobs:a", b" " * (1 << 21))
    # When all are wanted at once, then few are lent at a time, in order, and the large one is buried
    pool = await join(backend)
    found: list[Delivery] = []
    while more := await fetch(backend, pool, 100):
        assert len(more) <= 9
        found += more
    assert ids(found) == [job.id for job in jobs]
    assert [view.reason for view in await listed(backend, State.DEAD)] == ["too_large"]
    # And when all end at once, then they do
    batch = [Settlement(delivery, Buried("boom")) for delivery in found]
    assert await backend.settle(batch, T) == [True] * 40
    assert stored.balanced("a")


async def test_equal_documents_lent_together_end_each_for_itself(backend: GocraftBackend, stored: Stored) -> None:
    pool = await join(backend)
    stored.call("LPUSH", "work:jobs:a", *good(1) * 2)
    first, second = await fetch(backend, pool, 2)
    assert await settle(backend, first)
    assert not await settle(backend, first)
    assert await settle(backend, second, Released())
    (again,) = await fetch(backend, pool)
    assert not await settle(backend, second)
    assert await settle(backend, again)


@pytest.mark.parametrize("cancelled", ["before it was buried", "by whom a Go pool did not hear"])
async def test_a_requeued_dead_job_is_no_longer_cancelled(
    backend: GocraftBackend, stored: Stored, cancelled: str
) -> None:
    pool, (delivery,) = await lend(backend, a_job())
    assert await backend.cancel(delivery.job.id, T)
    await settle(backend, delivery, Buried("cancelled"))
    assert not stored.call("EXISTS", "work:worksong:cancelled")
    if cancelled != "before it was buried":
        stored.call("ZADD", "work:worksong:cancelled", T, delivery.job.id)
    assert await backend.requeue(State.DEAD, None, T) == 1
    (again,) = await fetch(backend, pool)
    assert await settle(backend, again, Released())
    assert ids(await fetch(backend, pool)) == [delivery.job.id]


async def test_a_refused_duplicate_shortens_no_lock(backend: GocraftBackend, stored: Stored) -> None:
    week = 7 * 86400
    assert await push(backend, a_job(args={"n": 1}, unique=True, run_at=T + week)) == [True]
    assert await push(backend, a_job(args={"n": 1}, unique=True)) == [False]
    (lock,) = stored.call("KEYS", "work:unique:*")
    assert stored.call("TTL", lock) > week


async def test_arguments_too_many_to_be_written_cost_no_beat(backend: GocraftBackend, stored: Stored) -> None:
    pool = a_pool("a", worker_ids=("w1",))
    await backend.enlist(pool, T)
    stored.call("LPUSH", "work:jobs:a", json.dumps({"name": "a", "id": "big", "t": T, "args": MANY_KEYS}))
    (held,) = await fetch(backend, pool)
    orders = await backend.beat(Beat(pool, (Running(held, 0, float(T)),), (held,)), T)
    assert not orders.evicted
    assert stored.call("HGET", "work:worker:w1", "args") == "…".encode()


async def test_an_old_lock_that_cannot_be_named_costs_no_job(backend: GocraftBackend, stored: Stored) -> None:
    pool = await join(backend)
    big = json.dumps({"name": "a", "id": "big", "t": T, "unique": True, "args": MANY_KEYS})
    stored.call("LPUSH", "work:jobs:a", *good(1), big, *good(2)[1:])
    assert ids(await fetch(backend, pool, 3)) == ["good-0", "big", "good-1"]
    assert await listed(backend, State.DEAD) == []


async def test_one_reaping_gives_back_what_all_dead_pools_held(opened: Open, stored: Stored) -> None:
    backend = opened()
    pools = [await join(backend), await join(backend)]
    await push(backend, a_job(), a_job())
    held = [job.job.id for pool in pools for job in await fetch(backend, pool)]
    stored.call("DEL", "work:known_jobs", *(f"work:worker_pools:{pool.id}" for pool in pools))
    reaped = await opened().reap(T, 0.0, dead=[pool.id for pool in pools])
    assert reaped.recovered == 2
    assert sorted(ids(await fetch(backend, await join(backend), 2))) == sorted(held)


@pytest.mark.parametrize("url", ["secret@host:1", "user:secret@host", "other://user:secret@host", "rediss//:secret@h"])
def test_a_url_of_no_backend_shows_no_secret(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(url, namespace="work")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["memory://user:secret@host", "memory://[secret", "redis://:secret@[host", "x://[secret"]
)
def test_a_malformed_url_is_a_wrong_configuration(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(url, namespace="work")
    assert "secret" not in str(caught.value)


async def test_one_job_too_many_that_cannot_be_carried_leaves_nothing_behind(
    backend: GocraftBackend, stored: Stored
) -> None:
    # Given many good jobs, and a last one with an integer that Go would change
    jobs = [Job("a", {"n": n}, id=f"{n}", enqueued_at=T) for n in range(2500)]
    with pytest.raises(InvalidArguments):
        await backend.push([*jobs, Job("a", {"n": 2**60}, id="last", enqueued_at=T)], T)

    # Then none of them is there
    assert stored.call("EXISTS", "work:jobs:a") == 0


async def test_what_an_unread_answer_may_hold_is_not_given_back(backend: GocraftBackend, stored: Stored) -> None:
    # Given jobs lent to a pool whose loop is blocked before it reads the answer
    pool = await join(backend, "a")
    await push(backend, a_job("a"))
    await fetch(backend, pool)
    # When it beats all the same, with that fetch still open
    for second in (10.0, 20.0, 30.0):
        await backend.beat(Beat(pool, fetch=1, begun=1), T + second)
    # Then the job is where it was lent, and once the fetch is over without it, it comes back
    assert stored.call("LLEN", "work:jobs:a") == 0
    for second in (40.0, 50.0):
        await backend.beat(Beat(pool), T + second)
    assert stored.call("LLEN", "work:jobs:a") == 1


async def test_nor_what_the_unread_answer_of_a_second_fetch_may_hold(backend: GocraftBackend, stored: Stored) -> None:
    # Given jobs lent to a pool with two fetches open, of which the second one has lent them
    pool = await join(backend, "a")
    await push(backend, a_job("a"))
    await fetch(backend, pool)
    await backend.beat(Beat(pool, fetch=2, begun=3), T + 10.0)
    # When the first one is read, and another one begins before the second one has its turn
    await backend.beat(Beat(pool, fetch=3, begun=4), T + 20.0)
    # Then the job is where it was lent, until neither is open any more
    assert stored.call("LLEN", "work:jobs:a") == 0
    await backend.beat(Beat(pool, fetch=5, begun=5), T + 30.0)
    assert stored.call("LLEN", "work:jobs:a") == 1


async def test_silence_while_the_server_is_away_is_no_sign_of_death(
    backend: GocraftBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> object:
        raise BackendUnavailable

    # Given a pool that was seen, then a server that was away while the next look was due
    pool = await join(backend, "a")
    await backend.reap(T, 0.0)
    with monkeypatch.context() as outage:
        outage.setattr(backend._space, "call", away)
        with pytest.raises(BackendUnavailable):
            await backend.reap(T, 10.0)
    # When it is back, then the pool has its fifteen seconds again
    assert (await backend.reap(T, 20.0)).pools == ()
    assert (await backend.reap(T, 36.0)).pools == (pool.id,)


async def test_guarded_jobs_of_which_some_are_there_are_not_told_of_as_refused(
    backend: GocraftBackend, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that goes away when it has taken in two of three jobs with ids of their own
    send, sent = backend._parts.broker._intake.sent, list[object]()

    async def goes_away(*args: Any) -> Any:
        sent.append(args)
        if len(sent) == 3:
            raise NotSent("the server went away")
        return await send(*args)

    monkeypatch.setattr(backend._parts.broker._intake, "sent", goes_away)
    jobs = [a_job(id=f"own-{number}") for number in range(3)]

    # When they are pushed
    with pytest.raises(EnqueueOutcomeUnknown, match="went away") as told:
        await backend.push(jobs, T, once=True)

    # Then nobody says that none is there, and all can be pushed again
    assert told.value.job_ids == ("own-0", "own-1", "own-2")
    assert stored.call("LLEN", "work:jobs:a") == 2
    monkeypatch.undo()
    assert await backend.push(jobs, T, once=True) == [False, False, True]


async def test_a_move_that_finds_its_jobs_taken_looks_again(
    backend: GocraftBackend, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given jobs that workers take just before they would be put aside
    await push(backend, a_job(), a_job())
    space = backend._cargo._space
    run = space.run

    async def late(*given: Any) -> Any:
        assert stored.call("DEL", "work:jobs:a") == 1
        return await run(*given)

    monkeypatch.setattr(space, "run", late)
    # When they are to be moved, then the answer is not that there are no more
    assert await backend.load(State.QUEUED, passed=0, most=10, destination="there", now=T) == Load("", "")
    assert await backend.load(State.QUEUED, passed=0, most=10, destination="there", now=T) is None
