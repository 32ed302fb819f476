"""The part of an examination that any store can have: what its listings show to be standing still."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from worksong.domain.capability import Capability
from worksong.domain.finding import Ailment, Finding, Severity, some, verdict
from worksong.domain.lifecycle import State
from worksong.ports.backend import Inspector, PoolView, Window
from worksong.ports.cargo import Cargo

LOST_AFTER = 60.0
"""Seconds without a beat after which a pool should long have been reaped."""
OVERDUE_FOR = 30.0
LOOKED_AT = 1000
"""Jobs of a listing that are looked at."""

PAUSED = Ailment(
    "queues.paused",
    Severity.INFO,
    "Queues are paused: nothing of them starts.",
    "worksong resume NAME",
)
UNSERVED = Ailment(
    "jobs.unserved",
    Severity.WARNING,
    "Jobs wait, and no live worker knows their type.",
    "worksong run APP, with an app that registers them; or worksong purge NAME",
)
OVERDUE = Ailment(
    "jobs.overdue",
    Severity.WARNING,
    "Scheduled or retry jobs are due, and nobody puts them into their queues.",
    "worksong run APP: every worker does it; if one runs, its log says what fails",
)
SILENT = Ailment(
    "pools.silent",
    Severity.WARNING,
    "Worker pools are registered that give no sign of life, and nobody takes their jobs back.",
    "worksong doctor --fix, or start a worker: it takes them back within half a minute",
    fixable=True,
)
ORPHANS = Ailment(
    "jobs.orphaned",
    Severity.WARNING,
    "Jobs are in progress in pools that nobody has registered, and run nowhere.",
    "worksong doctor --fix; a running worker takes them back within three minutes",
    fixable=True,
)
"""For stores that can tell; how, is theirs."""
ASIDE = Ailment(
    "jobs.aside",
    Severity.WARNING,
    "Jobs lie aside for a move to another store, and nobody runs them: if no move is under way, one was interrupted.",
    "worksong move, from here to where they were moved: it goes on",
)
AILMENTS = (PAUSED, UNSERVED, OVERDUE, SILENT, ORPHANS, ASIDE)


class Patient(Inspector, Cargo, Protocol):
    """What is visited."""


async def visit(inspector: Patient, capabilities: Collection[Capability], now: float) -> list[Finding]:
    """Every check that the capabilities allow; `now` by the store's clock."""
    found: list[Finding] = []
    if Capability.BROWSE in capabilities and Capability.PAUSE in capabilities:
        found += verdict("queues", "No queue is paused.", await paused(inspector, now))
    if Capability.POOLS in capabilities:
        pools = await inspector.pools()
        found += verdict("pools", "Every registered pool gives signs of life.", silent(pools, now))
        if Capability.BROWSE in capabilities:
            apart = Capability.QUEUES in capabilities
            found += verdict(
                "jobs.served",
                "Every job that waits has a worker that knows it.",
                await unserved(inspector, pools, now, apart=apart),
            )
    if Capability.BROWSE in capabilities:
        found += verdict("jobs.due", "Nothing is overdue.", await overdue(inspector, now))
    if Capability.MOVE in capabilities:
        found += verdict("jobs.moved", "No job lies aside for a move.", await aside(inspector, now))
    return found


async def paused(inspector: Inspector, now: float) -> list[Finding]:
    """Queues from which nothing is lent."""
    names = [f"{queue.name} ({queue.count:,} waiting)" for queue in await inspector.queues(now) if queue.paused]
    return [PAUSED.found(some(names))] if names else []


def silent(pools: Sequence[PoolView], now: float) -> list[Finding]:
    """Pools that should have been reaped."""
    names = [f"{pool.id} on {pool.host or 'an unknown host'}" for pool in pools if not alive(pool, now, LOST_AFTER)]
    return [SILENT.found(some(names))] if names else []


def alive(pool: PoolView, now: float, patience: float) -> bool:
    """Whether it beat within `patience` seconds."""
    return now - pool.heartbeat_at < patience


async def unserved(inspector: Inspector, pools: Sequence[PoolView], now: float, *, apart: bool) -> list[Finding]:
    """Types that wait for a worker; where queues stand `apart` from types, those of the oldest jobs."""
    if apart:
        waiting = {view.job.handler for view in await inspector.jobs(State.QUEUED, Window(LOOKED_AT))}
    else:
        waiting = {queue.name for queue in await inspector.queues(now) if queue.count}
    living = [pool for pool in pools if alive(pool, now, LOST_AFTER)]
    lonely = sorted(waiting - {name for pool in living for name in pool.handlers})
    who = f"of {len(living)} live pools none knows" if living else "no worker lives; waiting are"
    return [UNSERVED.found(f"{who} {some(lonely)}")] if lonely else []


async def overdue(inspector: Inspector, now: float) -> list[Finding]:
    """Jobs whose time has come and gone."""
    late: list[float] = []
    for state in (State.SCHEDULED, State.RETRY):
        views = await inspector.jobs(state, Window(LOOKED_AT))
        late += [now - view.at for view in views if now - view.at > OVERDUE_FOR]
    if not late:
        return []
    count = f"{len(late):,}{' or more' if len(late) >= LOOKED_AT else ''}"
    return [OVERDUE.found(f"{count} overdue, the oldest for {max(late):,.0f} seconds")]


async def aside(cargo: Cargo, now: float) -> list[Finding]:
    """What a move has taken out, and not yet brought to where it goes."""
    load = await cargo.load(State.QUEUED, passed=0, most=0, destination="", now=now)
    return [ASIDE.found(f"{len(load.parcels):,} jobs, on their way to {load.destination}")] if load else []
