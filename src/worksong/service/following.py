"""Following jobs and pipelines: what becomes of them, told as it happens."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple, Protocol, TypeVar

from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable
from worksong.domain.record import JobRecord, Status
from worksong.ledger import Ledger
from worksong.ports.backend import BusyView
from worksong.service import refusals
from worksong.service.progress import Advance, Progress
from worksong.service.redaction import without_logins
from worksong.wire.record import decode, ref_of
from worksong.worker import Worker

LOOKS_EVERY = 0.5
"""Seconds between two looks at a job or a pipeline, unless it ends before."""


class Event(NamedTuple):
    """Something that has become of a job."""

    id: str
    """Which one: whoever has seen it is told only of later ones."""
    kind: str
    """`status`, `progress`, or `end`, after which nothing comes."""
    job: JobRecord
    checkin: str = ""
    """What the handler said last of its progress."""


E_co = TypeVar("E_co", Event, Advance, covariant=True)


class Sight(Protocol[E_co]):
    """What one follower sees of one job or pipeline."""

    async def look(self) -> E_co | None:
        """What is new since the last look; raises `Missing` when it is gone."""
        ...

    async def wait(self, seconds: float) -> bool:
        """Until it ends, so long at most; whether it has."""
        ...


class Follower:
    """Follows jobs and pipelines for whoever asks. Belongs to an event loop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._busy: Mapping[str, BusyView] = {}
        """By id, the jobs that run and say how far they are; looked at for all who follow one."""
        self._looked_at = -math.inf

    def follow(self, job_id: str, seen: str = "") -> AsyncGenerator[Event | None]:
        """The job as it is, unless that was `seen`, and then every change that is met with; None: nothing new just now.

        What it was meanwhile, between two looks, is not told. Raises `Missing` for one that is not there, or not any
        more, and `BackendUnavailable` at the beginning; later an outage is waited for.
        """
        return self._told(_JobInSight(self, self._ledger, job_id, seen))

    def follow_pipeline(self, pipeline_id: str, seen: str = "") -> AsyncGenerator[Advance | None]:
        """The same of a pipeline with its jobs."""
        return self._told(Progress(self._ledger, self.said, pipeline_id, seen))

    async def _told(self, sight: Sight[E_co]) -> AsyncGenerator[E_co | None]:
        known = stale = False
        while True:
            try:
                event = await sight.look()
                known = True
                yield event
                if event and event.kind == "end":
                    return
                if stale:  # it has ended, and goes on: what is kept is of a run before
                    await self._worker.clock.sleep(LOOKS_EVERY)
                stale = await sight.wait(LOOKS_EVERY)
            except BackendUnavailable:
                if not known:
                    raise
                yield None
                await self._worker.clock.sleep(LOOKS_EVERY)

    async def said(self) -> Mapping[str, BusyView]:
        """What running jobs said last, by id; nothing where nobody knows."""
        now = self._worker.clock.monotonic()
        if Capability.POOLS in self._worker.capabilities and now - self._looked_at >= LOOKS_EVERY:
            self._looked_at = now
            self._busy = {view.job_id: view for view in await self._worker.admin.abusy()}
        return self._busy

    @property
    def _ledger(self) -> Ledger:
        assert self._worker.ledgers is not None
        return self._worker.ledgers.here()


class _JobInSight:
    """A job, for one who follows it."""

    def __init__(self, follower: Follower, ledger: Ledger, job_id: str, seen: str) -> None:
        self._follower, self._ledger, self._id = follower, ledger, job_id
        self._version, self._said_at = _parsed(seen)

    async def look(self) -> Event | None:
        (record,) = await self._ledger.store.read([ref_of(JobRecord, self._id)])
        if record is None:
            raise refusals.no_job(self._id)
        job = decode(record, JobRecord)
        if record.version > self._version or job.status.ended:
            self._version, self._said_at = record.version, 0.0
            return Event(f"{record.version}", "end" if job.status.ended else "status", job)
        said = (await self._follower.said()).get(self._id) if job.status is Status.IN_PROGRESS else None
        if said and said.checkin and said.checkin_at > self._said_at:
            self._said_at = said.checkin_at
            return Event(f"{self._version}-{said.checkin_at!r}", "progress", job, without_logins(said.checkin))
        return None

    async def wait(self, seconds: float) -> bool:
        return await self._ledger.wait_result(self._id, seconds) is not None


def _parsed(seen: str) -> tuple[int, float]:
    """The version and the time of a check-in in the id of an event; what is none counts as nothing seen."""
    version, _, said_at = seen.partition("-")
    try:
        return int(version[:18]), float(said_at or 0.0)
    except ValueError:
        return 0, 0.0
