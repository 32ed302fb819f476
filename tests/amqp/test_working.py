"""Workers on a real RabbitMQ, with its own clock: what Buffalo's adapter gets wrong, and what it shares with us."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pika
import pytest

from amqp.server import connected, got, put
from amqp.stage import LIMIT, PATIENCE, MakesWorkers, until
from worksong import Job, Retry
from worksong.domain.job import new_id

T = TypeVar("T")
pytestmark = pytest.mark.timeout(LIMIT)  # the first one waits for the server to start


def collect(ran: list[Any]) -> Any:
    """A handler that notes its arguments."""

    def handler(args: dict[str, Any]) -> None:
        ran.append(args)

    return handler


def test_one_handler_runs_more_jobs_than_go_would(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a hundred jobs for a type, and four slots: Go's adapter stops for ever at 25 (B1), and hoards the queue (B8)
    worker, done = a_worker(rabbitmq_url, concurrency=4), set()
    worker.register("count", lambda args: done.add(args["n"]))
    worker.perform_many([Job("count", {"n": n}) for n in range(100)])
    # When a worker runs
    worker.start()
    # Then all are done
    until(lambda: len(done) == 100, "100 jobs")
    worker.stop()


def test_jobs_of_one_handler_run_side_by_side(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given two jobs that wait for one another: a serial worker (B1) would never finish the first
    worker, meeting, met = a_worker(rabbitmq_url, concurrency=2), threading.Barrier(2, timeout=PATIENCE), []

    @worker.job()
    def meet() -> None:
        meeting.wait()
        met.append(1)

    worker.start()
    worker.perform_many([Job("meet"), Job("meet")])
    until(lambda: len(met) == 2, "both")
    worker.stop()


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.5, 1.37])
def test_a_delay_is_never_shorter_than_asked_for(rabbitmq_url: str, seconds: float, a_worker: MakesWorkers) -> None:
    # Given a worker that waits: Go's adapter comes a thousand times too early (B2), in whole seconds only (B3)
    worker, ran = a_worker(rabbitmq_url), []

    @worker.job()
    async def note() -> None:
        ran.append(time.time())

    worker.start()
    # When a job is enqueued for later
    asked = time.time()
    note.perform_in(seconds)
    until(lambda: ran, "the delayed job")
    worker.stop()
    # Then it did not run before
    assert ran[0] - asked >= seconds - 0.001


def test_a_time_long_past_means_at_once(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    worker, ran = a_worker(rabbitmq_url), []
    worker.register("note", collect(ran))
    worker.start()
    worker.perform_at(Job("note", {"n": 1}), datetime.now(UTC) - timedelta(days=300))
    until(lambda: ran, "the job")  # Go's adapter dies of it (B3)
    worker.stop()


def test_a_failing_job_is_tried_again_and_then_dead_with_its_error(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a handler that always fails: Go's adapter never says a word to the server about it (B5)
    namespace, tries = new_id(), []
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}")

    @worker.job(max_fails=3, backoff=lambda job: 0.01)
    async def fail(n: int) -> None:
        tries.append(n)
        raise ValueError(f"no {n}")

    worker.start()
    handle = fail.perform(n=7)
    # When it has failed as often as it may
    until(lambda: worker.stats.buried == 1, "the burial")
    worker.stop()
    # Then it is dead, with what an operator wants to know
    assert tries == [7, 7, 7]
    ((properties, body),) = got(rabbitmq_url, f"{namespace}.fail.dead")
    headers = properties.headers
    assert (body, properties.message_id, properties.type) == (b'{"n":7}', handle.id, "fail")
    assert (headers["x-error-class"], headers["x-attempts"]) == ("ValueError", 3)
    assert "no 7" in headers["x-error-message"]
    assert 0 < headers["x-first-failed-at"] <= headers["x-failed-at"]
    assert "x-death" not in headers


def test_what_kills_handlers_kills_no_worker(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a handler that raises what ends programs: a panic ends Go's (B6)
    worker, ran = a_worker(rabbitmq_url), []

    @worker.job(max_fails=1)
    async def exits() -> None:
        raise SystemExit(3)

    worker.register("note", collect(ran))
    worker.start()
    worker.perform(Job("exits"))
    until(lambda: worker.stats.buried == 1, "the burial")
    # When the next job comes, then it runs
    worker.perform(Job("note", {}))
    until(lambda: ran, "the next job")
    worker.stop()


def test_bodies_that_go_writes_are_read_and_others_buried(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a queue as Go declares it, with messages as Go writes them, and others (R4)
    handler, ran = f"go-{new_id()}", []
    for body in (b"null", b"", b"[1]", b'{"a":1}', b'"text"', b"\x80\x04pickle", b"{} {}"):
        put(rabbitmq_url, handler, body)
    worker = a_worker(f"{rabbitmq_url}?namespace=")
    worker.register(handler, collect(ran))
    # When a worker meets them
    worker.start()
    until(lambda: len(ran) == 2, "the readable ones")
    until(lambda: worker.admin.dead().total == 5, "the others among the dead")
    # Then each of the others is there with a reason and its bytes
    dead = {view.raw: view.reason for view in worker.admin.dead()}
    worker.stop()
    assert ran == [{}, {"a": 1}]
    assert dead == {
        b"": "invalid_json",
        b"[1]": "not_an_object",
        b'"text"': "not_an_object",
        b"\x80\x04pickle": "invalid_utf8",
        b"{} {}": "invalid_json",
    }
    with connected(rabbitmq_url) as channel:
        for name in (handler, f"{handler}.dead"):
            channel.queue_delete(name)


def test_headers_of_any_kind_spoil_no_job(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given messages whose headers are forged, deep, or of other types than ours
    namespace, ran = new_id(), []
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"d": deep}
    odd = [
        {"x-death": "forged"},
        {"x-death": [{"time": "yesterday"}]},
        {"x-job-attempt": "many", "x-job-run-at": "later", "x-job-meta": 5},
        {"x-job-attempt": -3, "x-job-enqueued-at": 2**62},
        deep,
    ]
    for headers in odd:
        put(rabbitmq_url, f"{namespace}.note", b"{}", headers=headers, content_type="application/python-pickle")
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}")
    worker.register("note", collect(ran))
    worker.start()
    # Then they run like any other
    until(lambda: len(ran) == len(odd), "all of them")
    worker.stop()


def test_a_named_exchange_is_declared_and_bound(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a worker with an exchange of its own: Go's adapter binds nothing to it, and all is lost (B4)
    exchange, namespace, ran = f"x-{new_id()}", new_id(), []
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}&exchange={exchange}")
    worker.register("note", lambda args: ran.append(args["n"]))
    worker.start()
    # When jobs come from us, from Go, and out of a delay
    worker.perform(Job("note", {"n": 1}))
    worker.perform_in(Job("note", {"n": 2}), 0.05)
    with connected(rabbitmq_url) as channel:
        channel.basic_publish(exchange, f"{namespace}.note", b'{"n":3}', mandatory=True)
    # Then all arrive
    until(lambda: sorted(ran) == [1, 2, 3], "three jobs")
    worker.stop()


def test_a_queue_that_others_declared_otherwise_is_used_as_it_is(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a queue with an argument of somebody else, which nobody may declare without
    namespace, ran = new_id(), []
    with connected(rabbitmq_url) as channel:
        channel.queue_declare(f"{namespace}.note", durable=True, arguments={"x-max-length": 1000})
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}")
    worker.register("note", collect(ran))
    # When a worker uses it, then it works
    worker.start()
    worker.perform(Job("note", {}))
    until(lambda: ran, "the job")
    # And the doctor tells
    found = {finding.id: finding for finding in worker.admin.examine()}
    worker.stop()
    assert "x-max-length" in found["amqp.dropping"].detail


def test_a_deleted_queue_comes_back(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a worker that consumes a queue
    namespace, ran = new_id(), []
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}")
    worker.register("note", lambda args: ran.append(args["n"]))
    worker.start()
    worker.perform(Job("note", {"n": 1}))
    until(lambda: ran == [1], "the first job")
    # When somebody deletes the queue under it
    with connected(rabbitmq_url) as channel:
        channel.queue_delete(f"{namespace}.note")
    # Then the next job is not lost, and runs: Go would publish it to nowhere (B7) and consume no more (B9)
    worker.perform(Job("note", {"n": 2}))
    until(lambda: 2 in ran, "the job after")
    worker.stop()


def test_delay_queues_go_by_themselves_and_are_few(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given delays of many lengths: Go's adapter leaves a queue for each of them, for ever (B11)
    namespace = new_id()
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}")
    for seconds in range(3600, 3700):
        worker.perform_in(Job("later", {"n": seconds}), seconds)
    # Then one queue holds them, which ends when it is not used, and lets nothing fall when it does
    arguments = {
        "x-message-ttl": 25 << 17,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{namespace}.later",
        "x-expires": (25 << 17) + 600_000,
    }
    with connected(rabbitmq_url) as channel:
        held = channel.queue_declare(f"{namespace}.later.delay.{25 << 17}", durable=True, arguments=arguments)
        assert held.method.message_count == 100
        assert channel.queue_declare(f"{namespace}.later", passive=True).method.message_count == 0  # B12
    worker.stop()


def test_what_go_wrote_too_early_can_be_waited_for(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a message out of Go's delay queue: of 10 seconds, of which it waited 10 ms
    namespace, handler, ran = new_id(), f"go-{new_id()}", []
    with connected(rabbitmq_url) as channel:
        channel.queue_declare(handler, durable=True)
        arguments = {"x-message-ttl": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": handler}
        channel.queue_declare(f"{handler}_delayed_2", durable=True, arguments=arguments)
        asked = time.time()
        channel.basic_publish("", f"{handler}_delayed_2", b'{"n":1}', pika.BasicProperties(delivery_mode=2))
    worker = a_worker(f"{rabbitmq_url}?namespace=&repair_delays=true", name=namespace)
    worker.register(handler, lambda args: ran.append(time.time()))
    worker.start()
    until(lambda: ran, "the repaired job")
    worker.stop()
    # Then it waited for two seconds, but for the whole second in which the server notes a death
    assert ran[0] - asked > 0.9
    with connected(rabbitmq_url) as channel:
        for name in (handler, f"{handler}_delayed_2"):
            channel.queue_delete(name)


def test_a_job_may_ask_for_its_own_delay(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    worker, tries = a_worker(rabbitmq_url), []

    @worker.job()
    async def again() -> object:
        tries.append(1)
        return Retry(0.03) if len(tries) < 3 else None

    worker.start()
    again.perform()
    until(lambda: worker.stats.done == 1, "the third try")
    worker.stop()
    assert len(tries) == 3


def some(asked: Callable[[], Sequence[T]], what: str) -> Sequence[T]:
    """What it answers, once that is something: a slow machine may answer too late at first."""
    found: list[Sequence[T]] = []

    def answered() -> bool:
        found.append(asked())
        return bool(found[-1])

    until(answered, what)
    return found[-1]


def test_the_pools_of_other_processes_are_listed(
    rabbitmq_url: str, a_worker: MakesWorkers, go_on: threading.Event
) -> None:
    # Given a worker, and somebody else who asks the server
    namespace, running = new_id(), threading.Event()
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}", concurrency=3)

    @worker.job()
    def hold(n: int) -> None:
        running.set()
        go_on.wait(PATIENCE)

    worker.start()
    worker.perform(Job("hold", {"n": 5}))
    assert running.wait(PATIENCE)
    other = a_worker(f"{rabbitmq_url}?namespace={namespace}")
    # When it asks, then it is told of the pool and of what that runs
    (pool,) = some(other.admin.pools, "the pool")
    (busy,) = some(other.admin.busy, "the running job")
    assert (pool.concurrency, pool.handlers) == (3, ("hold",))
    assert (busy.handler, busy.args, busy.pool_id) == ("hold", '{"n":5}', pool.id)
    # And when the worker is gone, of none
    go_on.set()
    worker.stop()
    until(lambda: other.admin.pools() == [], "no pool")
    other.stop()


def test_a_periodic_firing_is_enqueued_by_one_process_only(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given two processes' workers with the same periodic job: the server knows no ids
    namespace, ran = new_id(), []
    workers = [a_worker(f"{rabbitmq_url}?namespace={namespace}") for _ in range(2)]

    def note(job: Job) -> None:
        ran.append(job.id)

    for worker in workers:
        worker.register("tick", note)
    for worker in workers:
        worker.periodic("* * * * * *", "tick")
        worker.start()
    # When some ticks have fired
    until(lambda: len(set(ran)) >= 3, "three ticks")
    for worker in workers:
        worker.stop()
    # Then each once
    assert len(ran) == len(set(ran))


def test_a_stop_hands_back_what_was_not_begun(
    rabbitmq_url: str, a_worker: MakesWorkers, go_on: threading.Event
) -> None:
    # Given a worker with one slot, which is busy, and more jobs than that
    namespace, running, ran = new_id(), threading.Event(), []
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}", concurrency=1)

    @worker.job()
    def hold(n: int) -> None:
        running.set()
        go_on.wait(PATIENCE)
        ran.append(n)

    worker.perform_many([Job("hold", {"n": n}) for n in range(5)])
    worker.start()
    assert running.wait(PATIENCE)
    # When it stops after the running one
    go_on.set()
    worker.stop()
    # Then what it did not run waits, in its order
    left = [body for _, body in got(rabbitmq_url, f"{namespace}.hold")]
    assert left == [b'{"n":%d}' % n for n in range(len(ran), 5)]
