"""Following a job: what becomes of it, told as it happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple

from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable
from worksong.domain.record import JobRecord, Status
from worksong.service import refusals
from worksong.service.redaction import without_logins
from worksong.wire.record import decode, ref_of
from worksong.worker import Worker

LOOKS_EVERY = 0.5
"""Seconds between two looks at a job, unless it ends before."""


class Event(NamedTuple):
    """Something that has become of a job."""

    id: str
    """Which one: whoever has seen it is told only of later ones."""
    kind: str
    """`status`, `progress`, or `end`, after which nothing comes."""
    job: JobRecord
    checkin: str = ""
    """What the handler said last of its progress."""


async def follow(worker: Worker, job_id: str, seen: str = "") -> AsyncGenerator[Event | None]:
    """The job as it is, unless that was `seen`, and then every change that is met with; None: nothing new just now.

    What it was meanwhile, between two looks, is not told. Raises `Missing` for one that is not there, or not any more,
    and `BackendUnavailable` at the beginning; later an outage is waited for.
    """
    assert worker.ledgers is not None
    ledger, ref, known = worker.ledgers.here(), ref_of(JobRecord, job_id), False
    version, said_at = _parsed(seen)
    while True:
        try:
            (record,) = await ledger.store.read([ref])
            if record is None:
                raise refusals.no_job(job_id)
            job, known = decode(record, JobRecord), True
            news: Event | None = None
            if record.version > version or job.status.ended:
                version, said_at = record.version, 0.0
                news = Event(f"{version}", "end" if job.status.ended else "status", job)
            elif job.status is Status.IN_PROGRESS and (said := await _said(worker, job_id)) and said[0] > said_at:
                said_at = said[0]
                news = Event(f"{version}-{said_at!r}", "progress", job, said[1])
            yield news
            if job.status.ended:
                return
            await ledger.wait_result(job_id, LOOKS_EVERY)
        except BackendUnavailable:
            if not known:
                raise
            yield None
            await worker.clock.sleep(LOOKS_EVERY)


async def _said(worker: Worker, job_id: str) -> tuple[float, str] | None:
    """When its handler checked in last, and with what; None: never, or nobody knows here."""
    if Capability.POOLS not in worker.capabilities:
        return None
    busy = next((view for view in await worker.admin.abusy() if view.job_id == job_id), None)
    return (busy.checkin_at, without_logins(busy.checkin)) if busy and busy.checkin else None


def _parsed(seen: str) -> tuple[int, float]:
    """The version and the time of a check-in in the id of an event; what is none counts as nothing seen."""
    version, _, said_at = seen.partition("-")
    try:
        return int(version[:18]), float(said_at or 0.0)
    except ValueError:
        return 0, 0.0
