"""What jobs that wait cost those that do not: claims from a full table beside claims from an empty one, and memory."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from bench.peer import EQUAL
from bench.results import Backlog, percentile
from bench.server import Server
from bench.system import PythonSystem
from worksong import Job
from worksong.adapters import connect
from worksong.domain.job import new_id
from worksong.domain.outcome import Done, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Pool, Want

SEED = 1000
"""Jobs of either state that are enqueued; the others are copies of them, that the database makes by itself."""
COLUMNS = "space, handler, queue, state, place, at, args, enqueued_at"
SAMPLES, WARM = 600, 50
"""Claims that are timed on each side, and those before them."""
NEVER = 400 * 86400.0
"""Seconds from now when the scheduled jobs are due."""
REST = 6.0
"""Seconds that a worker rests before its memory is looked at: it asks for due jobs many times in them."""
WAITING = "waiting"
"""The type of the jobs that wait."""


class Database(Server, Protocol):
    """A store whose jobs can be doubled within it."""

    def double(self, columns: str, mark: int) -> None:
        """Every job once more, under its id with this mark."""

    def tidy(self) -> None:
        """What the database would do some time to be at rest."""


def measure(name: str, empty: Database, full: Database, jobs: int, *, claimed: str = "claimed") -> Backlog:
    """So many jobs queued and as many scheduled, in one store; nothing at all in the other.

    `claimed` is the type of those that are claimed meanwhile; WAITING: they come from the long queue itself.
    """
    systems = {
        "empty": PythonSystem("worksong", empty, seconds=1.0),
        "full": PythonSystem("worksong", full, seconds=1.0),
    }
    for system in systems.values():
        system.prepared()
    held = _fill(full, jobs)
    print(f"{name}: {held:,} jobs queued, {held:,} scheduled", file=sys.stderr)
    claims = asyncio.run(_claims(empty.url, full.url, claimed))
    memory = {side: system.resting_memory(REST) for side, system in systems.items()}
    found = {side: {percent: percentile(took, percent) for percent in (50, 99)} for side, took in claims.items()}
    for side, took in found.items():
        print(
            f"{name}, {side}: half of the claims within {took[50]:.2f} ms, 99 % within {took[99]:.2f}; "
            f"a worker holds {memory[side]:.1f} MB",
            file=sys.stderr,
        )
    return Backlog(name=name, jobs=held, claim_ms=found, memory_mb=memory)


def _fill(full: Database, jobs: int) -> int:
    """Answers how many there are of either state: at least as many as asked for."""
    asyncio.run(seed(full.url, SEED))
    held = SEED
    while held < jobs:
        full.double(COLUMNS, held)
        held *= 2
    full.tidy()
    return held


async def seed(url: str, count: int) -> None:
    """So many jobs that wait, and as many that are scheduled."""
    backend, now = connect(url, namespace="bench"), time.time()
    for later in (0.0, now + NEVER):
        await backend.push(
            [Job(WAITING, {"number": number}, id=new_id(), run_at=later) for number in range(count)], now
        )
    await backend.close()


async def _claims(empty: str, full: str, claimed: str) -> dict[str, list[float]]:
    """Milliseconds of each, in turn, so that a drifting machine meets both."""
    pool = Pool(id="bench", handlers=(claimed,))
    sides = {"empty": connect(empty, namespace="bench"), "full": connect(full, namespace="bench")}
    for backend in sides.values():
        await backend.enlist(pool, time.time())
    found: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(WARM + SAMPLES):
        for side, backend in sides.items() if number % 2 else reversed(sides.items()):
            took = await _claim(backend, pool)
            if number >= WARM:
                found[side].append(took * 1e3)
    for backend in sides.values():
        await backend.leave(pool, time.time())
        await backend.close()
    return found


async def _claim(backend: Backend, pool: Pool) -> float:
    """Seconds in which as many jobs as were just enqueued are lent; they are settled afterwards."""
    (claimed,) = pool.handlers
    await backend.push([Job(claimed, id=new_id()) for _ in range(EQUAL)], time.time())
    want = Want(pool.id, EQUAL, 0.0, _shares(claimed))
    begun = time.perf_counter()
    lent = await backend.fetch(want, time.time())
    took = time.perf_counter() - begun
    if len(lent) != EQUAL:
        raise SystemExit(f"bench: {len(lent)} jobs were lent where {EQUAL} wait")
    await backend.settle([Settlement(delivery, Done()) for delivery in lent], time.time())
    return took


def _shares(claimed: str) -> Sequence[Share]:
    """The worker knows the type that waits by the million, too; if it claims others, it takes none of it this time."""
    return (Share(claimed, EQUAL), *([Share(WAITING, 0)] if claimed != WAITING else []))
