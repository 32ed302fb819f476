"""The connection breaks when the server has done what it was told, and before it could say so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

import servers
from chaos.proxy import Fault, Proxy
from resque.conftest import Stored
from resque.test_stored import POOL, T, fetched
from worksong.adapters.resque import ResqueBackend
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Done, Settlement
from worksong.ports.backend import Beat


@pytest.fixture
def proxy(redis_server: servers.Redis) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def struck(proxy: Proxy, stored: Stored) -> AsyncIterator[ResqueBackend]:
    """One whose connection goes through the proxy."""
    backend = ResqueBackend(f"resque+{proxy.url}?namespace={stored.namespace}&timeout=60")
    yield backend
    proxy.heal()
    await backend.close()


def a_job() -> Job:
    return Job("Ok", [1], queue="low", id="a")


async def test_a_push_without_an_answer_is_one_job_of_unknown_fate(
    proxy: Proxy, struck: ResqueBackend, backend: ResqueBackend
) -> None:
    await struck.push([Job("Ok", [0], queue="other", id="first")], T)  # the server knows the script now
    proxy.on("EVALSHA:resque_push", Fault.CUT_AFTER)
    with pytest.raises(EnqueueOutcomeUnknown) as unknown:
        await struck.push([a_job()], T)
    assert unknown.value.job_ids == ("a",)
    assert (await backend.counts())[State.QUEUED] == 2


async def test_an_id_of_ones_own_may_be_pushed_again(
    proxy: Proxy, struck: ResqueBackend, backend: ResqueBackend
) -> None:
    await struck.push([Job("Ok", [0], queue="other", id="first")], T, once=True)
    proxy.on("EVALSHA:resque_push", Fault.CUT_AFTER)
    with pytest.raises(EnqueueOutcomeUnknown):
        await struck.push([a_job()], T, once=True)
    assert await backend.push([a_job()], T, once=True) == [False]
    assert (await backend.counts())[State.QUEUED] == 2


async def test_what_was_lent_without_an_answer_is_given_back_by_the_pool_itself(
    proxy: Proxy, struck: ResqueBackend, backend: ResqueBackend
) -> None:
    # Given a job whose lending nobody heard of
    await struck.enlist(POOL, T)
    assert await fetched(struck) == []
    await backend.push([a_job()], T)
    proxy.on("EVALSHA:resque_fetch", Fault.CUT_AFTER)
    with pytest.raises(BackendUnavailable):
        await fetched(struck)
    assert (await backend.counts())[State.RUNNING] == 1
    # When the pool beats twice without holding it
    for second in (10, 20):
        await backend.beat(Beat(POOL), T + second)
    # Then it waits again
    assert [delivery.job.id for delivery in await fetched(backend)] == ["a"]


async def test_what_was_lent_without_an_answer_is_given_back_from_behind_all_that_is_held(
    proxy: Proxy, struck: ResqueBackend, backend: ResqueBackend
) -> None:
    # Given a lending that nobody heard of, and after it more than one answer tells
    await struck.enlist(POOL, T)
    assert await fetched(struck) == []
    await backend.push([Job("Ok", [n], queue="low", id=str(n)) for n in range(1201)], T)
    proxy.on("EVALSHA:resque_fetch", Fault.CUT_AFTER)
    with pytest.raises(BackendUnavailable):
        await fetched(struck, limit=1)
    held = (*await fetched(backend, limit=1000), *await fetched(backend, limit=1000))
    assert len(held) == 1200
    # When the pool beats twice without holding it
    for second in (10, 20):
        assert (await backend.beat(Beat(POOL, (), held), T + second)).lost == ()
    # Then it waits again
    assert [delivery.job.id for delivery in await fetched(backend)] == ["0"]


async def test_what_is_lent_is_not_thrown_away_when_its_tries_cannot_be_read(
    proxy: Proxy, struck: ResqueBackend, backend: ResqueBackend, stored: Stored
) -> None:
    await struck.push([a_job()], T)
    await fetched(struck)  # the server knows the script now
    stored.redis.sadd(stored.key("queues"), "low")
    stored.redis.rpush(stored.key("queue:low"), '{"class":"Ok","args":[7]}')
    proxy.on("GET", Fault.CUT_BEFORE)
    (delivery,) = await fetched(struck)
    assert await backend.settle([Settlement(delivery, Done())], T) == [True]


async def test_an_ending_without_an_answer_counts_once(
    proxy: Proxy, struck: ResqueBackend, backend: ResqueBackend, stored: Stored
) -> None:
    await backend.push([a_job(), Job("Ok", [2], queue="low", id="b")], T)
    one, other = await fetched(struck)
    assert await struck.settle([Settlement(other, Buried("boom"))], T) == [True]
    proxy.on("EVALSHA:resque_settle", Fault.CUT_AFTER)
    with pytest.raises(BackendUnavailable):
        await struck.settle([Settlement(one, Buried("boom"))], T)
    assert await backend.settle([Settlement(one, Buried("boom"))], T) == [False]
    assert (await backend.counts())[State.DEAD] == 2
    assert stored.all()["stat:failed"] == "2"


async def test_a_move_without_an_answer_moves_once(proxy: Proxy, struck: ResqueBackend, backend: ResqueBackend) -> None:
    await backend.push([Job("Ok", [n], queue="low", id=str(n), run_at=T + n) for n in (1, 2)], T)
    assert await struck.promote(T + 1, 10) == 1
    proxy.on("EVALSHA:resque_move", Fault.CUT_AFTER)
    with pytest.raises(BackendUnavailable):
        await struck.promote(T + 2, 10)
    assert await backend.promote(T + 2, 10) == 0
    assert [delivery.job.id for delivery in await fetched(backend)] == ["1", "2"]
