"""An idle worker on Redis: it hears of a job at once, whoever pushed it, and asks for nothing meanwhile."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

import servers
from engine_bench import until
from patience import PATIENCE
from worksong.adapters.gocraft import GocraftBackend
from worksong.adapters.redis.doorbell import Doorbell
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.outcome import Done, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Pool, Want

LONG = 600.0
"""Seconds that no test waits for: what comes sooner was woken."""
FEW = 8
"""Looks at the queues that a story may take; who polls or spins takes more."""


class Store:
    """The server as a Go program or an operator uses it."""

    def __init__(self, url: str) -> None:
        self.url, self.namespace = url, new_id()
        self.redis = redis.Redis.from_url(url)

    def key(self, rest: str) -> str:
        return f"{self.namespace}:{rest}"

    def lpush(self, name: str, count: int = 1) -> list[str]:
        """Jobs as Go enqueues them; their ids."""
        ids = [new_id() for _ in range(count)]
        for job_id in ids:
            self.redis.lpush(
                self.key(f"jobs:{name}"), f'{{"name":"{name}","id":"{job_id}","t":1700000000,"args":null}}'
            )
        return ids

    def scripts_run(self) -> int:
        """How many scripts the server ran, whoever asked: looks at the queues, as long as nothing else happens."""
        found = self.redis.info("commandstats").get("cmdstat_evalsha")
        return int(found["calls"]) if found else 0


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Redis]:
    """A server of our own: its commands are counted, and its users altered."""
    with ExitStack() as running:
        try:
            yield running.enter_context(servers.redis())
        except servers.Missing as missing:
            if servers.required():
                raise
            pytest.skip(f"no server: {missing}")


@pytest.fixture
def store(server: servers.Redis) -> Iterator[Store]:
    store = Store(server.url)
    store.redis.config_resetstat()
    yield store
    store.redis.close()


Open = Callable[..., GocraftBackend]


@pytest.fixture
async def opened(store: Store) -> AsyncIterator[Open]:
    backends: list[GocraftBackend] = []

    def open_one(url: str = store.url) -> GocraftBackend:
        backends.append(GocraftBackend(url, namespace=store.namespace))
        return backends[-1]

    yield open_one
    for backend in backends:
        await backend.close()


@pytest.fixture
def backend(opened: Open) -> GocraftBackend:
    return opened()


def want(*names: str, wait: float = LONG, pool: str = "pool", limit: int = 5) -> Want:
    return Want(pool, limit, wait, tuple(Share(name, 1 << 30) for name in names))


async def idle(backend: GocraftBackend, *names: str, **given: Any) -> asyncio.Task[list[Delivery]]:
    """A fetch that has found nothing and listens."""
    fetching = asyncio.create_task(backend.fetch(want(*names, **given), time.time()))
    await until(lambda: backend._parts.lookout.silent(names))
    return fetching


async def soon(awaited: Awaitable[Any]) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await awaited


def ids(deliveries: list[Delivery]) -> list[str]:
    return [delivery.job.id for delivery in deliveries]


# woken


async def test_a_job_that_go_pushes_ends_the_wait_whatever_its_type(backend: GocraftBackend, store: Store) -> None:
    # Given an idle worker for fifty job types
    names = [f"type-{number}" for number in range(50)]
    for name in (names[0], names[31], names[49]):
        fetching = await idle(backend, *names)
        looks = store.scripts_run()
        # When a foreign program pushes a job, then it is lent by the next look
        pushed = store.lpush(name)
        assert ids(await soon(fetching)) == pushed
        assert store.scripts_run() == looks + 1


async def test_a_job_of_another_python_process_ends_the_wait(backend: GocraftBackend, opened: Open) -> None:
    fetching = await idle(backend, "a")
    job = Job("a", None, id=new_id(), enqueued_at=time.time())
    await opened().push([job], time.time())
    assert ids(await soon(fetching)) == [job.id]


async def test_a_job_ends_the_wait_of_every_idle_worker_and_one_gets_it(
    backend: GocraftBackend, opened: Open, store: Store
) -> None:
    # Given three idle workers
    backends = [backend, opened(), opened()]
    fetches = [await idle(one, "a", pool=f"pool-{number}") for number, one in enumerate(backends)]
    # When five jobs come in, one after the other
    pushed = store.lpush("a", 5)
    # Then all are lent, and each worker waits again or has some
    lent: list[str] = []
    while len(lent) < 5:
        done, _ = await soon(asyncio.wait(fetches, return_when=asyncio.FIRST_COMPLETED))
        for fetch in done:
            lent += ids(fetch.result())
            number = fetches.index(fetch)
            again = want("a", pool=f"pool-{number}")
            fetches[number] = asyncio.create_task(backends[number].fetch(again, time.time()))
    assert sorted(lent) == sorted(pushed)
    await _end(*fetches)


async def test_a_job_whose_time_has_come_ends_the_wait(backend: GocraftBackend, opened: Open) -> None:
    # Given a job on the schedule
    now = time.time()
    job = Job("a", None, id=new_id(), enqueued_at=now, run_at=now + 60)
    await backend.push([job], now)
    fetching = await idle(backend, "a")
    # When any process queues it, then it is lent
    assert await opened().promote(now + 61, 10) == 1
    assert ids(await soon(fetching)) == [job.id]


async def test_what_is_pushed_between_two_looks_is_seen(backend: GocraftBackend, store: Store) -> None:
    # Given a worker that fetches again and again, and a program that pushes meanwhile
    pushed: list[str] = []

    async def push() -> None:
        for _ in range(200):
            pushed.extend(await asyncio.to_thread(store.lpush, "a"))

    pushing, lent = asyncio.create_task(push()), list[str]()
    # When every fetch may wait for ever, then none does
    while len(lent) < 200:
        lent += ids(await soon(backend.fetch(want("a", "b"), time.time())))
    await pushing
    assert lent == pushed


# not woken, and not asking


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_an_idle_worker_asks_for_nothing(backend: GocraftBackend, store: Store) -> None:
    # Given an idle worker
    fetching = await idle(backend, "a", "b")
    looks = store.scripts_run()
    # When jobs come in that it does not serve
    store.lpush("c", 100)
    await _heard(backend)
    # Then it has looked at no queue
    assert store.scripts_run() == looks
    await _end(fetching)


async def _heard(backend: GocraftBackend) -> None:
    """Wait until whatever the server has to tell so far was told, and what follows from it has begun."""
    await backend._parts.lookout._bell._redis.call("PING")
    for _ in range(20):
        await asyncio.sleep(0)
    await backend._parts.store.redis.call("PING")


async def test_jobs_behind_a_pause_wake_nobody_and_its_end_does(
    backend: GocraftBackend, opened: Open, store: Store
) -> None:
    # Given a paused queue with jobs in it, and an idle worker
    (first,) = store.lpush("a")
    await backend.pause("a")
    fetching = await idle(backend, "a", "b")
    looks = store.scripts_run()
    # When more jobs come in, nothing happens
    store.lpush("a", 300)
    await _heard(backend)
    assert store.scripts_run() - looks <= FEW
    # Then with the end of the pause, by whomever, they are lent
    await opened().resume("a")
    assert ids(await soon(fetching))[0] == first


async def test_jobs_behind_a_limit_wake_nobody_and_its_end_does(
    backend: GocraftBackend, opened: Open, store: Store
) -> None:
    # Given a job type at its limit, by a job in another pool
    other = opened()
    await other.enlist(Pool(id="other", handlers=("a",), limits={"a": 1}), time.time())
    first, second = store.lpush("a", 2)
    (running,) = await other.fetch(want("a", wait=0.0, pool="other"), time.time())
    assert running.job.id == first
    fetching = await idle(backend, "a")
    looks = store.scripts_run()
    # When more jobs come in, nothing happens
    store.lpush("a", 300)
    await _heard(backend)
    assert store.scripts_run() - looks <= FEW
    # Then when that job ends, the next is lent
    assert await other.settle([Settlement(running, Done())], time.time()) == [True]
    assert ids(await soon(fetching)) == [second]


@pytest.mark.parametrize("key", ["jobs:a", "jobs:a:pool:inprogress", "jobs:a:lock", "jobs:a:max_concurrency"])
async def test_a_key_of_a_wrong_type_does_not_make_it_spin(backend: GocraftBackend, store: Store, key: str) -> None:
    # Given a job type one of whose keys is not what it should be
    if key != "jobs:a":
        store.lpush("a")
    store.redis.sadd(store.key(key), "what is this")
    fetching = await idle(backend, "a", "b")
    looks = store.scripts_run()
    # When nothing happens for a while, then nothing is asked for
    for _ in range(50):
        await _heard(backend)
    assert store.scripts_run() - looks <= FEW
    # And other types are lent as ever
    assert ids(store_b := await soon(_after(store.lpush("b"), fetching))) == ids(store_b)
    # And when the key is gone, so is this one
    store.redis.delete(store.key(key))
    (pushed,) = store.lpush("a")
    assert pushed in ids(await soon(backend.fetch(want("a"), time.time())))


async def _after(_: list[str], fetching: asyncio.Task[list[Delivery]]) -> list[Delivery]:
    found = await fetching
    assert [delivery.job.handler for delivery in found] == ["b"]
    return found


async def test_who_always_comes_too_late_comes_less_often(backend: GocraftBackend, store: Store) -> None:
    # Given an idle worker, and another that is always faster
    fetching = await idle(backend, "a")
    looks = store.scripts_run()
    for _ in range(200):
        with store.redis.pipeline() as both:
            both.lpush(store.key("jobs:a"), "{}")
            both.rpop(store.key("jobs:a"))
            both.execute()
        await asyncio.sleep(0)
    # Then it has not looked at every job that was gone
    await _heard(backend)
    assert store.scripts_run() - looks < 60
    await _end(fetching)


# what goes wrong


async def test_a_server_that_went_away_and_came_back_rings_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Given an idle worker on a server that goes away
    with servers.redis() as server:
        store = Store(server.url)
        backend = GocraftBackend(server.url, namespace=store.namespace)
        fetching = await idle(backend, "a")
    with pytest.raises(BackendUnavailable):
        await soon(fetching)
    # When it is back, and the worker fetches again, as a lane does
    with _restarted(server.port, tmp_path):
        fetching = asyncio.create_task(_patiently(backend))
        await until(lambda: backend._parts.lookout.silent(["a"]))
        # Then a push wakes it as before, and the outage was told once
        assert len(await _pushed_through(store, fetching)) == 1
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1
        await backend.close()
        store.redis.close()


@contextmanager
def _restarted(port: int, directory: Path) -> Iterator[None]:
    command = [servers.find("redis-server"), "--port", str(port), "--save", "", "--dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def _patiently(backend: GocraftBackend) -> list[Delivery]:
    while True:
        try:
            return await backend.fetch(want("a"), time.time())
        except BackendUnavailable:
            await asyncio.sleep(0.05)


async def _pushed_through(store: Store, fetching: asyncio.Task[list[Delivery]]) -> list[Delivery]:
    await asyncio.to_thread(store.lpush, "a")
    found: list[Delivery] = await soon(fetching)
    return found


@pytest.mark.parametrize("disturb", ["CLIENT KILL TYPE normal SKIPME yes", "FLUSHDB"])
async def test_a_doorbell_that_is_torn_off_is_put_back(backend: GocraftBackend, store: Store, disturb: str) -> None:
    # Given an idle worker whose connections are cut, or whose database is emptied
    fetching = asyncio.create_task(_patiently(backend))
    await until(lambda: backend._parts.lookout.silent(["a"]))
    rings = backend._parts.lookout._bell.rings
    store.redis.execute_command(*disturb.split())
    await until(lambda: backend._parts.lookout._bell.rings > rings)
    # When it listens again, then a push wakes it
    await until(lambda: backend._parts.lookout.silent(["a"]))
    assert ids(await _pushed_through(store, fetching))


async def test_a_user_who_may_not_be_told_looks_again_and_says_so_once(
    opened: Open, store: Store, server: servers.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a user who may do everything but follow changes
    store.redis.execute_command("ACL", "SETUSER", "plain", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
    backend = opened(f"redis://plain:secret@127.0.0.1:{server.port}/0")
    for _ in range(2):
        # When a job comes in while it waits, then it is lent all the same
        fetching = asyncio.create_task(backend.fetch(want("a"), time.time()))
        await until(lambda: "does not tell when jobs come in" in caplog.text)
        assert ids(await _pushed_through(store, fetching))
    # And its own pushes wake it at once
    fetching = asyncio.create_task(backend.fetch(want("a"), time.time()))
    await until(lambda: backend._parts.lookout._bell._waiting)
    await backend.push([Job("a", None, id=new_id(), enqueued_at=time.time())], time.time())
    assert len(await soon(fetching)) == 1
    assert len([record for record in caplog.records if record.name == "worksong"]) == 1
    assert "secret" not in caplog.text
    # And what is due is asked for, as it always was
    await soon(backend.until_due(time.time(), LONG))


async def test_a_server_with_no_room_for_another_connection_is_asked_at_intervals(
    backend: GocraftBackend, store: Store
) -> None:
    # Given a server that takes no further connection
    await backend.fetch(want("a", wait=0.0), time.time())
    most = store.redis.config_get("maxclients")["maxclients"]
    store.redis.config_set("maxclients", len(store.redis.client_list()))
    try:
        # When a worker waits, then it looks now and then, and does not spin
        looks = store.scripts_run()
        assert await backend.fetch(want("a", wait=0.5), time.time()) == []
        assert store.scripts_run() - looks < 25
        fetching = asyncio.create_task(backend.fetch(want("a"), time.time()))
        assert len(await _pushed_through(store, fetching)) == 1
    finally:
        store.redis.config_set("maxclients", most)
    # And once there is room, the server tells it
    await _end(await idle(backend, "a"))


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8])
async def test_a_wait_given_up_while_it_connects_spoils_nothing(
    backend: GocraftBackend, store: Store, turns: int
) -> None:
    # Given a fetch that is cancelled somewhere on its way
    fetching = asyncio.create_task(backend.fetch(want("a"), time.time()))
    await until(lambda: backend._parts.store.redis._connection)
    for _ in range(turns):
        await asyncio.sleep(0)
    await _end(fetching)
    # When the next one listens, then a push wakes it
    fetching = await idle(backend, "a")
    rings = backend._parts.lookout._bell.rings
    store.lpush("a")
    await until(lambda: backend._parts.lookout._bell.rings > rings)
    assert len(await soon(fetching)) == 1


async def test_what_was_given_up_before_it_was_read_is_not_watched(backend: GocraftBackend) -> None:
    # Given a doorbell whose connection was cut
    bell, keys = backend._parts.lookout._bell, [b"queue"]
    assert await bell.read([("EXISTS", *keys)], keys) == [0]
    connection = bell._redis._connection
    assert connection is not None
    await connection.close()
    # When a read is given up while it connects anew
    reading = asyncio.create_task(bell.read([("EXISTS", *keys)], keys))
    await asyncio.sleep(0)
    await _end(reading)
    # Then nobody relies on what was not read
    assert not bell.watches(keys)
    await soon(_read_at_last(bell, keys))
    assert bell.watches(keys)


async def _read_at_last(bell: Doorbell, keys: list[bytes]) -> None:
    """A server that was just away is given a rest."""
    while True:
        if await bell.read([("EXISTS", *keys)], keys) is not None:
            return
        await asyncio.sleep(0.01)


async def test_a_login_that_is_refused_for_a_while_rings_again_when_it_is_right(
    opened: Open, store: Store, server: servers.Redis
) -> None:
    # Given a user that the server does not know yet
    bell = opened(f"redis://later:secret@127.0.0.1:{server.port}/0")._parts.lookout._bell
    assert await bell.read([("EXISTS", "queue")], [b"queue"]) is None
    # When it does
    store.redis.execute_command("ACL", "SETUSER", "later", "on", ">secret", "~*", "&*", "+@all")
    # Then the doorbell works once it has knocked again
    await soon(_read_at_last(bell, [b"queue"]))


async def test_a_user_who_may_not_read_the_schedule_asks_by_its_own_clock(
    opened: Open, store: Store, server: servers.Redis
) -> None:
    store.redis.execute_command("ACL", "SETUSER", "blind", "on", ">secret", "~*", "&*", "+@all", "-zrange")
    backend = opened(f"redis://blind:secret@127.0.0.1:{server.port}/0")
    await soon(backend.until_due(time.time(), LONG))


async def test_a_wait_can_be_given_up_at_any_time(backend: GocraftBackend, store: Store) -> None:
    # Given a fetch that listens
    fetching = await idle(backend, "a")
    before = time.monotonic()
    # When it is cancelled and the backend closed, then both are over, and nothing was lent to nobody
    await soon(_end(fetching))
    await soon(backend.close())
    assert time.monotonic() - before < PATIENCE
    (pushed,) = store.lpush("a")
    assert ids(await backend.fetch(want("a"), time.time())) == [pushed]


async def test_whoever_only_enqueues_needs_one_connection(backend: GocraftBackend, store: Store) -> None:
    before = len(store.redis.client_list())
    await backend.push([Job("a", None, id=new_id(), enqueued_at=time.time())], time.time())
    assert len(store.redis.client_list()) == before + 1


# what is due


async def test_nothing_is_asked_until_something_is_due(backend: GocraftBackend, store: Store) -> None:
    # Given a job due in an hour, and who waits for it
    now = time.time()
    later = int(now) + 3600
    store.redis.zadd(store.key("scheduled"), {'{"name":"a","id":"1","t":1,"args":null}': later})
    waiting = asyncio.create_task(backend.until_due(now, LONG))
    await until(lambda: backend._mover._alarm._next == later)
    assert not waiting.done()
    # When somebody puts one on the schedule that is due at once, then the wait is over
    store.redis.zadd(store.key("retry"), {'{"name":"a","id":"2","t":1,"args":null}': int(now) - 1})
    await soon(waiting)
    # And there is none while that one is there
    await soon(backend.until_due(now, LONG))
    # And it ends by the time that comes
    store.redis.delete(store.key("retry"))
    await soon(backend.until_due(later - 0.05, LONG))


async def test_a_schedule_of_a_wrong_type_holds_up_nothing(backend: GocraftBackend, store: Store) -> None:
    store.redis.set(store.key("scheduled"), "what is this")
    store.redis.zadd(store.key("retry"), {"x": 1})
    await soon(backend.until_due(time.time(), LONG))
