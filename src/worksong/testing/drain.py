"""All that is due, run to the end: for tests of what comes of enqueued jobs."""

from __future__ import annotations

from worksong.engine.stats import Stats
from worksong.worker import Worker

BATCH = 100


def drain(worker: Worker) -> Stats:
    """Run what waits and what is due, and what that enqueues, until nothing is left; says what was done.

    Jobs for later and retries stay until the worker's clock says that they are due: `FakeClock.advance` turns it.
    Periodic jobs are not put on the schedule. The worker need not be started, and is not stopped.
    """
    return worker.background.call(adrain(worker))


async def adrain(worker: Worker) -> Stats:
    """`drain` for async code."""
    await _promote(worker)
    total = await _run_all(worker)
    while await _promote(worker):
        total = _sum(total, await _run_all(worker))
    return total


async def _promote(worker: Worker) -> int:
    """Queue everything that is due; answers how many."""
    moved = 0
    while found := await worker.backend().promote(worker.clock.now(), BATCH):
        moved += found
    return moved


async def _run_all(worker: Worker) -> Stats:
    engine = worker.new_engine(scheduler=False)
    await engine.start(burst=True)
    try:
        await engine.finished.wait()
    finally:
        await engine.stop(grace=0.0)
    return engine.stats


def _sum(one: Stats, other: Stats) -> Stats:
    return Stats(**{name: getattr(one, name) + getattr(other, name) for name in Stats.__struct_fields__})
