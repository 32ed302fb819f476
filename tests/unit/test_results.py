"""From `perform` to the result: what comes back through a handle, and what is told when nothing can."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import redis

from engine_bench import until
from patience import PATIENCE
from worksong import (
    ConfigError,
    Context,
    Discard,
    Job,
    JobFailed,
    ResultLost,
    ResultTimeout,
    Retry,
    Unsupported,
    Worker,
)
from worksong.adapters.memory import MemoryBackend, MemoryResults
from worksong.adapters.redis.results import RedisResults
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import Delivery, new_id
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Settlement
from worksong.domain.result import Result
from worksong.engine.settler import Settler
from worksong.ports.clock import SystemClock
from worksong.testing import drain, inline
from worksong.wire import result as wire


@dataclass
class Receipt:
    number: int
    at: datetime.datetime


NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


async def test_a_handle_gives_what_the_handler_returned_as_its_annotation_says() -> None:
    async with Worker() as worker:

        @worker.job()
        async def charge(number: int) -> Receipt:
            return Receipt(number, NOON)

        handle = await charge.aperform(7)

        assert await handle.aresult(PATIENCE) == Receipt(7, NOON)


def test_the_blocking_face_waits_too() -> None:
    worker = Worker()

    @worker.job()
    def add(a: int, b: int) -> int:
        return a + b

    worker.start()
    try:
        assert add.perform(1, 2).result(timeout=PATIENCE) == 3
        assert add.perform(1, 2).result(datetime.timedelta(seconds=PATIENCE)) == 3
    finally:
        worker.stop()


def test_without_an_annotation_the_result_is_what_json_carries() -> None:
    worker = Worker()
    worker.register("pair", lambda: (1, "b"))
    handle = worker.perform(Job("pair"))
    assert handle is not None
    drain(worker)
    assert handle.result(PATIENCE) == [1, "b"]


def test_a_failed_job_raises_its_failure_as_data() -> None:
    worker = Worker()

    @worker.job(max_fails=1)
    async def charge(number: int) -> None:
        raise LookupError(f"no card {number}")

    handle = charge.perform(7)
    drain(worker)

    with pytest.raises(JobFailed, match=rf"job {handle.id} \(charge\) failed: LookupError: no card 7") as raised:
        handle.result(PATIENCE)
    assert raised.value.type == "LookupError"
    assert "in charge" in raised.value.trace


def test_a_job_that_will_be_tried_again_has_no_result_yet() -> None:
    worker = Worker()

    @worker.job()
    async def charge() -> None:
        raise Retry(60)

    handle = charge.perform()
    drain(worker)

    with pytest.raises(ResultTimeout, match="no result after 0 s"):
        handle.result(timeout=0)


def test_a_discarded_job_says_why_there_is_nothing() -> None:
    worker = Worker()

    @worker.job()
    async def charge() -> None:
        raise Discard("paid already")

    handle = charge.perform()
    drain(worker)

    with pytest.raises(JobFailed, match="Discarded: paid already"):
        handle.result(PATIENCE)


def test_a_result_that_json_cannot_carry_leaves_the_job_done() -> None:
    worker = Worker()

    @worker.job()
    async def handlers() -> set[int]:
        return {1}

    handle = handlers.perform()
    stats = drain(worker)

    assert stats.done == 1
    with pytest.raises(ResultLost, match="succeeded, but its result could not be kept: the result is of type set"):
        handle.result(PATIENCE)


def test_a_result_that_is_not_what_the_handler_promises_is_told_of() -> None:
    worker = Worker()

    @worker.job()
    def number() -> int:
        return "seven"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    handle = number.perform()
    drain(worker)

    with pytest.raises(ResultLost, match="not what it promises: Expected `int`, got `str`"):
        handle.result(PATIENCE)


def test_an_annotation_that_json_cannot_fill_leaves_the_result_as_it_came() -> None:
    worker = Worker()

    @worker.job()
    def number() -> Context | complex | None:
        return None

    handle = number.perform()
    drain(worker)
    assert handle.result(PATIENCE) is None


def test_a_job_known_by_its_id_alone_has_a_handle() -> None:
    worker = Worker()

    @worker.job()
    def today() -> datetime.date:
        return NOON.date()

    enqueued = today.perform()
    drain(worker)

    assert worker.handle(enqueued.id).result(PATIENCE) == "2026-01-01"
    assert worker.handle(enqueued.id, "today").result(PATIENCE) == NOON.date()


def test_inline_jobs_have_their_result_at_once() -> None:
    worker = Worker()

    @worker.job()
    def add(a: int, b: int) -> int:
        return a + b

    with inline(worker):
        assert add.perform(1, 2).result(timeout=0) == 3


def test_a_backend_that_keeps_no_results_names_what_does(redis_url: str) -> None:
    worker = Worker(redis_url, name=new_id())
    with pytest.raises(Unsupported, match=r"Worker\(\.\.\., results="):
        worker.handle("a").result(timeout=0)
    worker.stop()


async def test_results_of_jobs_on_redis_are_kept_where_the_worker_says(redis_url: str) -> None:
    name = new_id()
    async with Worker(redis_url, name=name, results=redis_url) as worker:

        @worker.job(max_fails=1)
        async def half(number: int) -> float:
            return 1 / number

        # Given a program elsewhere that only enqueues
        elsewhere = Worker(redis_url, name=name, results=f"{redis_url}?result_ttl=60")
        good, bad = await elsewhere.aperform_many([Job("half", {"number": 2}), Job("half", {"number": 0})])
        assert good is not None
        assert bad is not None

        # Then it sees how each of them ended
        assert await good.aresult(PATIENCE) == 0.5
        with pytest.raises(JobFailed, match="ZeroDivisionError"):
            await bad.aresult(PATIENCE)
        await elsewhere.astop()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("amqp://here", "no result store"),
        ("memory://x", "takes nothing"),
        (7, "must be a text"),
        ("redis://h?namespace=%20", "namespace .* cannot be used"),
    ],
)
def test_a_store_that_cannot_be_is_refused_at_once(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Worker(results=url)


class Away(MemoryResults):
    """A store that does not answer at first."""

    def __init__(self, fails: int) -> None:
        super().__init__()
        self.fails = fails

    async def put(self, results: Sequence[Result]) -> None:
        if self.fails:
            self.fails -= 1
            raise BackendUnavailable
        await super().put(results)


class Order(MemoryBackend):
    """Notes for each ending whether its result was there."""

    def __init__(self, store: MemoryResults) -> None:
        super().__init__()
        self.store, self.seen = store, list[bool]()

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        for one in batch:
            self.seen.append(await self.store.result(one.delivery.job.id) is not None)
        return [True] * len(batch)


async def test_a_result_is_kept_before_its_job_is_gone_however_long_that_takes() -> None:
    # Given a store that is away for a while
    store = Away(fails=2)
    backend = Order(store)
    held = {1: Delivery(Job("send", id="a"), None, 1)}
    settler = Settler(backend, SystemClock(), held, lambda: None, store)

    # When a job ends
    settler.put(Settlement(held[1], Done(5)))
    async with asyncio.timeout(PATIENCE):
        await settler.drained()

    # Then it was settled once its result was kept
    assert backend.seen == [True]
    found = await store.result("a")
    assert found is not None
    assert found.value == b"5"


@pytest.mark.parametrize("outcome", [Discarded("\ud800"), Buried("\ud800")], ids=["discarded", "buried"])
def test_a_reason_that_has_no_utf8_form_can_be_kept_all_the_same(outcome: Outcome) -> None:
    result = wire.of("a", outcome, 0.0)
    assert result is not None
    kept = wire.decode("a", wire.encode(result)).failure
    assert kept is not None
    assert kept.message == "\N{REPLACEMENT CHARACTER}"


async def test_a_worker_does_not_start_with_a_store_that_refuses_it_and_starts_with_one_that_is_away(
    redis_url: str, cluster_url: str
) -> None:
    # Given a store with the wrong login: no ending could be noted
    stranger = redis_url.replace("redis://", "redis://stranger:secret@")
    worker = Worker(results=stranger)
    # Then the start says so
    with pytest.raises(ConfigError, match="stranger"):
        await worker.astart()
    await worker.astop()
    # And so it does with a cluster where the keys of a result lie apart
    apart = Worker(results=cluster_url)
    with pytest.raises(ConfigError, match="put its name in braces"):
        await apart.astart()
    await apart.astop()
    # But one that is away may come back
    async with Worker(results="redis://127.0.0.1:1/0"):
        pass


async def test_memory_keeps_no_more_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worksong.adapters.memory.results.MOST_BYTES", 10)
    store = MemoryResults()
    # Given as much as there is room for, one result twice
    await store.put([Result("a", 0.0, b"12345"), Result("b", 1.0, b"1234"), Result("b", 2.0, b"12345")])
    assert await store.result("a") is not None
    # When one more comes, then the oldest goes
    await store.put([Result("c", 3.0, b"12345")])
    assert await store.result("a") is None
    assert await store.result("b") is not None
    # And what was pruned leaves its room to others
    store.prune(2.5 + 3600)
    await store.put([Result("d", 4.0, b"12345")])
    assert await store.result("c") is not None


async def test_who_may_not_read_the_mailbox_gets_the_result_and_is_told_why_it_takes_long(
    redis_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worksong.adapters.redis.results.LOOK", 0.1)
    monkeypatch.setattr("worksong.adapters.redis.results.LISTEN", 0.01)
    # Given a user who may do everything but block on a list
    user, namespace = new_id(), new_id()
    with redis.Redis.from_url(redis_url) as server:
        server.execute_command("ACL", "SETUSER", user, "on", ">secret", "~*", "+@all", "-blpop")
        store = RedisResults(redis_url.replace("redis://", f"redis://{user}:secret@"), namespace=namespace)
        try:
            # When it waits for a result
            waiting = asyncio.create_task(store.wait_result("a", PATIENCE))
            await until(lambda: "run the 'blpop' command" in caplog.text)
            await store.put([Result("a", 0.0)])
            # Then it comes, and the refusal was told once
            assert await waiting == Result("a", 0.0)
            assert len(caplog.records) == 1
            assert "secret" not in caplog.text
        finally:
            await store.close()
            server.execute_command("ACL", "DELUSER", user)


async def test_memory_keeps_the_latest_results_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worksong.adapters.memory.results.MOST", 3)
    store = MemoryResults()
    await store.put([Result(name, at) for name, at in (("a", 0.0), ("b", 10.0), ("c", 20.0), ("a", 30.0), ("d", 40.0))])

    assert await store.result("b") is None
    assert await store.result("a") == Result("a", 30.0)

    assert store.prune(20.0 + 3601) == 1
    assert await store.result("c") is None
    assert await store.result("d") == Result("d", 40.0)
