"""What this process's store looks like in listings."""

from __future__ import annotations

from worksong.adapters.memory.store import Member, Record
from worksong.domain.job import JobView, shown
from worksong.ports.backend import BusyView, Pool, PoolView, Running
from worksong.wire import gojson


def job_view(record: Record) -> JobView:
    """A job where it is."""
    return JobView(job=record.job, state=record.state, at=record.at)


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
