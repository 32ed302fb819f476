"""Adoption: what Valet kept of a job or a pipeline, as records of ours that go on where it stopped; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from worksong.domain.outcome import Failure
from worksong.domain.record import JobRecord, KeyRecord, PipelineRecord, ResultRecord, Status
from worksong.domain.result import Result
from worksong.domain.verdict import LONGEST_WAIT
from worksong.ports.records import Record, Ref
from worksong.service.outbox import MISSING_FOR
from worksong.wire.record import encode, ref_of
from worksong.wire.valet import Misfit, Unit

REMEMBERED = 10 * 365 * 86_400.0
"""Seconds for which it is known that a unit was taken over, whatever became of its records."""
INTERRUPTED = "it was running when it was taken over from Valet"


class Running(StrEnum):
    """What becomes of jobs that ran in Valet."""

    QUEUE = "queue"
    """They run again."""
    FAIL = "fail"
    """They have failed."""
    LEAVE = "leave"
    """They, and their pipelines, are left where they are."""


class Known(NamedTuple):
    """A task of the application, as far as its jobs are concerned."""

    queue: str
    whole: bool
    """Whether it takes its parameters as one argument."""


class Tasks(Protocol):
    """Those of the application."""

    def find(self, name: str) -> Known | None: ...


class Adopted(NamedTuple):
    """What is kept of a unit."""

    unit: Unit
    records: Sequence[Record]
    """That of the whole comes first, and the mark that it was taken over last."""
    results: int
    """How many of Valet's results are among them."""
    waits: bool
    """Whether there is anything left to run."""

    @property
    def whole(self) -> Ref:
        return self.records[0].ref

    @property
    def mark(self) -> Ref:
        """What outlives the others: a unit with it is not taken over again."""
        return self.records[-1].ref

    @property
    def dropped(self) -> int:
        """Results of jobs that run again."""
        return len(self.unit.results) - self.results

    @property
    def counts(self) -> Mapping[str, int]:
        return {"jobs": len(self.unit.jobs), "pipelines": bool(self.unit.pipeline), "results": self.results}

    def misfit(self, why: str) -> Misfit:
        """The unit, as it turns out that it cannot be kept."""
        return replace(_misfit(self.unit, why), results=self.results)


class Adoption:
    """Makes records of units, at one time."""

    def __init__(
        self, tasks: Tasks, *, unit: float, running: Running, retention: float, now: float, delays: bool
    ) -> None:
        """`unit`: seconds in one of Valet's timeouts. `delays`: whether the queue keeps what is not due yet."""
        self._tasks, self._unit, self._running = tasks, unit, running
        self._until, self._now, self._delays = now + retention, now, delays

    def adopt(self, unit: Unit) -> Adopted | Misfit:
        """Its records; a misfit for what contradicts itself, or could not run here."""
        if self._running is Running.LEAVE and _runs(unit):
            return replace(_misfit(unit, "it runs in Valet"), runs=True)
        jobs = [self._job(job) for job in unit.jobs]
        try:
            pipeline = _followed(unit.pipeline, jobs) if unit.pipeline else None
            waits = not (pipeline or jobs[0]).status.ended
            if waits:
                jobs = [self._fitted(job) for job in jobs]
                self._check_due(pipeline or jobs[0])
                _check_previous(jobs, unit.results)
        except ValueError as wrong:
            return _misfit(unit, str(wrong))
        kept = _of_ended(unit.results, jobs)
        lacking = {job.id for job in jobs if job.failure_reason == INTERRUPTED} - {result.job_id for result in kept}
        failed = [_interrupted(job) for job in jobs if job.id in lacking]
        return Adopted(unit, self._records(pipeline, jobs, [*kept, *failed], waits=waits), len(kept), waits)

    def _records(
        self, pipeline: PipelineRecord | None, jobs: Sequence[JobRecord], results: Sequence[Result], *, waits: bool
    ) -> Sequence[Record]:
        """What waits counts as missing in the queue since it was created: the oldest gets there first."""
        whole = pipeline or jobs[0]
        since = min(whole.created_at or 1.0, self._now - MISSING_FOR) if waits else 0.0
        until = 0.0 if waits else self._until
        return [
            encode(whole, unsent_since=since, until=until),
            *(encode(job, until=until) for job in jobs if pipeline),
            *(encode(ResultRecord(id=one.job_id, result=one), until=until) for one in results),
            self._mark(whole),
        ]

    def _mark(self, whole: JobRecord | PipelineRecord) -> Record:
        ref = ref_of(type(whole), whole.id)
        mark = KeyRecord(id=f"valet-{ref.kind}-{ref.id}", request="", created_id=whole.id, created_at=self._now)
        return encode(mark, until=self._now + REMEMBERED)

    def _job(self, job: JobRecord) -> JobRecord:
        """What had begun, or was about to, waits again."""
        job = replace(job, timeout=job.timeout * self._unit)
        if job.status is Status.IN_PROGRESS and self._running is Running.FAIL:
            started = job.started_at or self._now
            return replace(
                job, status=Status.FAILED, started_at=started, completed_at=self._now, failure_reason=INTERRUPTED
            )
        if not job.status.ended:
            return replace(job, status=Status.PENDING, scheduled_at=0.0, started_at=0.0, completed_at=0.0)
        return replace(job, completed_at=job.completed_at or job.started_at or job.created_at)

    def _fitted(self, job: JobRecord) -> JobRecord:
        """As its task wants it; raises `ValueError` where nobody here knows that."""
        known = self._tasks.find(job.task)
        if known is None:
            raise ValueError(f"it is to run, and the application has no task {job.task!r}: add that, and import again")
        return replace(job, queue=known.queue, whole=known.whole)

    def _check_due(self, whole: JobRecord | PipelineRecord) -> None:
        if whole.due - self._now > LONGEST_WAIT:
            raise ValueError(f"run_at {whole.run_at} is more than {LONGEST_WAIT / 86400:.0f} days ahead")
        if whole.due > self._now and not self._delays:
            raise ValueError(f"run_at {whole.run_at} is ahead, and the queue keeps no jobs for later")


