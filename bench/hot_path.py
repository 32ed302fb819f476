"""The engine's own cost: CPU microseconds per async no-op job on memory://, the fetch and settle included.

    python bench/hot_path.py [--jobs N] [--concurrency N] [--sync] [--url U] [--runs N]

Enqueueing is not counted. The figure is the median of the runs; what the process used in all threads counts.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from worksong import Job, Worker

NAMES = 10


def worker_for(url: str, concurrency: int, *, sync: bool) -> Worker:
    """A worker with ten no-op job types."""
    worker = Worker(url, name="hot-path", concurrency=concurrency)

    async def nothing() -> None: ...

    def nothing_plain() -> None: ...

    for number in range(NAMES):
        worker.register(f"noop_{number}", nothing_plain if sync else nothing)
    return worker


async def one_run(worker: Worker, jobs: int) -> tuple[float, float]:
    """(CPU microseconds per job, jobs per second) of draining."""
    await worker.aperform_many([Job(f"noop_{number % NAMES}") for number in range(jobs)])
    cpu, wall = time.process_time(), time.perf_counter()
    await worker.astart(burst=True)
    engine = worker._shift.engine
    assert engine is not None
    await engine.finished.wait()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert engine.stats.done == jobs, engine.stats
    await worker.astop()
    worker._shift.ended = False
    return cpu / jobs * 1e6, jobs / wall


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--url", default="memory://")
    parser.add_argument("--sync", action="store_true")
    options = parser.parse_args()
    worker = worker_for(options.url, options.concurrency, sync=options.sync)
    figures = []
    for _ in range(options.runs):
        figures.append(asyncio.run(one_run(worker, options.jobs)))
        print(f"{figures[-1][0]:6.2f} us CPU per job   {figures[-1][1]:9.0f} jobs/s")
    cpu = statistics.median(figure[0] for figure in figures)
    rate = statistics.median(figure[1] for figure in figures)
    print(f"median {cpu:.2f} us CPU per job, {rate:.0f} jobs/s ({options.url}, concurrency {options.concurrency})")


if __name__ == "__main__":
    main()
