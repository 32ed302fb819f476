"""The server is killed and away for a while: who enqueues is told at once, workers wait quietly, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.kept_server import KeptServer, kept
from chaos.proxy import Proxy
from chaos.scale import FULL
from chaos.scene import AT_ONCE, RECOVERED
from patience import auntil
from worksong import Job
from worksong.adapters import connect
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown
from worksong.enqueueing import enqueue

OUTAGE = 30.0 if FULL else 2.0
TIMEOUT = 5.0
"""Seconds: the address's default."""
CONCURRENCY = 10
PROCESSES = 2
APP = f"""
from __future__ import annotations

import os

from worksong import Worker

worker = Worker(name="outage", concurrency={CONCURRENCY})
ledger = os.open("ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@worker.job()
async def note(number: int) -> None:
    os.write(ledger, f"{{number}}\\n".encode())
"""


class Process:
    """One `worksong run`."""

    def __init__(self, url: str, directory: Path, number: int) -> None:
        self.log = directory / f"worker-{number}.log"
        environment = {**os.environ, "WORKSONG_URL": url, "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worksong", "run", "outage_app:worker"],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    @property
    def cpu(self) -> float:
        """Seconds so far, of user and system."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Producer:
    """Enqueues two hundred jobs in a second, and notes what it was told of each."""

    def __init__(self, url: str, ledger: Path) -> None:
        self._backend, self._ledger = connect(url, namespace="outage"), ledger
        self.acked: set[int] = set()
        self.refused: list[BackendUnavailable] = []
        self.longest = 0.0
        self._next = 0

    async def enqueue(self) -> int | None:
        """The job's number, if it was taken in."""
        number, self._next, began = self._next, self._next + 1, time.monotonic()
        try:
            await enqueue(self._backend, [Job("note", {"number": number})], time.time())
        except BackendUnavailable as error:
            self.refused.append(error)
            return None
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        self.acked.add(number)
        return number

    async def close(self) -> None:
        await self._backend.close()

    async def enqueue_all_the_time(self) -> None:
        while True:
            await self.enqueue()
            await asyncio.sleep(0.005)

    @property
    def runs(self) -> Counter[int]:
        """How often each job ran."""
        return Counter(map(int, self._ledger.read_text().split())) if self._ledger.exists() else Counter()

    async def one_more_runs(self) -> None:
        number = await auntil(
            self.enqueue, "an enqueueing that is taken in", met=lambda number: number is not None, within=RECOVERED
        )
        await self.until(lambda: number in self.runs)

    async def until(self, true: Callable[[], bool]) -> None:
        """What other processes write is looked at again and again."""
        await auntil(true, within=RECOVERED)


@contextmanager
def processes(url: str, directory: Path) -> Iterator[list[Process]]:
    (directory / "outage_app.py").write_text(APP)
    started = [Process(url, directory, number) for number in range(PROCESSES)]
    try:
        yield started
    finally:
        for process in started:
            process.end()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KeptServer]:
    with kept(tmp_path) as server:
        yield server


@pytest.fixture(params=["redis", "resque+redis"] if FULL else ["redis"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Of the format in which the jobs are kept."""
    chosen: str = request.param
    return chosen


@pytest.fixture
async def producer(server: KeptServer, scheme: str, tmp_path: Path) -> AsyncIterator[Producer]:
    producer = Producer(f"{scheme}://127.0.0.1:{server.port}/0", tmp_path / "ledger")
    yield producer
    await producer.close()


@pytest.mark.timeout(300)
async def test_an_outage_is_told_in_time_waited_out_quietly_and_costs_nothing(
    server: KeptServer, scheme: str, producer: Producer, tmp_path: Path, certify: Callable[..., None]
) -> None:
    with Proxy(server.port) as proxy, processes(f"{scheme}://127.0.0.1:{proxy.port}/0", tmp_path) as workers:
        # Given two workers, and somebody who enqueues
        for _ in workers:
            await producer.one_more_runs()
        await producer.until(lambda: all("outage" in "".join(worker.lines) for worker in workers))
        enqueuing = asyncio.create_task(producer.enqueue_all_the_time())
        await producer.until(lambda: len(producer.runs) > 100)
        said = [len(worker.lines) for worker in workers]
        # When the server is killed and comes back after a while
        server.kill()
        cpu, killed = [worker.cpu for worker in workers], time.monotonic()
        await asyncio.sleep(OUTAGE)
        spent = [worker.cpu - before for worker, before in zip(workers, cpu, strict=True)]
        connects = sum(1 for at in proxy.connects if at >= killed)
        await asyncio.to_thread(server.start)
        back = time.monotonic()
        await producer.one_more_runs()
        resumed = time.monotonic() - back
        enqueuing.cancel()
        await asyncio.wait([enqueuing])
        # Then everything that was taken in runs, and hardly anything twice
        await producer.until(lambda: not producer.acked - set(producer.runs))
        doubled = sum(times - 1 for times in producer.runs.values())
        assert doubled <= PROCESSES * CONCURRENCY
        # who enqueued heard in time that the server is away, or that nobody knows
        assert producer.refused
        assert producer.longest <= TIMEOUT * 1.1 + (0 if FULL else 60)
        # and the workers live, were quiet, and did not hammer at the door
        assert all(worker.alive for worker in workers)
        lines = [len(worker.lines) - before for worker, before in zip(workers, said, strict=True)]
        lasted = OUTAGE if FULL else time.monotonic() - killed
        assert max(lines) <= lasted + AT_ONCE, [worker.lines[-20:] for worker in workers]
        assert connects <= 2 * PROCESSES * (OUTAGE + AT_ONCE)
        if FULL:
            assert resumed <= 10.0
            assert max(spent) <= 0.05 * OUTAGE
        assert [worker.stop() for worker in workers] == [0] * PROCESSES
    certify(
        "C1",
        backend=f"`{scheme}://`, network and server",
        outage=OUTAGE,
        taken_in=len(producer.acked),
        lost=0,
        doubled=doubled,
        refused=len(producer.refused),
        unknown=sum(isinstance(error, EnqueueOutcomeUnknown) for error in producer.refused),
        longest_call=producer.longest,
        resumed=resumed,
        lines_per_process=max(lines),
        connects=connects,
        cpu_per_process=max(spent),
    )