def _runs(unit: Unit) -> bool:
    return any(job.status is Status.IN_PROGRESS for job in unit.jobs)


def _interrupted(job: JobRecord) -> Result:
    return Result(job.id, job.completed_at, failure=Failure("", job.failure_reason))


def _of_ended(results: Sequence[Result], jobs: Sequence[JobRecord]) -> list[Result]:
    """A job that waits has none, or runs once more for a new one."""
    ended = {job.id for job in jobs if job.status.ended}
    return [result for result in results if result.job_id in ended]


def _followed(pipeline: PipelineRecord, jobs: Sequence[JobRecord]) -> PipelineRecord:
    """As far as its jobs are; raises `ValueError` where Valet says that it had ended, and they have not."""
    ended = next((job for job in jobs if job.status is Status.FAILED), None)
    through = [job for job in jobs if job.status is Status.COMPLETED]
    if list(jobs[: len(through)]) != through:
        raise ValueError("a job of it has completed, and one before that has not")
    if len(through) == len(jobs):
        ended = jobs[-1]
    if ended:
        started = pipeline.started_at or jobs[0].started_at
        return replace(pipeline, status=ended.status, started_at=started, completed_at=ended.completed_at)
    if pipeline.status.ended:
        raise ValueError(f"it is {pipeline.status.name}, and its jobs are not")
    if not through:
        return replace(pipeline, status=Status.PENDING, started_at=0.0, completed_at=0.0)
    return replace(pipeline, status=Status.IN_PROGRESS, completed_at=0.0)


def _check_previous(jobs: Sequence[JobRecord], results: Sequence[Result]) -> None:
    """What runs next is given what the job before it returned; raises `ValueError` where that is not there."""
    at = next(number for number, job in enumerate(jobs) if not job.status.ended)
    if not (jobs[at].pipeline_id and jobs[at].previous):
        return
    if at == 0:
        raise ValueError(f"its job {jobs[0].id} is to be given what the one before returned, and that is missing")
    if jobs[at - 1].id not in {result.job_id for result in results}:
        raise ValueError(f"the result of its job {jobs[at - 1].id} is missing, and the next one is to be given it")


def _misfit(unit: Unit, why: str) -> Misfit:
    kind = "pipeline" if unit.pipeline else "job"
    return Misfit(kind=kind, id=unit.id, why=why, jobs=len(unit.jobs), results=len(unit.results))
