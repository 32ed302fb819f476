"""What foreign programs put into RabbitMQ's queues, and servers that are none: told with a reason, and no job is lost.

The poison corpus, queues that were declared otherwise (406) and lines that died without a word stand in `test_promises`
and `test_outages`.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from amqp.server import got, put
from amqp.stage import LIMIT, PATIENT, MakesWorkers, awaited, until
from worksong.adapters.amqp import AmqpBackend
from worksong.domain.errors import BackendUnavailable, ConfigError
from worksong.domain.job import new_id
from worksong.testing.contract.steps import a_job, push

pytestmark = pytest.mark.timeout(LIMIT)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"n":"seven"}', "n"),
        (b'{"m":7}', "m"),
        (b'{"n":7,"m":8}', "m"),
        (b"{}", "n"),
        (b'{"n":null}', "n"),
    ],
)
def test_arguments_that_do_not_fit_make_a_dead_job_that_names_them(
    rabbitmq_url: str, a_worker: MakesWorkers, body: bytes, told: str
) -> None:
    # Given a job of Go whose arguments the handler does not take, and one that it takes
    namespace, ran = new_id(), list[int]()
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}")

    @worker.job(max_fails=1)
    def count(n: int) -> None:
        ran.append(n)

    put(rabbitmq_url, f"{namespace}.count", body)
    put(rabbitmq_url, f"{namespace}.count", b'{"n":1}')
    # When a worker runs
    worker.start()
    until(lambda: worker.stats.buried == 1 and ran, "both")
    worker.stop()
    # Then the one is dead with its bytes and the argument's name, and the other one ran
    ((properties, kept),) = got(rabbitmq_url, f"{namespace}.count.dead")
    assert (kept, ran) == (body, [1])
    assert re.search(f"[`'.]{told}[`']", properties.headers["x-error-message"])


async def test_a_job_of_a_type_that_no_worker_knows_waits_untouched_and_is_told_of(
    rabbitmq_url: str, a_worker: MakesWorkers
) -> None:
    # Given a job of a type that the worker has no handler for, and one that it knows
    namespace, ran = new_id(), list[int]()
    worker = a_worker(f"{rabbitmq_url}?namespace={namespace}&handlers=strange")
    worker.register("count", lambda args: ran.append(args["n"]))
    put(rabbitmq_url, f"{namespace}.strange", b'{"n":7}', type="count")
    put(rabbitmq_url, f"{namespace}.count", b'{"n":1}', type="strange")
    # When it runs
    worker.start()
    until(lambda: ran, "the known one")
    # Then the doctor tells of the other one
    backend = AmqpBackend(f"{rabbitmq_url}?namespace={namespace}&handlers=strange&{PATIENT}")

    async def told() -> bool:
        findings = await backend.examine(time.time())
        return any("strange" in finding.detail for finding in findings if finding.id.startswith("jobs."))

    await awaited(told, "the doctor's word")
    await backend.close()
    await worker.astop()
    # And it waits as it was: the queue says what a job is, whatever its message says of itself
    assert ran == [1]
    assert [body for _, body in got(rabbitmq_url, f"{namespace}.strange")] == [b'{"n":7}']


@contextmanager
def answering(words: bytes) -> Iterator[int]:
    """A port whose server says this to whoever greets it, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            while True:
                try:
                    client, _ = door.accept()
                except OSError:
                    return
                with client:
                    client.recv(8)
                    client.sendall(words)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)
        thread.join(60.0)


@pytest.mark.parametrize(
    "words",
    [b"AMQP\x01\x01\x08\x00", b"AMQP\x01\x01\x00\x09", b"AMQP\x00\x01\x00\x00"],
    ids=["0-8", "0-9", "1.0"],
)
async def test_a_server_that_speaks_another_version_of_the_protocol_is_told_of(words: bytes) -> None:
    # Given a server that answers a greeting with the version that it wants instead
    with answering(words) as port:
        backend = AmqpBackend(f"amqp://guest:guest@127.0.0.1:{port}/?namespace=a&timeout=60")
        # When a job is enqueued, then it is a mistake in the configuration, and the mend is told
        with pytest.raises(ConfigError, match=r"AMQP 0-9-1.*upgrade"):
            await push(backend, a_job())
        await backend.close()


async def test_what_answers_and_is_no_broker_is_told_of() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        backend = AmqpBackend(f"amqp://guest:guest@127.0.0.1:{port}/?namespace=a&timeout=60")
        with pytest.raises((ConfigError, BackendUnavailable), match=f"127.0.0.1:{port}"):
            await push(backend, a_job())
        await backend.close()
