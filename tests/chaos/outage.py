"""A server that is killed and away: two workers, somebody who enqueues all the time, and what must hold of both."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Set
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

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
    def pid(self) -> int:
        return self._process.pid

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
def processes(url: str, directory: Path, app: str = APP) -> Iterator[list[Process]]:
    """`app`: what its `worker` is."""
    (directory / "outage_app.py").write_text(app)
    started = [Process(url, directory, number) for number in range(PROCESSES)]
    try:
        yield started
    finally:
        for process in started:
            process.end()


@asynccontextmanager
async def at_work(url: str, place: Path, workers: list[Process]) -> AsyncIterator[Producer]:
    """Both workers are at work; the producer ends however the scene does."""
    producer = Producer(url, place / "ledger")
    try:
        for _ in workers:
            await producer.one_more_runs()
        await producer.until(lambda: all("outage" in "".join(worker.lines) for worker in workers))
        yield producer
    finally:
        await producer.close()


async def nothing() -> Set[int]:
    """What most servers lose by themselves."""
    return frozenset()


async def waited_out(
    producer: Producer,
    workers: list[Process],
    *,
    kill: Callable[[], Awaitable[object]],
    restart: Callable[[], Awaitable[object]],
    lost: Callable[[], Awaitable[Set[int]]] = nothing,
) -> dict[str, float]:
    """Kill the server under load, and have it come back; answers what a certificate tells of that.

    `lost`: numbers of jobs that the server itself has lost, asked once it is back.
    """
    # Given two workers, and somebody who enqueues
    enqueuing = asyncio.create_task(producer.enqueue_all_the_time())
    await producer.until(lambda: len(producer.runs) > 100)
    said = [len(worker.lines) for worker in workers]
    # When the server is killed and comes back after a while
    await kill()
    cpu, killed = [worker.cpu for worker in workers], time.monotonic()
    await asyncio.sleep(OUTAGE)
    spent = [worker.cpu - before for worker, before in zip(workers, cpu, strict=True)]
    await restart()
    back = time.monotonic()
    await producer.one_more_runs()
    resumed = time.monotonic() - back
    enqueuing.cancel()
    await asyncio.wait([enqueuing])
    # Then everything that was taken in runs, and hardly anything twice
    missing = await lost()
    await producer.until(lambda: not producer.acked - set(producer.runs) - missing)
    doubled = sum(times - 1 for times in producer.runs.values())
    assert doubled <= PROCESSES * CONCURRENCY
    # who enqueued heard in time that the server is away, or that nobody knows
    assert producer.refused
    assert producer.longest <= TIMEOUT * 1.1 + (0 if FULL else 60)
    # and the workers live, and were quiet
    lasted = (back if FULL else time.monotonic()) - killed
    assert all(worker.alive for worker in workers)
    lines = [len(worker.lines) - before for worker, before in zip(workers, said, strict=True)]
    assert max(lines) <= lasted + AT_ONCE, [worker.lines[-20:] for worker in workers]
    if FULL:
        assert resumed <= 10.0
        assert max(spent) <= 0.05 * OUTAGE
    assert [worker.stop() for worker in workers] == [0] * PROCESSES
    return {
        "outage": lasted,
        "taken_in": len(producer.acked),
        "lost": 0,
        "doubled": doubled,
        "refused": len(producer.refused),
        "unknown": sum(isinstance(error, EnqueueOutcomeUnknown) for error in producer.refused),
        "longest_call": producer.longest,
        "resumed": resumed,
        "lines_per_process": max(lines),
        "cpu_per_process": max(spent),
    }
