"""The bugs B13 to B17 of Buffalo's adapter, on a real RabbitMQ; B1 to B12 stand where the same thing works here."""

from __future__ import annotations

import logging
import threading

import pytest

import servers
from amqp.server import got
from amqp.stage import LIMIT, MakesWorkers, until
from worksong import Job
from worksong.domain.errors import Stopped
from worksong.domain.job import new_id

pytestmark = pytest.mark.timeout(LIMIT)


def connections(server: servers.Broker) -> int:
    """How many the server has, of anybody."""
    return int(server.ask("integer_to_list(length(rabbit_networking:connections()))"))


def test_b13_a_stop_is_a_stop_also_the_second_time(rabbitmq_server: servers.Broker, a_worker: MakesWorkers) -> None:
    # Given a worker that works: Go's adapter fails at its second stop, and leaves the connection behind (B13)
    before = connections(rabbitmq_server)
    worker, ran = a_worker(rabbitmq_server.url), []

    @worker.job()
    def note() -> None:
        ran.append(1)

    worker.start()
    worker.perform(Job("note", {}))
    until(lambda: ran, "the job")
    # When it is stopped by two at once, and once more
    others = [threading.Thread(target=worker.stop) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    worker.stop()
    # Then nothing was raised, and the server has no connection of it
    until(lambda: connections(rabbitmq_server) <= before, "the end of its connections")


def test_b14_who_still_serves_requests_can_enqueue_while_the_worker_stops(
    rabbitmq_url: str, a_worker: MakesWorkers, go_on: threading.Event
) -> None:
    # Given a worker whose job takes its time
    namespace, running = new_id(), threading.Event()
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}")

    @worker.job()
    def last() -> None:
        running.set()
        go_on.wait(LIMIT)

    worker.start()
    last.perform()
    assert running.wait(LIMIT)
    # When it is being stopped
    stopping = threading.Thread(target=worker.stop, args=(float(LIMIT),))
    stopping.start()
    until(lambda: worker._shift._stopping, "the beginning of the stop")
    # Then a request that is still served enqueues: Go's adapter has closed its channel by then (B14)
    worker.perform(Job("other", {"n": 1}))
    # And what comes after the stop is refused by name, and not lost
    go_on.set()
    stopping.join()
    with pytest.raises(Stopped):
        worker.perform(Job("other", {"n": 2}))
    assert [body for _, body in got(rabbitmq_url, f"{namespace}.other")] == [b'{"n":1}']


def test_b15_no_argument_is_logged(rabbitmq_url: str, a_worker: MakesWorkers, caplog: pytest.LogCaptureFixture) -> None:
    # Given all that a worker has to say, at every level: Go's adapter logs the arguments of every job (B15)
    caplog.set_level(logging.DEBUG)
    worker, ran = a_worker(rabbitmq_url), []

    @worker.job(max_fails=2, backoff=lambda job: 0.01)
    def pay(card: str) -> None:
        ran.append(card)
        raise ValueError("refused")

    worker.start()
    # When a job with a secret is enqueued, runs, fails and is dead
    pay.perform(card="4111-1111-1111-1111")
    until(lambda: worker.stats.buried == 1, "the burial")
    worker.stop()
    # Then the log tells of it, and not the secret
    assert ran == ["4111-1111-1111-1111"] * 2
    assert "refused" in caplog.text
    assert "4111" not in caplog.text


def test_b16_one_name_has_one_handler(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a handler: Go's adapter lets two take turns under one name, and takes an empty one (B16)
    worker, ran = a_worker(rabbitmq_url), []
    worker.register("note", lambda args: ran.append(args["n"]))
    # When another one comes under its name, or one without
    for name, said in (("note", "already"), ("", "name")):
        with pytest.raises(ValueError, match=said):
            worker.register(name, lambda args: ran.append("no"))
    # Then the first one gets all jobs
    worker.start()
    worker.perform_many([Job("note", {"n": n}) for n in range(20)])
    until(lambda: len(ran) == 20, "20 jobs")
    worker.stop()
    assert sorted(ran) == list(range(20))


def test_b17_a_message_says_whose_when_and_for_which_queue(rabbitmq_url: str, a_worker: MakesWorkers) -> None:
    # Given a job for a queue of its own: Go's adapter forgets it, and gives the message no id and no time (B17)
    namespace = new_id()
    worker, ran = a_worker(f"{rabbitmq_url}?namespace={namespace}"), list[Job]()
    # When it is enqueued
    job = Job("note", {"n": 1}, queue="urgent")
    handle = worker.perform(job)
    # Then its message carries all of it
    ((properties, body),) = got(rabbitmq_url, f"{namespace}.note")
    assert body == b'{"n":1}'
    assert (properties.message_id, properties.type, properties.app_id) == (handle.id, "note", "worksong")
    assert properties.headers["x-job-queue"] == "urgent"
    assert 0 <= properties.headers["x-job-enqueued-at"] / 1000 - properties.timestamp < 1

    # And so does the job that a handler is given
    @worker.job()
    def note(job: Job, n: int) -> None:
        ran.append(job)

    second = worker.perform(job)
    worker.start()
    until(lambda: ran, "the job")
    worker.stop()
    assert [(one.id, one.queue, one.enqueued_at > 0) for one in ran] == [(second.id, "urgent", True)]
