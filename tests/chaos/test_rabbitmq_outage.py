"""C1, C6 on RabbitMQ: a server that is killed, that takes nothing in, that loses a queue under those who consume."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from chaos.certificates import Certify
from chaos.outage import PROCESSES, TIMEOUT, at_work, processes, waited_out
from chaos.scale import FULL, timeout
from chaos.scene import RECOVERED
from chaos.theatre import on
from chaos.theatre_rabbitmq import RabbitmqTheatre
from patience import auntil
from worksong import Job
from worksong.adapters import connect
from worksong.domain.errors import BackendFull
from worksong.domain.job import new_id

pytestmark = [
    pytest.mark.timeout(timeout(600)),
    pytest.mark.skipif(not FULL, reason="tests/amqp does the same in the small"),
]


@on("rabbitmq")
async def test_c1_an_outage_is_told_in_time_waited_out_quietly_and_costs_nothing(
    theatre: RabbitmqTheatre, tmp_path: Path, certify: Certify
) -> None:
    with processes(theatre.url, tmp_path) as workers:
        async with at_work(theatre.url, tmp_path, workers) as producer:
            figures = await waited_out(producer, workers, kill=theatre.kill, restart=theatre.restart)
    certify("C1", **figures)


@on("rabbitmq")
async def test_c6_an_alarm_and_a_deleted_queue_cost_nothing(
    theatre: RabbitmqTheatre, tmp_path: Path, certify: Certify
) -> None:
    with processes(theatre.url, tmp_path) as workers:
        async with at_work(theatre.url, tmp_path, workers) as producer:
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
            assert pressure <= TIMEOUT
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


ALLOWED = 20.0
"""Seconds that the server leaves a delivery with anybody, in place of half an hour."""
LONG = 3.5 * ALLOWED
LONG_JOBS = 10
LONG_APP = f"""
from __future__ import annotations

import asyncio
import os

from worksong import Worker

worker = Worker(name="outage", concurrency=8)
ledger = os.open("ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
begun = os.open("begun", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@worker.job()
async def note(number: int) -> None:
    os.write(begun, f"{{number}} {{os.getpid()}}\\n".encode())
    await asyncio.sleep({LONG})
    os.write(ledger, f"{{number}}\\n".encode())
"""


@on("rabbitmq")
async def test_c6_a_job_longer_than_the_server_allows_is_not_executed_twice(
    theatre: RabbitmqTheatre, tmp_path: Path, certify: Certify
) -> None:
    # Given a server that leaves a delivery with nobody for longer than a moment, and two workers that know it
    url = f"{theatre.url}&consumer_timeout={ALLOWED}"
    async with _impatient(theatre):
        with processes(url, tmp_path, LONG_APP) as workers:
            begun, done = (_Numbers(tmp_path / name) for name in ("begun", "ledger"))
            backend = connect(url, namespace="outage")
            try:
                # When jobs run for several times as long
                began = time.monotonic()
                await backend.push([Job("note", {"number": n}, id=new_id()) for n in range(LONG_JOBS)], time.time())
                await auntil(lambda: len(done()) == LONG_JOBS, "the long jobs", within=LONG + 4 * ALLOWED)
                lasted = time.monotonic() - began
                # Then each of them ran once, and nothing is left of it
                assert begun() == done() == Counter(range(LONG_JOBS))
                await auntil(theatre.disorder, met=lambda left: not left)

                # When a worker is killed that has held one for long
                await backend.push([Job("note", {"number": LONG_JOBS}, id=new_id())], time.time())
                await auntil(lambda: begun()[LONG_JOBS] == 1, "its begin")
                await asyncio.sleep(1.5 * ALLOWED)
                holder = begun.process(LONG_JOBS)
                workers.remove(dead := next(worker for worker in workers if worker.pid == holder))
                dead.end()
                killed = time.monotonic()
                # Then the other one runs it, soon
                await auntil(lambda: begun()[LONG_JOBS] == 2, "its second begin", within=RECOVERED)
                again = time.monotonic() - killed
                await auntil(lambda: done()[LONG_JOBS] == 1, "its end", within=LONG + 4 * ALLOWED)
            finally:
                await backend.close()
            # And no worker was told that it lost anything
            assert not [line for worker in workers for line in worker.lines if "took the jobs" in line]
            assert [worker.stop() for worker in workers] == [0] * (PROCESSES - 1)
    certify(
        "C6-long",
        consumer_timeout=ALLOWED,
        jobs=LONG_JOBS,
        each_ran_for=LONG,
        all_done_after=lasted,
        executed_twice=0,
        lost=0,
        after_a_kill_again_after=again,
    )


class _Numbers:
    """What the workers wrote: the number of a job at each line's begin."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self) -> Counter[int]:
        """How often each job is there."""
        return Counter(int(line.split()[0]) for line in self._lines())

    def process(self, number: int) -> int:
        """Who wrote of it."""
        return next(int(pid) for job, pid in map(str.split, self._lines()) if job == str(number))

    def _lines(self) -> list[str]:
        return self._file.read_text().splitlines() if self._file.exists() else []


@asynccontextmanager
async def _impatient(theatre: RabbitmqTheatre) -> AsyncIterator[None]:
    await theatre.patience(ALLOWED, 0.5)
    try:
        yield
    finally:
        await theatre.patience(1800.0, 60.0)


@contextmanager
def _no_memory(theatre: RabbitmqTheatre) -> Iterator[None]:
    """The server thinks that it has no memory left."""
    theatre.memory("0.000001")
    try:
        yield
    finally:
        theatre.memory("0.4")
