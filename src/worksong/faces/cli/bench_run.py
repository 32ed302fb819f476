"""What `bench` measures, and how."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from queue import SimpleQueue

import msgspec

from worksong.adapters import connect
from worksong.domain.errors import WorksongError
from worksong.domain.job import Job, new_id
from worksong.engine.leash import Report
from worksong.engine.stats import Stats
from worksong.engine.supervisor import Supervisor
from worksong.faces.cli import bench_jobs
from worksong.faces.cli.progress import progress
from worksong.faces.cli.sweep import sweep
from worksong.faces.cli.target import VARIABLE, in_namespace
from worksong.ports.clock import SystemClock
from worksong.worker import Worker

BULK = 1000
SAMPLE = 500
"""Jobs that are enqueued one by one."""
PINGS, PING_SECONDS = 300, 4.0
"""Latency is sampled so often, and for so long, at most."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure."""

    url: str
    jobs: int
    concurrency: int
    processes: int
    sync: bool


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    enqueue_rate: float
    single_rate: float
    drain_rate: float
    latencies: Sequence[float]
    """Sorted, in seconds."""

    def latency(self, percent: int) -> float:
        """So many percent of the samples took no longer."""
        return self.latencies[min(len(self.latencies) - 1, len(self.latencies) * percent // 100)]


class Crew:
    """Several worker processes, and how long they were at it."""

    def __init__(self, plan: Plan, worker: Worker) -> None:
        self._backend = connect(worker.url, namespace=worker.name)
        self._supervisor = Supervisor(
            _command(plan, worker),
            plan.processes,
            backend=self._backend,
            clock=SystemClock(),
            grace=1.0,
            burst=True,
            hear=self._hear,
        )
        self._begun = self._ended = 0.0

    def work(self) -> tuple[int, float]:
        """(jobs done, seconds from the first process that fetched to the last that ended)."""
        stats = asyncio.run(self._work())
        return stats.done, self._ended - self._begun

    async def _work(self) -> Stats:
        try:
            return await self._supervisor.run()
        finally:
            await self._backend.close()

    def _hear(self, report: Report) -> None:
        self._ended = time.perf_counter()
        self._begun = self._begun or self._ended


def measure(plan: Plan, *, show: bool) -> Figures:
    """Carry out the plan in a namespace of its own, and leave nothing behind."""
    worker = bench_jobs.make(sync=plan.sync)
    name = f"worksong-bench-{new_id()[:8]}"
    worker.connect(in_namespace(plan.url, name), name=name)
    worker.concurrency = plan.concurrency
    crew = Crew(plan, worker) if plan.processes > 1 else None
    try:
        single, bulk = _enqueue(plan, worker, show=show)
        done, seconds = crew.work() if crew else _drain(plan, worker, show=show)
        if done < plan.jobs:
            raise WorksongError(f"only {done:,} of {plan.jobs:,} jobs ran: there is nothing to measure")
        latencies = _ping(worker)
    finally:
        asyncio.run(sweep(worker.url, worker.name))
    return Figures(enqueue_rate=bulk, single_rate=single, drain_rate=done / seconds, latencies=latencies)


def _enqueue(plan: Plan, worker: Worker, *, show: bool) -> tuple[float, float]:
    """(one by one, in bulk), in jobs per second."""
    jobs = [Job(name) for name in itertools.islice(itertools.cycle(bench_jobs.NAMES), plan.jobs)]
    few = min(SAMPLE, plan.jobs // 10)
    with progress("enqueueing", plan.jobs, show=show) as advance:
        started = time.perf_counter()
        for job in jobs[:few]:
            worker.perform(job)
        between = time.perf_counter()
        for first in range(few, plan.jobs, BULK):
            advance(first)
            worker.perform_many(jobs[first : first + BULK])
        ended = time.perf_counter()
    return few / (between - started), (plan.jobs - few) / (ended - between)


def _drain(plan: Plan, worker: Worker, *, show: bool) -> tuple[int, float]:
    """(jobs done, seconds) of one process, with all that `worksong run --burst` does."""
    with progress("draining", plan.jobs, show=show) as advance, _watched(worker, advance):
        started = time.perf_counter()
        stats = worker.run(burst=True)
        return stats.done, time.perf_counter() - started


@contextlib.contextmanager
def _watched(worker: Worker, advance: Callable[[int], None]) -> Generator[None]:
    """Tell ten times a second how many jobs were done."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            advance(worker.stats.done)

    thread = threading.Thread(target=watch, name="worksong-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _ping(worker: Worker) -> list[float]:
    """Seconds from an enqueue to the start of the job, on a worker that has nothing else to do."""
    heard: SimpleQueue[float] = SimpleQueue()
    worker.register("bench_ping", lambda: heard.put(time.perf_counter()))
    worker.start()
    try:
        first = time.perf_counter()
        taken: list[float] = []
        while len(taken) < PINGS and time.perf_counter() - first < PING_SECONDS:
            asked = time.perf_counter()
            worker.perform(Job("bench_ping"))
            taken.append(heard.get(timeout=30.0) - asked)
    finally:
        worker.stop()
    return sorted(taken)


def _command(plan: Plan, worker: Worker) -> list[str]:
    os.environ[VARIABLE] = worker.url
    app = f"{bench_jobs.__name__}:{'in_threads' if plan.sync else 'in_loop'}"
    command = [sys.executable, "-m", "worksong.faces.cli", "run", app, "--burst", f"--namespace={worker.name}"]
    return [*command, f"--concurrency={plan.concurrency}", f"--processes={plan.processes}"]
