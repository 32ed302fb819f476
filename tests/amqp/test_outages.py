"""Workers that are killed, lines that are cut, a server that dies: nothing is lost, and what is doubled is told."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import servers
from amqp.cutter import Cutter
from amqp.server import connected
from amqp.stage import LIMIT, PATIENCE, PATIENT, MakesBackends, MakesWorkers, awaited, until
from chaos.proxy_amqp import AmqpProxy
from worksong import Job, Worker
from worksong.adapters.amqp import AmqpBackend
from worksong.domain.errors import BackendUnavailable, ConfigError, WorksongError
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.testing.contract.steps import T, a_job, beat, fetch, join, push, settle

TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(LIMIT)  # servers take long to start


def test_a_killed_worker_loses_nothing(rabbitmq_url: str, tmp_path: Path, a_worker: MakesWorkers) -> None:
    # Given jobs, and a worker process
    url, ledger = f"{rabbitmq_url}?namespace={new_id()}&{PATIENT}", tmp_path / "ledger"
    ledger.touch()
    producer = a_worker(url)
    producer.perform_many([Job("note", {"n": n}) for n in range(200)])
    environment = {**os.environ, "WORKSONG_URL": url, "AMQP_LEDGER": str(ledger), "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "worksong.faces.cli", "run", "amqp.killed_app:worker"]

    def done() -> set[str]:
        return {line for line in ledger.read_text().splitlines() if line.startswith("done ")}

    # When it is killed in the midst of them, and another one comes
    with ExitStack() as workers:

        def a_process() -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            workers.callback(process.wait)
            workers.callback(process.kill)
            return process

        first = a_process()
        until(lambda: len(done()) >= 20, "20 jobs")
        first.kill()
        first.wait()
        second = a_process()
        # Then every job was done, and only those doubled that ran when it died
        until(lambda: len(done()) == 200, "all jobs")
        second.terminate()
        assert second.wait(PATIENCE) == 0
    begun = [line for line in ledger.read_text().splitlines() if line.startswith("begun ")]
    assert len(begun) - 200 <= 8


def test_a_cut_line_is_made_anew(rabbitmq_server: servers.Broker, a_worker: MakesWorkers) -> None:
    # Given a worker behind a line that can be cut
    ran: list[int] = []
    with Cutter(rabbitmq_server.port) as line:
        worker = a_worker(f"amqp://guest:guest@127.0.0.1:{line.port}/")
        worker.register("note", lambda args: ran.append(args["n"]))
        worker.start()
        worker.perform(Job("note", {"n": 0}))
        until(lambda: ran == [0], "the first job")
        # When it is cut, again and again
        for n in range(1, 4):
            assert line.cut() > 0
            _enqueued(worker, Job("note", {"n": n}))
            # Then the next job runs all the same
            until(lambda n=n: n in ran, f"job {n}")
        worker.stop()


def test_a_line_that_died_without_a_word_is_given_up(rabbitmq_server: servers.Broker, a_worker: MakesWorkers) -> None:
    # Given a worker that waits for jobs, behind a line on which nothing passes any more: neither end was told
    ran: list[int] = []
    namespace = new_id()
    with AmqpProxy(rabbitmq_server.port) as line:
        url = f"amqp://guest:guest@127.0.0.1:{line.port}/?namespace={namespace}&timeout=60&heartbeat=1"
        worker = Worker(url)
        worker.register("note", lambda args: ran.append(args["n"]))
        worker.start()
        try:
            _enqueued(worker, Job("note", {"n": 0}))
            until(lambda: 0 in ran, "the first job")
            until(lambda: line.hush() > 0, "a line to hush")
            # When somebody else enqueues a job
            a_worker(f"{rabbitmq_server.url}?namespace={namespace}").perform(Job("note", {"n": 1}))
            # Then the worker notices by the signs of life that do not come, and runs it
            until(lambda: 1 in ran, "the second job")
        finally:
            worker.stop(0.0)


def _enqueued(worker: object, job: Job) -> None:
    """Enqueue it, as a producer does that tries again."""

    def tried() -> bool:
        try:
            worker.perform(job)
        except BackendUnavailable:
            return False
        return True

    until(tried, "the server's answer")


async def test_the_tag_of_a_dead_channel_settles_nothing(
    rabbitmq_server: servers.Broker, a_backend: MakesBackends
) -> None:
    # Given a job lent over a line that is cut
    with Cutter(rabbitmq_server.port) as line:
        backend = a_backend(f"amqp://guest:guest@127.0.0.1:{line.port}/?namespace={new_id()}")
        job, other = a_job(), a_job()
        await push(backend, job)
        pool = await join(backend)
        (old,) = await fetch(backend, pool)
        line.cut()
        # When it is lent again over the next one, with a tag that is the same
        again = await _insist(backend, pool)
        await push(backend, other)
        # Then the old receipt acknowledges nothing
        assert (again.job.id, again.receipt.tag) == (job.id, old.receipt.tag)
        assert again.receipt != old.receipt
        assert not await settle(backend, old)
        # And a beat tells whoever still runs it
        orders = await beat(backend, pool, old, again)
        assert orders.lost == (old,)
        assert await settle(backend, again)
        (last,) = await fetch(backend, pool)
        assert last.job.id == other.id


async def _insist(backend: AmqpBackend, pool: object) -> object:
    for _ in range(600):
        try:
            found = await fetch(backend, pool, wait=0.1)
        except WorksongError:
            await asyncio.sleep(0.1)
            continue
        if found:
            return found[0]
    raise AssertionError("it is not lent again")


@contextmanager
def away(server: servers.Broker) -> Iterator[None]:
    """The server is killed, and there again afterwards."""
    server.kill()
    yield
    server.start()


def test_a_killed_server_loses_nothing_that_it_confirmed(
    mortal_server: servers.Broker, a_worker: MakesWorkers, go_on: threading.Event
) -> None:
    # Given a worker, jobs that wait, jobs for later, and a producer that goes on
    ran: set[int] = set()
    namespace = new_id()
    worker = a_worker(f"{mortal_server.url}?namespace={namespace}", concurrency=5)

    @worker.job()
    def note(n: int) -> None:
        go_on.wait(PATIENCE)
        ran.add(n)

    worker.perform_many([Job("note", {"n": n}) for n in range(100)])
    worker.perform_many([Job("note", {"n": n}, run_at=time.time() + 3600.0) for n in range(10)])
    worker.start()
    # When the server is killed, and started again
    with away(mortal_server):
        with pytest.raises(BackendUnavailable):
            worker.perform(Job("note", {"n": -1}))
        go_on.set()
    for n in range(100, 110):
        _enqueued(worker, Job("note", {"n": n}))
    # Then every job that was taken in runs, or still waits for its time
    until(lambda: ran >= set(range(110)), "all jobs")
    worker.stop()
    with connected(mortal_server.url) as channel:
        waits = channel.queue_declare(f"{namespace}.note.delay.{25 << 17}", passive=True).method.message_count
    assert waits == 10


@pytest.mark.skipif(not os.environ.get("WORKSONG_RABBITMQ"), reason="a RabbitMQ that starts twice: make rabbitmq")
async def test_a_server_killed_at_once_remembers_the_queue_that_was_declared_last(
    mortal_server: servers.Broker, a_backend: MakesBackends
) -> None:
    # Given jobs that are confirmed, each the first one for its queue
    backend = a_backend(f"{mortal_server.url}?namespace={new_id()}")
    jobs = [a_job(), a_job(run_at=T + 3600)]
    await push(backend, *jobs)
    # When the server is killed in the same moment
    with away(mortal_server):
        pass

    # Then it has them
    async def there() -> bool:
        try:
            counts = await backend.counts()
        except BackendUnavailable:
            return False
        return [counts[State.QUEUED], counts[State.SCHEDULED]] == [1, 1]

    await awaited(there, "both jobs")


def test_a_wrong_password_is_told(rabbitmq_server: servers.Broker, a_worker: MakesWorkers) -> None:
    worker = a_worker(f"amqp://guest:wrong@127.0.0.1:{rabbitmq_server.port}/")
    with pytest.raises(ConfigError, match="refuses the login") as told:
        worker.perform(Job("note", {}))
    assert "wrong@" not in str(told.value)


def test_a_vhost_that_is_not_there_is_told(rabbitmq_server: servers.Broker, a_worker: MakesWorkers) -> None:
    worker = a_worker(f"amqp://guest:guest@127.0.0.1:{rabbitmq_server.port}/nothing")
    with pytest.raises(ConfigError, match="vhost"):
        worker.perform(Job("note", {}))
