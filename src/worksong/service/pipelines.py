"""What a console shows of the pipelines that the job service created: each as far as its records tell."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from worksong.domain.chain import stage_of
from worksong.domain.errors import InvalidArguments
from worksong.domain.record import JobRecord, PipelineRecord, Status
from worksong.ledger import Ledger
from worksong.ports.records import After
from worksong.service.redaction import without_logins

PAGE = 50
WORDS = {
    Status.PENDING: "pending",
    Status.SCHEDULED: "scheduled",
    Status.IN_PROGRESS: "in progress",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
}
STATUSES = (Status.PENDING, Status.IN_PROGRESS, Status.COMPLETED, Status.FAILED)
"""Those of pipelines."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline, or a job of one. Times are Unix seconds, 0 means "not yet"."""

    id: str
    name: str
    """What its creator calls it; empty: nothing."""
    description: str
    status: str
    due: float
    created_at: float
    started_at: float
    completed_at: float
    task: str = ""
    """A job: its type."""
    failure: str = ""
    """A job: why it failed last."""
    done: int = 0
    """A pipeline: how many of its jobs have succeeded."""
    total: int = 0
    """A pipeline: how many it has."""

    def took(self, now: float) -> float | None:
        """Seconds from its start to its end, or until now; None: it has not begun."""
        return max(0.0, (self.completed_at or now) - self.started_at) if self.started_at else None


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """A page of pipelines, the oldest first."""

    pipelines: list[Line]
    next: str
    """What the page behind it begins after; empty: there is none."""


async def some_pipelines(ledger: Ledger, status: str, after: str) -> Lines:
    """A page of the pipelines of a status, empty for all; `after`: as the page before names it."""
    found = await ledger.pipelines(_status(status), after=_after(after), most=PAGE + 1)
    shown = found[:PAGE]
    every = await ledger.entries.all(JobRecord, [job_id for pipeline in shown for job_id in pipeline.job_ids])
    jobs = {job.id: job for job in every if job}
    lines = [_line(pipeline, [jobs[known] for known in pipeline.job_ids if known in jobs]) for pipeline in shown]
    more = f"{shown[-1].created_at!r}:{shown[-1].id}" if len(found) > PAGE else ""
    return Lines(pipelines=lines, next=more)


async def one_pipeline(ledger: Ledger, pipeline_id: str) -> tuple[Line, list[list[Line]]] | None:
    """A pipeline and its jobs, stage by stage: those of one run side by side. None: no record of it is kept."""
    pipeline = await ledger.pipeline(pipeline_id) if pipeline_id else None
    if pipeline is None:
        return None
    jobs = await ledger.jobs_of(pipeline)
    place = {job_id: stage_of(pipeline, number).start for number, job_id in enumerate(pipeline.job_ids)}
    stages = itertools.groupby(jobs, key=lambda job: place[job.id])
    return _line(pipeline, jobs), [[_job_line(job) for job in stage] for _, stage in stages]


def _line(pipeline: PipelineRecord, jobs: Sequence[JobRecord]) -> Line:
    done = sum(job.status is Status.COMPLETED for job in jobs)
    return _told(pipeline, done=done, total=len(pipeline.job_ids))


def _job_line(job: JobRecord) -> Line:
    return _told(job, task=job.task, failure=without_logins(job.failure_reason))


def _told(record: JobRecord | PipelineRecord, **more: Any) -> Line:
    """What is told of both alike, and more."""
    return Line(
        id=record.id,
        name=record.name,
        description=record.description,
        status=WORDS[record.status],
        due=record.due,
        created_at=record.created_at,
        started_at=record.started_at,
        completed_at=record.completed_at,
        **more,
    )


def _status(text: str) -> Status | None:
    """Raises `InvalidArguments`."""
    if not text:
        return None
    found = next((status for status in STATUSES if WORDS[status] == text), None)
    if found is None:
        known = ", ".join(WORDS[status] for status in STATUSES)
        raise InvalidArguments(f"no pipelines are {text[:40]!r}: there are {known}")
    return found


def _after(text: str) -> After | None:
    """Where a page begins; anything else than what a page named means the first one."""
    at, colon, record_id = text.partition(":")
    try:
        created_at = float(at)
    except ValueError:
        return None
    return After(created_at, record_id) if colon and 0 < created_at < 1e12 else None
