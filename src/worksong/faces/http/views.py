"""What the service tells of jobs, pipelines and results, as JSON: Valet's keys, in its order, left out when empty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from worksong.domain.record import JobRecord, PipelineRecord, reason_of
from worksong.domain.result import Result
from worksong.registry import Registry
from worksong.service.following import Event
from worksong.service.health import Health
from worksong.service.progress import Advance
from worksong.service.redaction import without_logins
from worksong.service.showing import milliseconds, shown_params
from worksong.wire.gotime import write

NOTHING = b"null"


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job. Times are RFC 3339, the duration is in milliseconds."""

    id: str
    name: str
    pipeline_id: str = ""
    next_job_id: str = ""
    use_previous_results: bool = False
    task_name: str
    task_params: dict[str, Any] | None = None
    timeout: int = 0
    description: str = ""
    status: str
    failure_reason: str = ""
    run_at: str | None = None
    scheduled_at: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    duration: int | None = None


class Pipeline(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pipeline. Its jobs are told when it is created."""

    id: str
    name: str
    description: str = ""
    jobs: list[Job] | None = None
    stages: list[int] | None = None
    """How many of its jobs run side by side, one stage after the other; left out where each runs by itself."""
    status: str
    run_at: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    duration: int | None = None


class JobResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job returned, or why it failed; of a pipeline, what the last one did, or all of the last stage."""

    job_id: str
    """Of a pipeline that failed, the job that did first; of several in the last stage, the first of them."""
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: str = ""
    lost: str = ""
    """Why the value of a job that completed is not here."""


class Jobs(msgspec.Struct, frozen=True):
    """Several jobs."""

    jobs: list[Job]


class Pipelines(msgspec.Struct, frozen=True):
    """Several pipelines."""

    pipelines: list[Pipeline]


class Tasks(msgspec.Struct, frozen=True):
    """The names of the tasks that jobs can be created for."""

    tasks: list[str]


class Condition(msgspec.Struct, frozen=True):
    """How the service is."""

    job_queue_healthy: bool
    storage_healthy: bool
    time: str
    version: str


class Trouble(msgspec.Struct, frozen=True):
    """What went wrong."""

    code: int
    """The status of the answer."""
    error: bool
    """Always true."""
    message: str


class Cause(msgspec.Struct, frozen=True):
    """A type for programs, which is stable, and a text for people."""

    type: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """What went wrong, as /api/v1 tells it."""

    error: Cause


class Page(msgspec.Struct, frozen=True):
    """Some jobs, and where the next ones begin."""

    jobs: list[Job]
    next: str | None
    """The `cursor` of the next page; null: there is none."""


class PipelinePage(msgspec.Struct, frozen=True):
    """Some pipelines, and where the next ones begin."""

    pipelines: list[Pipeline]
    next: str | None
    """The `cursor` of the next page; null: there is none."""


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the service can do its work, and what keeps it from that."""

    ready: bool
    queue: str = ""
    store: str = ""
    worker: str = ""


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data of an event of a job."""

    job: Job
    checkin: str | None = None
    """What the handler said last of its progress."""


class ToldOfPipeline(msgspec.Struct, frozen=True):
    """The data of an event of a pipeline."""

    pipeline: Pipeline
    done: int
    """How many of its jobs have succeeded."""
    total: int
    """How many it has."""
    jobs: list[Told]
    """Those that have moved since the event before, in order; in the first one all."""


class Viewer:
    """Writes records as they may be shown."""

    def __init__(self, registry: Registry, unit: float) -> None:
        """`unit`: seconds per unit of a timeout."""
        self._registry, self._unit = registry, unit

    def job(self, record: JobRecord) -> Job:
        """A job; arguments that its type redacts are hidden."""
        reason = record.failure_reason
        return Job(
            id=record.id,
            name=record.name,
            pipeline_id=record.pipeline_id,
            next_job_id=record.next_id,
            use_previous_results=record.previous,
            task_name=record.task,
            task_params=shown_params(record, self._registry),
            timeout=round(record.timeout / self._unit) if record.timeout else 0,
            description=record.description,
            status=record.status.name,
            failure_reason=without_logins(reason) if reason else "",
            run_at=record.run_at or None,
            scheduled_at=_time(record.scheduled_at),
            created_at=_time(record.created_at),
            started_at=_time(record.started_at),
            completed_at=_time(record.completed_at),
            duration=milliseconds(record),
        )

    def pipeline(self, record: PipelineRecord, jobs: Sequence[JobRecord] | None = None) -> Pipeline:
        """A pipeline, with its jobs or without."""
        return Pipeline(
            id=record.id,
            name=record.name,
            description=record.description,
            jobs=None if jobs is None else [self.job(job) for job in jobs],
            stages=[*record.widths] or None,
            status=record.status.name,
            run_at=record.run_at or None,
            created_at=_time(record.created_at),
            started_at=_time(record.started_at),
            completed_at=_time(record.completed_at),
            duration=milliseconds(record),
        )

    def event(self, event: Event) -> Told:
        """Something that has become of a job."""
        return Told(self.job(event.job), event.checkin or None)

    def advance(self, advance: Advance) -> ToldOfPipeline:
        """Something that has become of a pipeline, or of its jobs."""
        moved = [Told(self.job(moved.job), moved.checkin or None) for moved in advance.jobs]
        return ToldOfPipeline(self.pipeline(advance.pipeline), advance.done, len(advance.pipeline.job_ids), moved)


def result(found: Result) -> JobResult:
    """A result."""
    is_value = not (found.failure or found.lost) and found.value != NOTHING
    return JobResult(
        job_id=found.job_id,
        metadata=msgspec.Raw(found.value) if is_value else msgspec.UNSET,
        error=without_logins(reason_of(found)),
        lost=without_logins(found.lost),
    )


def condition(health: Health) -> Condition:
    """How the service is."""
    return Condition(not health.queue, not health.store, write(health.at), f"v{health.version}")


def _time(at: float) -> str | None:
    return write(at) if at else None
