"""Following a job: what becomes of it, told as it happens."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable
from worksong.domain.record import JobRecord, Status
from worksong.ledger import Ledger
from worksong.ports.backend import BusyView
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


class Follower:
    """Follows jobs for whoever asks. Belongs to an event loop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._busy: Mapping[str, BusyView] = {}
        """By id, the jobs that run and say how far they are; looked at for all who follow one."""
        self._looked_at = -math.inf

    async def follow(self, job_id: str, seen: str = "") -> AsyncGenerator[Event | None]:
        """The job as it is, unless that was `seen`, and then every change that is met with; None: nothing new just now.

        What it was meanwhile, between two looks, is not told. Raises `Missing` for one that is not there, or not any
        more, and `BackendUnavailable` at the beginning; later an outage is waited for.
        """
        ledger, known, stale = _ledger(self._worker), False, False
        version, said_at = _parsed(seen)
        while True:
            try:
                event = await self._look(job_id, version, said_at)
                known = True
                if event:
                    version, said_at = _parsed(event.id)
                yield event
                if event and event.kind == "end":
                    return
                if stale:  # the result is there, and the job goes on: what is kept is of a run before
                    await self._worker.clock.sleep(LOOKS_EVERY)
                stale = await ledger.wait_result(job_id, LOOKS_EVERY) is not None
            except BackendUnavailable:
                if not known:
                    raise
                yield None
                await self._worker.clock.sleep(LOOKS_EVERY)

    async def _look(self, job_id: str, version: int, said_at: float) -> Event | None:
        """What is new since this version of its record, and since this check-in."""
        (record,) = await _ledger(self._worker).store.read([ref_of(JobRecord, job_id)])
        if record is None:
            raise refusals.no_job(job_id)
        job = decode(record, JobRecord)
        if record.version > version or job.status.ended:
            return Event(f"{record.version}", "end" if job.status.ended else "status", job)
        said = (await self._said()).get(job_id) if job.status is Status.IN_PROGRESS else None
        if said and said.checkin and said.checkin_at > said_at:
            return Event(f"{version}-{said.checkin_at!r}", "progress", job, without_logins(said.checkin))
        return None

    async def _said(self) -> Mapping[str, BusyView]:
        """What running jobs said last; nothing where nobody knows."""
        now = self._worker.clock.monotonic()
        if Capability.POOLS in self._worker.capabilities and now - self._looked_at >= LOOKS_EVERY:
            self._looked_at = now
            self._busy = {view.job_id: view for view in await self._worker.admin.abusy()}
        return self._busy


def _ledger(worker: Worker) -> Ledger:
    assert worker.ledgers is not None
    return worker.ledgers.here()


def _parsed(seen: str) -> tuple[int, float]:
    """The version and the time of a check-in in the id of an event; what is none counts as nothing seen."""
    version, _, said_at = seen.partition("-")
    try:
        return int(version[:18]), float(said_at or 0.0)
    except ValueError:
        return 0, 0.0
