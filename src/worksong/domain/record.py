"""What the job service keeps of jobs and pipelines beside the queue, and how that changes; pure.

States, their names and their numbers are those of Valet's API (version 0.8.7), so that its clients go on working.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from worksong.domain.job import Args, Job
from worksong.domain.result import Result

META = "record"
"""The member of a job's meta data which says that a record is kept of it, and which message of it this is."""
MARK: Mapping[str, Any] = {META: True}
CANCELLED = "cancelled"
"""Why a job has failed that nobody wants any more."""


class Status(IntEnum):
    """How far a job or a pipeline is."""

    PENDING = 1
    SCHEDULED = 2
    """It ran, and will run again."""
    IN_PROGRESS = 3
    COMPLETED = 4
    FAILED = 5

    @property
    def ended(self) -> bool:
        return self >= Status.COMPLETED


MOVES: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.IN_PROGRESS, Status.FAILED}),
    Status.SCHEDULED: frozenset({Status.IN_PROGRESS, Status.FAILED}),
    Status.IN_PROGRESS: frozenset({Status.IN_PROGRESS, Status.SCHEDULED, Status.COMPLETED, Status.FAILED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.SCHEDULED, Status.IN_PROGRESS}),
}
"""How a job's record may go on: one in progress begins anew when its worker died, a failed one when it is retried."""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="job"):
    """A job that was created through the service. Times are Unix seconds, 0 means "not yet"."""

    id: str
    """Also that of the job in the queue."""
    task: str
    name: str = ""
    description: str = ""
    params: dict[str, Any] | None = None
    whole: bool = True
    """Whether its handler takes them as one argument `params`, as those do that `@worker.task` registers."""
    positional: list[Any] | None = None
    """Its arguments, where they have no names; a program may send such a step."""
    queue: str = "default"
    timeout: float = 0.0
    """Seconds that a run may take; 0, or less: what its job type says."""
    pipeline_id: str = ""
    next_id: str = ""
    """The job behind it in its pipeline; of several side by side, the first."""
    previous: bool = False
    """Whether it is given what the one before returned."""
    alone: bool = False
    """Whether it is all of a list in its pipeline, so that the one behind it is given a list."""
    status: Status = Status.PENDING
    run_at: str = ""
    """As it was asked for, RFC 3339."""
    due: float = 0.0
    """The same instant."""
    created_at: float = 0.0
    scheduled_at: float = 0.0
    started_at: float = 0.0
    completed_at: float = 0.0
    failure_reason: str = ""
    cancelled: bool = False
    """Nothing of it begins any more."""
    message: str = ""
    """Which message it began with. A queue that knows no ids may bring others of the same job."""


class PipelineRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="pipeline"):
    """A pipeline that was created through the service, or sent by a program whose worker keeps records."""

    id: str
    job_ids: tuple[str, ...]
    """In the order in which they run."""
    widths: tuple[int, ...] = ()
    """How many of them run side by side, stage by stage; empty: each by itself."""
    name: str = ""
    description: str = ""
    status: Status = Status.PENDING
    run_at: str = ""
    due: float = 0.0
    created_at: float = 0.0
    started_at: float = 0.0
    completed_at: float = 0.0


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="result"):
    """What a job returned, or why it failed."""

    id: str
    """The job's."""
    result: Result


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="key"):
    """An Idempotency-Key that was used."""

    id: str
    """Of the caller and what he sent as the key: a digest of both."""
    request: str
    """A digest of what was asked."""
    created_id: str
    """The job or pipeline that was created then."""
    created_at: float = 0.0


Document: TypeAlias = JobRecord | PipelineRecord | ResultRecord | KeyRecord


def queued(record: JobRecord) -> Job:
    """The job of a record that belongs to no pipeline, as it is enqueued."""
    return Job(record.task, args_of(record), record.queue, id=record.id, run_at=record.due, meta=dict(MARK))


def stamped(job: Job, message: str) -> Job:
    """The job, if a record is kept of it, as a message of its own."""
    return replace(job, meta={**job.meta, META: message}) if META in job.meta else job


def message_of(job: Job) -> str:
    """Which message of its record it is; empty: nobody said so."""
    stamp = job.meta.get(META)
    return stamp if isinstance(stamp, str) else ""


def args_of(record: JobRecord) -> Args:
    """The arguments of its job."""
    if record.positional is not None:
        return record.positional
    return {"params": record.params or {}} if record.whole else record.params


