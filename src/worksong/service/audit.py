"""The audit: records that go on although nothing in the queue belongs to them any more.

Jobs may be dropped from a queue by other hands than the service's, buried there because they killed their workers, or
lost with the queue's own data. The record learns of it by being looked after, a few at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from worksong import enqueueing
from worksong.domain.capability import Capability
from worksong.domain.chain import again, stage_of
from worksong.domain.errors import BackendRefused
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Failure
from worksong.domain.record import CANCELLED, JobRecord, Status, queued, stamped
from worksong.domain.result import Result
from worksong.engine.reminder import Reminder
from worksong.ledger import Ledger
from worksong.ports.records import After, Kind, Record, Ref
from worksong.wire.record import decode
from worksong.worker import Worker

QUIET_FOR = 60.0
"""Seconds for which nothing became of a job that is looked after."""
AT_A_TIME = 10
"""Records of each status looked after at a time: a queue may have to be searched for each."""
OPEN = (Status.IN_PROGRESS, Status.SCHEDULED, Status.PENDING)

log = logging.getLogger("worksong")


class _Round:
    """A walk through all records of one status, a few at a time, and what the walk before it found."""

    def __init__(self) -> None:
        self.last: After | None = None
        """How far it has come."""
        self.before: dict[Ref, int] = {}
        """Records of which the queue knew nothing then, and their versions."""
        self.suspects: dict[Ref, int] = {}
        """The same of this one."""

    def go_on(self, page: Sequence[Record]) -> None:
        """This page is looked after; a short one is the last."""
        if len(page) == AT_A_TIME:
            self.last = After(page[-1].created_at, page[-1].ref.id)
        else:
            self.last, self.before, self.suspects = None, self.suspects, {}


class Audit:
    """Belongs to an event loop. Two looks at which a job is nowhere make it a lost one."""

    def __init__(self, worker: Worker, ledger: Ledger) -> None:
        self._worker, self._ledger, self._clock = worker, ledger, worker.clock
        self._rounds = {status: _Round() for status in OPEN}
        self._reminder = Reminder(worker.clock)

    @property
    def possible(self) -> bool:
        """Whether the queue can say where a job is."""
        return Capability.BROWSE in self._worker.capabilities

    async def look(self) -> int:
        """Look after the next few records; answers how many were put right.

        Raises `BackendUnavailable` while the store or the queue is away.
        """
        mended = 0
        for status, walk in self._rounds.items() if self.possible else ():
            page = await self._ledger.store.listed(Kind.JOB, status=status, after=walk.last, most=AT_A_TIME)
            for record in page:
                try:
                    mended += await self._look_after(record, decode(record, JobRecord), walk)
                except BackendRefused as refusal:  # of this one, or what belongs to it: others are not to wait for it
                    self._tell(record, refusal)
            walk.go_on(page)
        return mended

    async def _look_after(self, record: Record, job: JobRecord, walk: _Round) -> bool:
        latest = max(job.created_at, job.scheduled_at, job.started_at, job.due)
        if record.unsent_since or latest > self._clock.now() - QUIET_FOR:
            return False
        view = await self._worker.backend().job(job.id)
        if view is not None:
            if view.state is not State.DEAD or await self._changed(record):
                return False
            return await self._end(job.id, Failure("", view.job.error))
        message = await self._message(job)
        if message is None or await self._changed(record):
            return False
        if walk.before.get(record.ref) == record.version:
            return await self._find(job.id, message)
        walk.suspects[record.ref] = record.version
        return False

    def _tell(self, record: Record, refusal: BackendRefused) -> None:
        if self._reminder.due(str(refusal)):
            log.error("job %s is not looked after: %s", record.ref.id, refusal)

    async def _end(self, job_id: str, failure: Failure) -> bool:
        """Whoever ended it keeps no records."""
        await self._ledger.put([Result(job_id, self._clock.now(), failure=failure)])
        return True

    async def _changed(self, record: Record) -> bool:
        """Whether something became of it while it was sought: it may have ended."""
        (now,) = await self._ledger.store.read([record.ref])
        return now is None or now.version != record.version

    async def _message(self, job: JobRecord) -> Job | None:
        """What should be in the queue for it; None: nothing yet, since others of its pipeline come first."""
        if not job.pipeline_id:
            return queued(job)
        pipeline = await self._ledger.pipeline(job.pipeline_id)
        if pipeline is None:
            return None
        jobs, number = await self._ledger.jobs_of(pipeline), pipeline.job_ids.index(job.id)
        earlier = stage_of(pipeline, number).start
        if len(jobs) < len(pipeline.job_ids) or any(one.status is not Status.COMPLETED for one in jobs[:earlier]):
            return None
        before = stage_of(pipeline, earlier - 1) if earlier else range(0)
        values = [await self._value(jobs[one].id) for one in before]
        listed = len(values) > 1 or any(jobs[one].alone for one in before)
        return again(pipeline, jobs, number, values if listed else next(iter(values), None))

    async def _value(self, job_id: str) -> object:
        """What it returned, if that is kept still."""
        found = await self._ledger.kept_result(job_id)
        return msgspec.json.decode(found.value) if found else None

    async def _find(self, job_id: str, message: Job) -> bool:
        """A queue that knows the id was told to drop the job; one that does not has lost it, and gets it again."""
        if Capability.DEDUP in self._worker.capabilities:
            await self._ledger.renew(job_id)
            (lost,) = await enqueueing.enqueue(self._worker.broker(), [stamped(message, new_id())], self._clock.now())
            if lost:
                return True
        return await self._end(job_id, Failure("Discarded", CANCELLED))
