"""The application that the fleets run: its handlers write the ledger, and nothing of it passes the broker.

CHAOS_LEDGER is where; CHAOS_SILENT after how many seconds a silent pool is dead, if not after the usual ones.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from chaos.ledger import Journal
from worksong import Context, Worker
from worksong.domain import retry
from worksong.engine.engine import Engine

PLACE = Path(os.environ["CHAOS_LEDGER"])
TIMERS = {
    "worksong.adapters.redis.watch": ("SILENT_FOR", "ELECTED_FOR"),
    "worksong.adapters.gocraft.reaper": ("GO_SILENT_FOR", "REPAIRED"),
    "worksong.adapters.gocraft.pulse": ("RECONCILE",),
    "worksong.adapters.resque.pulse": ("RECONCILE",),
    "worksong.adapters.sql.upkeep": ("SILENT_FOR",),
    "worksong.engine.engine": ("TRUST",),
    "worksong.engine.upkeep": ("REAP", "BEAT_EVERY"),
}
"""What decides when a silent pool is dead: module -> names. One that was renamed is an error, not a slow test."""
MIB = 1 << 20

journal = Journal(PLACE, str(os.getpid()))


class Pools:
    """The pools that this process formed."""

    current = ""


class Fleet(Worker):
    """A worker that notes every pool it forms."""

    def new_engine(self, *, scheduler: bool) -> Engine:
        tell = self.on_pool

        def note(pool: str) -> None:
            Pools.current = pool
            journal.write("P", pool)
            tell(pool)

        self.on_pool = note
        return super().new_engine(scheduler=scheduler)


def hurry(silent: float) -> None:
    """A pool is dead after so many seconds of silence, and the other timers run as much faster; 0: the default ones."""
    if not silent:
        return
    found = [(importlib.import_module(module), name) for module, names in TIMERS.items() for name in names]
    pace = silent / next(getattr(module, name) for module, name in found if name == "SILENT_FOR")
    for module, name in found:
        value = getattr(module, name)
        setattr(module, name, type(value)(value * pace))


def die_with_parent() -> None:
    """Where the kernel can: a test that is killed leaves no worker. A supervised one has its own leash."""
    if sys.platform.startswith("linux") and not any(word.startswith("--leash") for word in sys.argv):
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)


worker = Fleet("redis://localhost", name="chaos", concurrency=10)  # the URL comes from WORKSONG_URL


@worker.middleware
async def note(ctx: Context, call_next: Callable[[Context], Any]) -> Any:
    """Outermost: the lines of the ledger."""
    who = (ctx.job.id, ctx.job.attempt, Pools.current)
    journal.write("S", *who)
    try:
        value = await call_next(ctx)
    except Exception:
        journal.write("R", *who)
        raise
    journal.write("F", *who)
    return value


@worker.job()
async def work(ms: float = 0.0) -> None:
    await asyncio.sleep(ms / 1000)


@worker.job()
async def count(ctx: Context, ms: float = 0.0, previous: int | list[int] = 0) -> int:
    """One more than the step before, or than each of those."""
    await asyncio.sleep(ms / 1000)
    before = set(previous if isinstance(previous, list) else [previous])
    assert len(before) == 1, f"they do not agree: {before}"
    value = before.pop() + 1
    journal.write("V", ctx.job.id, value, Pools.current)
    return value


@worker.job()
async def mixed(_sleep_ms: float = 0.0) -> None:
    """What the Go peers run as well."""
    await asyncio.sleep(_sleep_ms / 1000)


@worker.job()
async def hold(until: str, seconds: float = 60.0) -> None:
    """Run until the file is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (PLACE / until).exists():
            return
        await asyncio.sleep(0.02)


@worker.job()
async def publish(ctx: Context, until: str) -> None:
    """Wait for the gate, then write to a resource that compares fences; even when told to stop, as stubborn code."""
    try:
        await hold(until)
    finally:
        with closing(sqlite3.connect(PLACE / "effects.db", timeout=60)) as resource_, resource_:
            changed = resource_.execute(
                "UPDATE effects SET fence = ?, times = times + 1 WHERE job = ? AND fence < ?",
                (ctx.fence, ctx.job.id, ctx.fence),
            ).rowcount
            resource_.execute(
                "INSERT INTO tries VALUES (?, ?, ?, ?)", (ctx.job.id, ctx.fence, os.getpid(), int(changed))
            )


@worker.job(isolate="process", max_fails=10, backoff=retry.fixed(0))
def gobble() -> None:
    """Take memory until there is no more, and end as the kernel ends who does."""
    (PLACE / f"gobbler-{os.getpid()}").touch()
    resource.setrlimit(resource.RLIMIT_AS, (256 * MIB, resource.RLIM_INFINITY))
    hoard: list[bytearray] = []
    try:
        while True:
            hoard.append(bytearray(8 * MIB))
    except MemoryError:
        os.kill(os.getpid(), signal.SIGKILL)


@worker.job(isolate="process")
def modest() -> int:
    return sum(bytearray(MIB))


importlib.import_module("chaos.matrix").register(worker, PLACE)
die_with_parent()
hurry(float(os.environ.get("CHAOS_SILENT", "0")))
