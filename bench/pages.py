"""How long the pages of the web console take with many jobs: `python -m bench.pages [JOBS] [URL ...]`.

No HTTP server and no browser: what is measured is the page itself, asked for in process, as fast as it can be had.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx2
from msgspec.structs import replace

from worksong import Worker
from worksong.domain.job import Job, new_id
from worksong.domain.outcome import Buried, Retried, Settlement
from worksong.domain.turns import Share
from worksong.faces.web import Console
from worksong.ports.backend import Backend, Beat, Pool, Running, Want

JOBS = 100_000
ASKED = 40
"""How often each page is asked for; once more before."""
BAR = 100.0
"""Milliseconds that 95 of 100 pages may take at most."""
CHUNK = 1000
FAILED = 2_000
"""Jobs that are dead, and as many that wait for another try."""
HANDLERS = tuple(f"handler_{number:02}" for number in range(20))
PAGES = {
    "overview": "/",
    "queues": "/queues",
    "queued": "/jobs?state=queued",
    "queued, page 900": "/jobs?state=queued&page=900",
    "scheduled": "/jobs?state=scheduled",
    "dead": "/jobs?state=dead",
    "search": "/jobs?state=dead&q=args.user_id:7",
    "job": "/job?id=dead-7",
    "workers": "/workers",
    "cron": "/cron",
    "errors": "/errors",
}


def main(arguments: Sequence[str]) -> int:
    """Print a table for each store; 1 when a page takes longer than the bar."""
    jobs = int(arguments[0]) if arguments else JOBS
    with tempfile.TemporaryDirectory() as place:
        urls = arguments[1:] or ("memory://", f"sqlite:///{Path(place)}/jobs.db")
        slow = [name for url in urls for name in asyncio.run(_measured(url, jobs))]
    sys.stdout.write(f"slower than {BAR:.0f} ms: {', '.join(slow) or 'none'}\n")
    return 1 if slow else 0


async def _measured(url: str, jobs: int) -> list[str]:
    """Pages that are too slow on this store."""
    worker = Worker(url, name=f"pages-{new_id()}")
    slow: list[str] = []
    try:
        await _fill(worker.backend(), jobs)
        sys.stdout.write(f"{worker.url.partition('://')[0]}, {jobs:,} jobs: p50 and p95 in ms\n")
        transport = httpx2.ASGITransport(Console(worker, patience=600.0), client=("127.0.0.1", 50000))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:4747") as browser:
            for name, path in PAGES.items():
                middle, high = await _timed(browser, path)
                sys.stdout.write(f"  {name:20} {middle:8.1f} {high:8.1f}\n")
                slow += [f"{name} ({worker.url.partition('://')[0]}, {high:.0f} ms)"] if high > BAR else []
    finally:
        await worker.backend().erase()
        await worker.backend().close()
    return slow


async def _timed(browser: httpx2.AsyncClient, path: str) -> tuple[float, float]:
    """Milliseconds: half of the pages take no longer, and 95 of 100."""
    took: list[float] = []
    for _ in range(ASKED + 1):
        began = time.perf_counter()
        answer = await browser.get(path)
        took.append((time.perf_counter() - began) * 1e3)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
    return statistics.median(took[1:]), statistics.quantiles(took[1:], n=20)[-1]


async def _fill(backend: Backend, jobs: int) -> None:
    """Dead and retrying ones first, then those that wait, for now or for later; and a pool that is busy."""
    now = time.time()
    await _failed(backend, [replace(job, id=f"dead-{n}") for n, job in enumerate(_some(FAILED, now))], now, dead=True)
    await _failed(backend, list(_some(FAILED, now)), now, dead=False)
    pool = _pool(25)
    await backend.enlist(pool, now)
    await backend.push(list(_some(25, now)), now)
    lent = await backend.fetch(Want(pool.id, 25, 0.0, tuple(Share(name, 25) for name in HANDLERS)), now)
    running = tuple(Running(delivery, slot, now, checkin="3/10", checkin_at=now) for slot, delivery in enumerate(lent))
    await backend.beat(Beat(pool, running, tuple(lent)), now)
    later = max(0, jobs - 2 * FAILED - 25) // 5
    await _pushed(backend, (replace(job, run_at=now + 3600 + n) for n, job in enumerate(_some(later, now))), now)
    await _pushed(backend, _some(max(0, jobs - 2 * FAILED - 25 - later), now), now)


async def _failed(backend: Backend, jobs: Sequence[Job], now: float, *, dead: bool) -> None:
    pool = _pool(1)
    await backend.enlist(pool, now)
    for start in range(0, len(jobs), CHUNK):
        part = jobs[start : start + CHUNK]
        await backend.push(part, now)
        want = Want(pool.id, len(part), 0.0, tuple(Share(name, len(part)) for name in HANDLERS))
        lent = await backend.fetch(want, now)
        error = "Traceback (most recent call last):\nLookupError: order {} is unknown".format
        ends = [Buried(error(n)) if dead else Retried(now + 3600 + n, error(n)) for n, _ in enumerate(lent)]
        await backend.settle([Settlement(job, end) for job, end in zip(lent, ends, strict=True)], now)
    await backend.leave(pool, now)


async def _pushed(backend: Backend, jobs: Iterator[Job], now: float) -> None:
    part: list[Job] = []
    for job in jobs:
        part.append(job)
        if len(part) == CHUNK:
            await backend.push(part, now)
            part = []
    if part:
        await backend.push(part, now)


def _some(count: int, now: float) -> Iterator[Job]:
    for number in range(count):
        handler = HANDLERS[number % len(HANDLERS)]
        args = {"user_id": number % 1000, "path": f"images/{number}.png", "width": 1280}
        yield Job(handler, args, f"queue-{number % 8}", id=new_id(), enqueued_at=now - 60)


def _pool(slots: int) -> Pool:
    workers = tuple(new_id() for _ in range(slots))
    return Pool(id=new_id(), handlers=HANDLERS, concurrency=slots, worker_ids=workers, host="web-1", pid=4711)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
