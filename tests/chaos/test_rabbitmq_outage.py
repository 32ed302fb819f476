"""C1, C6 on RabbitMQ: a server that is killed, that takes nothing in, that loses a queue under those who consume."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from chaos.certificates import Certify
from chaos.scale import FULL, timeout
from chaos.test_network_outage import AT_ONCE, CONCURRENCY, OUTAGE, PROCESSES, TIMEOUT, Process, Producer, processes
from chaos.theatre import on
from chaos.theatre_rabbitmq import RabbitmqTheatre
from worksong.domain.errors import BackendFull, EnqueueOutcomeUnknown

pytestmark = [
    pytest.mark.timeout(timeout(600)),
    pytest.mark.skipif(not FULL, reason="tests/amqp does the same in the small"),
]


@on("rabbitmq")
async def test_c1_an_outage_is_told_in_time_waited_out_quietly_and_costs_nothing(
    theatre: RabbitmqTheatre, tmp_path: Path, certify: Certify
) -> None:
    with processes(theatre.url, tmp_path) as workers:
        async with _working(theatre, tmp_path, workers) as producer:
            # Given two workers, and somebody who enqueues
            said, cpu = [len(worker.lines) for worker in workers], [worker.cpu for worker in workers]
            enqueuing = asyncio.create_task(producer.enqueue_all_the_time())
            await producer.until(lambda: len(producer.runs) > 100)

            # When the server is killed and comes back after a while
            await theatre.kill()
            killed, cpu = time.monotonic(), [worker.cpu for worker in workers]
            await asyncio.sleep(OUTAGE)
            spent = [worker.cpu - before for worker, before in zip(workers, cpu, strict=True)]
            await theatre.restart()
            lasted, back = time.monotonic() - killed, time.monotonic()
            await producer.one_more_runs()
            resumed = time.monotonic() - back
            enqueuing.cancel()
            await asyncio.wait([enqueuing])

            # Then everything that was taken in runs, and hardly anything twice
            await producer.until(lambda: not producer.acked - set(producer.runs))
            doubled = sum(times - 1 for times in producer.runs.values())
            assert doubled <= PROCESSES * CONCURRENCY
            # who enqueued heard in time, and the workers were quiet
            assert producer.refused
            assert producer.longest <= TIMEOUT * 1.1
            assert all(worker.alive for worker in workers)
            lines = [len(worker.lines) - before for worker, before in zip(workers, said, strict=True)]
            assert max(lines) <= lasted + AT_ONCE, [worker.lines[-20:] for worker in workers]
            assert resumed <= 10.0
            assert max(spent) <= 0.05 * OUTAGE
            assert [worker.stop() for worker in workers] == [0] * PROCESSES
    certify(
        "C1",
        outage=lasted,
        taken_in=len(producer.acked),
        lost=0,
        doubled=doubled,
        refused=len(producer.refused),
        unknown=sum(isinstance(error, EnqueueOutcomeUnknown) for error in producer.refused),
        longest_call=producer.longest,
        resumed=resumed,
        lines_per_process=max(lines),
        cpu_per_process=max(spent),
    )


@on("rabbitmq")
async def test_c6_an_alarm_and_a_deleted_queue_cost_nothing(
    theatre: RabbitmqTheatre, tmp_path: Path, certify: Certify
) -> None:
    with processes(theatre.url, tmp_path) as workers:
        async with _working(theatre, tmp_path, workers) as producer:
            # Given two workers, and somebody who enqueues
            enqueuing = asyncio.create_task(producer.enqueue_all_the_time())
            await producer.until(lambda: len(producer.runs) > 100)

            # When the server has an alarm on
            with _no_memory(theatre):
                began = time.monotonic()
                await producer.until(lambda: bool(producer.refused))
                pressure = time.monotonic() - began
                await producer.until(lambda: any(isinstance(error, BackendFull) for error in producer.refused))
            enqueuing.cancel()
            await asyncio.wait([enqueuing])

            # Then who enqueues hears so, and what was taken in runs
            began = time.monotonic()
            await producer.one_more_runs()
            over = time.monotonic() - began
            await producer.until(lambda: not producer.acked - set(producer.runs))
            assert pressure <= TIMEOUT * 1.1
            assert not [job for job, times in producer.runs.items() if times > 1]

            # When the queue is deleted under those who consume, then it is there again for the next job
            deleted = []
            for _ in range(5):
                await theatre.delete("note")
                began = time.monotonic()
                await producer.one_more_runs()
                deleted.append(time.monotonic() - began)
            assert max(deleted) <= 5.0
            assert all(worker.alive for worker in workers)
            assert [worker.stop() for worker in workers] == [0] * PROCESSES
    certify(
        "C6",
        taken_in=len(producer.acked),
        lost=0,
        doubled=0,
        refused=len(producer.refused),
        back_pressure_after=pressure,
        longest_call=producer.longest,
        alarm_over_after=over,
        queues_deleted=len(deleted),
        declared_again_after=max(deleted),
    )


@asynccontextmanager
async def _working(theatre: RabbitmqTheatre, place: Path, workers: list[Process]) -> AsyncIterator[Producer]:
    """Both workers are at work; the producer ends however the scene does."""
    producer = Producer(theatre.url, place / "ledger")
    try:
        for _ in workers:
            await producer.one_more_runs()
        await producer.until(lambda: all("outage" in "".join(worker.lines) for worker in workers))
        yield producer
    finally:
        await producer.close()


@contextmanager
def _no_memory(theatre: RabbitmqTheatre) -> Iterator[None]:
    """The server thinks that it has no memory left."""
    theatre.memory("0.000001")
    try:
        yield
    finally:
        theatre.memory("0.4")