def may_begin(record: JobRecord, message: str) -> bool:
    """Whether it runs with this message: not if it is through or cancelled, nor if it began with another one."""
    return not (record.status is Status.COMPLETED or record.cancelled) and record.message in ("", message)


def is_unwanted(record: JobRecord, every: Sequence[JobRecord]) -> bool:
    """Whether it was sent on by one that was cancelled as it came to its end; `every`: all jobs of its pipeline."""
    here = next((other.id for other in every if other.next_id == record.next_id), "")
    return record.status is Status.PENDING and any(other.cancelled for other in every if other.next_id == here)


def begun(record: JobRecord, message: str, now: float) -> JobRecord:
    """It runs; again, if it has run before."""
    handed_over = record.scheduled_at or (now if record.due else 0.0)
    return replace(
        record,
        status=Status.IN_PROGRESS,
        message=message,
        scheduled_at=handed_over,
        started_at=now,
        completed_at=0.0,
        failure_reason="",
    )


def is_the_same_failure(failed: JobRecord, record: JobRecord) -> bool:
    """Whether the record is still as that failure left it."""
    return record.status is Status.FAILED and (record.started_at, record.completed_at) == (
        failed.started_at,
        failed.completed_at,
    )


def reopened(record: JobRecord, now: float) -> JobRecord:
    """It had failed, and will run once more."""
    return replace(record, status=Status.SCHEDULED, scheduled_at=now, completed_at=0.0)


def put_off(record: JobRecord, reason: str, now: float) -> JobRecord:
    """It will run again later, unless it was cancelled; `reason`: why it failed, if it did."""
    if record.cancelled:
        return cancelled(replace(record, status=Status.SCHEDULED), now)
    return replace(record, status=Status.SCHEDULED, scheduled_at=now, failure_reason=reason)


def cancelled(record: JobRecord, now: float) -> JobRecord:
    """It shall not run any more; one that runs has not ended by that."""
    if record.status is Status.IN_PROGRESS:
        return replace(record, cancelled=True)
    return replace(
        record,
        cancelled=True,
        status=Status.FAILED,
        started_at=record.started_at or now,
        completed_at=now,
        failure_reason=CANCELLED,
    )


def ended(record: JobRecord, result: Result) -> JobRecord:
    """Its last run is over. One that never ran has started when it ended; one that was cancelled has not succeeded."""
    failure = result.failure
    if record.cancelled and not failure:
        return cancelled(replace(record, status=Status.SCHEDULED), result.at)
    return replace(
        record,
        status=Status.FAILED if failure else Status.COMPLETED,
        scheduled_at=_handed_over(record),
        started_at=record.started_at or result.at,
        completed_at=result.at,
        failure_reason=reason_of(result),
    )


def _handed_over(record: JobRecord) -> float:
    """When its last run was handed over: a failure that was the last one puts off a run that never comes."""
    if record.status is not Status.SCHEDULED or not record.started_at:
        return record.scheduled_at
    return record.started_at if record.due else 0.0


def reason_of(result: Result) -> str:
    """Why it failed, in words; empty: it did not."""
    return (result.failure.message or result.failure.type or "failed") if result.failure else ""


def beside(record: PipelineRecord, job: JobRecord) -> Sequence[str]:
    """The ids of those jobs that say, together with the one that has just changed, how far the pipeline is.

    Only where jobs run side by side: there others may have failed before, or may still run in the last stage.
    """
    if not record.widths or job.status is Status.FAILED:
        return ()
    if record.status is Status.FAILED:
        return record.job_ids
    return record.job_ids[-record.widths[-1] :] if _is_last(job) else ()


def followed(record: PipelineRecord, job: JobRecord, others: Sequence[JobRecord] = ()) -> PipelineRecord:
    """The pipeline, as one of its jobs has just changed to what it is; `others`: those `beside` it."""
    if job.status is Status.FAILED:
        return replace(record, status=Status.FAILED, completed_at=job.completed_at)
    remaining = [other.status for other in others if other.id != job.id]
    if Status.FAILED in remaining:
        return record
    if _is_last(job) and all(status is Status.COMPLETED for status in remaining):
        return replace(record, status=Status.COMPLETED, completed_at=job.completed_at)
    return replace(record, status=Status.IN_PROGRESS, started_at=record.started_at or job.started_at, completed_at=0.0)


def _is_last(job: JobRecord) -> bool:
    return job.status is Status.COMPLETED and not job.next_id
