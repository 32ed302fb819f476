"""Jobs, pipelines and results as Valet (0.8.7) stores them: documents in Redis, rows in a database; pure.

A row is read as the document that Valet would write of it, but for its numbers of states and times in Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from worksong.domain.outcome import Failure
from worksong.domain.record import JobRecord, PipelineRecord, Status
from worksong.domain.result import Result
from worksong.wire import gotime

Document: TypeAlias = Mapping[str, Any]

JOB = (
    *("id", "pipeline_id", "next_job_id", "use_previous_results", "name", "task_name", "task_params", "timeout"),
    *("description", "status", "failure_reason", "run_at", "scheduled_at", "created_at", "started_at", "completed_at"),
)
PIPELINE = ("id", "name", "description", "status", "run_at", "created_at", "started_at", "completed_at")
RESULT = ("job_id", "metadata", "error")


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken over as a whole: a job, or a pipeline with its jobs in order; and what they returned.

    Timeouts are in Valet's unit, and a result that has no time of its own has that of its job.
    """

    jobs: Sequence[JobRecord]
    results: Sequence[Result] = ()
    pipeline: PipelineRecord | None = None

    @property
    def id(self) -> str:
        return self.pipeline.id if self.pipeline else self.jobs[0].id


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """What cannot be taken over, and why."""

    kind: str
    """job, pipeline or result."""
    id: str
    why: str
    jobs: int = 0
    """How many jobs stay with it, itself included; and results."""
    results: int = 0
    runs: bool = False
    """Whether it is left because it runs in Valet, as somebody has chosen."""


class _Job(msgspec.Struct, frozen=True):
    id: str
    task_name: str
    name: str = ""
    pipeline_id: str = ""
    next_job_id: str = ""
    use_previous_results: bool = False
    task_params: dict[str, Any] | None = None
    timeout: int = 0
    description: str = ""
    status: str | int = 0
    failure_reason: str = ""
    run_at: str | float | None = None
    scheduled_at: str | float | None = None
    created_at: str | float | None = None
    started_at: str | float | None = None
    completed_at: str | float | None = None


class _Pipeline(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    description: str = ""
    status: str | int = 0
    run_at: str | float | None = None
    created_at: str | float | None = None
    started_at: str | float | None = None
    completed_at: str | float | None = None


class _Result(msgspec.Struct, frozen=True):
    job_id: str
    metadata: Any = None
    error: str = ""


def unit_of(
    jobs: Sequence[Document],
    results: Sequence[Document],
    pipeline: Document | None = None,
    *,
    lacking: Sequence[str] = (),
) -> Unit | Misfit:
    """What belongs together; jobs of a pipeline in any order. A misfit, if any part of it cannot be read.

    `lacking`: ids of jobs that the pipeline names, and that are not there.
    """
    whole = jobs[0] if pipeline is None else pipeline
    try:
        if jobs and lacking:
            raise ValueError(f"its job {lacking[0]} is missing")
        return _unit(jobs, results, pipeline)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as wrong:
        kind = "job" if pipeline is None else "pipeline"
        why = " ".join(str(wrong).split()) or type(wrong).__name__
        return Misfit(kind=kind, id=str(whole.get("id", "")), why=why, jobs=len(jobs), results=len(results))


def _unit(jobs: Sequence[Document], results: Sequence[Document], pipeline: Document | None) -> Unit:
    if pipeline is not None and not jobs:
        raise ValueError("none of its jobs is there")
    found = [_job(job) for job in jobs]
    at = {job.id: job.completed_at or job.created_at for job in found}
    returned = [_result(result, at) for result in results]
    if pipeline is None:
        return Unit(jobs=found, results=returned)
    ordered = _in_order(found)
    return Unit(jobs=ordered, results=returned, pipeline=_pipeline(pipeline, [job.id for job in ordered]))


def _job(document: Document) -> JobRecord:
    given = msgspec.convert(document, _Job)
    run_at, due = _moment(given.run_at)
    return JobRecord(
        id=_id(given.id),
        task=given.task_name,
        name=given.name,
        description=given.description,
        params=given.task_params or None,
        timeout=given.timeout,
        pipeline_id=given.pipeline_id,
        next_id=given.next_job_id,
        previous=given.use_previous_results,
        status=_status(given.status),
        failure_reason=given.failure_reason,
        run_at=run_at,
        due=due,
        scheduled_at=_moment(given.scheduled_at)[1],
        created_at=_moment(given.created_at)[1],
        started_at=_moment(given.started_at)[1],
        completed_at=_moment(given.completed_at)[1],
    )


def _pipeline(document: Document, job_ids: Sequence[str]) -> PipelineRecord:
    given = msgspec.convert(document, _Pipeline)
    run_at, due = _moment(given.run_at)
    return PipelineRecord(
        id=_id(given.id),
        job_ids=tuple(job_ids),
        name=given.name,
        description=given.description,
        status=_status(given.status),
        run_at=run_at,
        due=due,
        created_at=_moment(given.created_at)[1],
        started_at=_moment(given.started_at)[1],
        completed_at=_moment(given.completed_at)[1],
    )


def _result(document: Document, at: Mapping[str, float]) -> Result:
    """A task may have returned both a value and an error: it has failed, and only that is kept."""
    given = msgspec.convert(document, _Result)
    failure = Failure("", given.error) if given.error else None
    value = b"null" if failure else msgspec.json.encode(given.metadata)
    return Result(given.job_id, at[given.job_id], value, failure)


def _in_order(jobs: Sequence[JobRecord]) -> list[JobRecord]:
    """As they run; raises `ValueError` where they do not follow one another."""
    known = {job.id: job for job in jobs}
    behind = {job.next_id for job in jobs}
    ordered: list[JobRecord] = []
    here = next((job for job in jobs if job.id not in behind), None)
    while here and len(ordered) < len(jobs):
        ordered.append(here)
        here = known.get(here.next_id)
    if here or len(ordered) < len(jobs) or ordered[-1].next_id:
        missing = next((job.next_id for job in jobs if job.next_id and job.next_id not in known), "")
        raise ValueError(f"its job {missing} is missing" if missing else "its jobs do not follow one another")
    return ordered


def _id(text: str) -> str:
    """As the service finds it again."""
    if str(UUID(text)) != text.lower():
        raise ValueError(f"{text!r:.80} is no UUID")
    return text


def _status(given: str | int) -> Status:
    if isinstance(given, int):
        return Status(given)
    if given not in Status.__members__:
        raise ValueError(f"{given!r:.40} is no status")
    return Status[given]


def _moment(given: str | float | None) -> tuple[str, float]:
    """The text and the Unix seconds of a time; empty and 0 for one that never came."""
    if given is None or given == "":
        return "", 0.0
    found = gotime.parse(given if isinstance(given, str) else gotime.write(given))
    return ("", 0.0) if found.is_zero else (found.text, found.at)
