"""Why a job is not running: decided from facts that somebody gathered."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import assert_never

import msgspec

from worksong.domain.job import Job
from worksong.domain.lifecycle import State

PROMOTED_WITHIN = 5.0
"""Seconds after which a due job should be in its queue: a worker looks at least so often."""


class Reason(StrEnum):
    """Why it does not run; stable, for scripts."""

    NOT_FOUND = "not_found"
    ENDED = "ended"
    """Its id was taken in, and it is there no more."""
    UNREADABLE = "unreadable"
    PAUSED = "paused"
    NO_WORKER = "no_worker"
    """No worker lives at all."""
    UNSERVED = "unserved"
    """Workers live, and none knows its type."""
    AT_LIMIT = "at_limit"
    """As many jobs of its type run as may, over all workers."""
    ALL_BUSY = "all_busy"
    WAITING = "waiting"
    """Nothing is in its way but the jobs before it."""
    SCHEDULED = "scheduled"
    RETRY = "retry"
    DUE = "due"
    OVERDUE = "overdue"
    """Due for a while, and nobody has put it into its queue."""
    DEAD = "dead"
    RUNNING = "running"
    CANCELLING = "cancelling"
    """It runs, and was told to stop."""
    ABANDONED = "abandoned"
    """Lent to a worker that gives no sign of life."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found out about a job and those who could run it. Times are Unix seconds by the store's clock."""

    now: float
    state: State | None = None
    """None: it is nowhere."""
    job: Job | None = None
    at: float = 0.0
    """As in a listing: when it is due, died, started or began to wait."""
    unreadable: str = ""
    """What is wrong with its document."""
    ahead: int | None = None
    """Queued: how many go first in its queue; None: not known."""
    queue: str = ""
    """What `pause` and `resume` call its queue: where a job type is the queue, the type."""
    paused: bool = False
    limit: int = 0
    running: int = 0
    """How many of its type run, over all workers; told where there is a limit."""
    pools: int = 0
    """How many pools live."""
    serving: int = 0
    """How many of them know its type."""
    slots: int = 0
    """How many jobs at once those can run."""
    busy: int = 0
    """How many they do run."""
    pool: str = ""
    """Running: who holds it."""
    worker: str = ""
    alive: bool = True
    """Whether the pool that holds it lives."""
    started_at: float = 0.0
    checkin: str = ""
    checkin_at: float = 0.0
    cancelled: bool = False
    taken_in: bool = False
    """Whether the id was enqueued as an id of the caller's own."""
    crashes: int = 0
    """How many workers died with it lately."""


def reasons(facts: Facts) -> tuple[Reason, ...]:
    """What keeps it from running, the foremost first; never empty."""
    match facts.state:
        case None | State.GONE:
            return (Reason.ENDED if facts.taken_in else Reason.NOT_FOUND,)
        case State.QUEUED:
            return tuple(_queued(facts)) or (Reason.WAITING,)
        case State.SCHEDULED | State.RETRY:
            return (_timed(facts), *_unserved(facts))
        case State.RUNNING:
            return (_running(facts),)
        case State.DEAD:
            return (Reason.DEAD,)
        case _:
            assert_never(facts.state)


def _queued(facts: Facts) -> Iterator[Reason]:
    if facts.unreadable:
        yield Reason.UNREADABLE
    if facts.paused:
        yield Reason.PAUSED
    yield from _unserved(facts)
    if facts.limit and facts.running >= facts.limit:
        yield Reason.AT_LIMIT
    if facts.serving and facts.busy >= facts.slots:
        yield Reason.ALL_BUSY


def _unserved(facts: Facts) -> Iterator[Reason]:
    if not facts.pools:
        yield Reason.NO_WORKER
    elif not facts.serving:
        yield Reason.UNSERVED


def _timed(facts: Facts) -> Reason:
    if facts.at > facts.now:
        return Reason.RETRY if facts.state is State.RETRY else Reason.SCHEDULED
    return Reason.OVERDUE if not facts.pools or facts.now - facts.at > PROMOTED_WITHIN else Reason.DUE


def _running(facts: Facts) -> Reason:
    if not facts.alive:
        return Reason.ABANDONED
    return Reason.CANCELLING if facts.cancelled else Reason.RUNNING
