"""What this process's store looks like in listings, and what it knows of one job."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from operator import attrgetter
from typing import NamedTuple

from msgspec.structs import replace

from worksong.adapters.memory.store import Member, Record, Store
from worksong.domain.job import JobView, shown
from worksong.domain.lifecycle import State
from worksong.ports.backend import BusyView, Pool, PoolView, QueueView, Running, Trace
from worksong.wire import gojson

_STATE = attrgetter("state._value_")
"""As the text that it is: hashing a member of an enumeration takes several times as long."""


class Crowd(NamedTuple):
    """The jobs of a queue that wait, and how many run."""

    waiting: int
    oldest: float
    """Since when the one waits that has waited longest; infinite where none does."""
    running: int


EMPTY = Crowd(0, math.inf, 0)


def job_view(record: Record) -> JobView:
    """A job where it is."""
    return JobView(job=record.job, state=record.state, at=record.at)


def counts(store: Store) -> dict[State, int]:
    """How many jobs there are in each state."""
    found = Counter(map(_STATE, store.records.values()))
    return {state: found[state.value] for state in State if state is not State.GONE}


def queue_views(store: Store, now: float) -> list[QueueView]:
    """All queues that have jobs, in whatever state, or are paused."""
    crowds = _crowds(store)
    return [_queue_view(name, crowds.get(name, EMPTY), store, now) for name in sorted({*crowds, *store.paused})]


def _crowds(store: Store) -> dict[str, Crowd]:
    """Each job is looked at once."""
    waiting: defaultdict[str, list[float]] = defaultdict(list)
    running: Counter[str] = Counter()
    for record in store.records.values():
        queue, state = record.job.queue, record.state
        since = waiting[queue]
        if state is State.QUEUED:
            since.append(record.at)
        elif state is State.RUNNING:
            running[queue] += 1
    return {queue: Crowd(len(ats), min(ats, default=math.inf), running[queue]) for queue, ats in waiting.items()}


def _queue_view(name: str, crowd: Crowd, store: Store, now: float) -> QueueView:
    return QueueView(
        name=name,
        count=crowd.waiting,
        latency=max(0.0, now - crowd.oldest) if crowd.waiting else 0.0,
        paused=name in store.paused,
        running=crowd.running,
    )


def pool_view(member: Member) -> PoolView:
    """A pool and its last beat."""
    pool = member.pool
    return PoolView(
        id=pool.id,
        heartbeat_at=member.heartbeat_at,
        started_at=pool.started_at,
        handlers=tuple(sorted(pool.handlers)),
        concurrency=pool.concurrency,
        host=pool.host,
        pid=pool.pid,
        worker_ids=pool.worker_ids,
        told=member.told or "",
    )


def busy_view(pool: Pool, running: Running) -> BusyView:
    """What a slot of the pool runs."""
    job = running.delivery.job
    return BusyView(
        worker_id=pool.worker_ids[running.slot] if running.slot < len(pool.worker_ids) else f"{pool.id}:{running.slot}",
        pool_id=pool.id,
        handler=job.handler,
        job_id=job.id,
        started_at=running.started_at,
        args=gojson.encode(shown(job.args, running.hidden)).decode() if job.args else "",
        checkin=running.checkin,
        checkin_at=running.checkin_at,
    )


def trace_of(store: Store, job_id: str) -> Trace:
    """Where a job is, and what stands in its way."""
    crashes, _ = store.crashes.get(job_id, (0, 0.0))
    known, record = Trace(taken_in=job_id in store.once, crashes=crashes), store.records.get(job_id)
    return known if record is None else _placed(store, record, known)


def _placed(store: Store, record: Record, known: Trace) -> Trace:
    job, queued = record.job, record.state is State.QUEUED
    return replace(
        known,
        job=job_view(record),
        ahead=sum(1 for other in store.waiting(job.queue) if other.order < record.order) if queued else None,
        paused=job.queue in store.paused,
        limit=store.limits.get(job.handler, 0),
        running=store.running[job.handler],
        pool=record.pool,
        cancelled=job.id in store.cancelled,
    )
