"""What a service answers, as data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from worksong.domain.errors import BackendRefused

T = TypeVar("T")


class Status(StrEnum):
    """How far a job or a pipeline is."""

    PENDING = "PENDING"
    SCHEDULED = "SCHEDULED"
    """It ran, and will run again."""
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED)


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """Times carry their zone; None: not yet, or not asked for."""

    id: str
    name: str
    status: Status
    description: str = ""
    run_at: datetime | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration: int | None = None
    """Milliseconds, of what has ended."""


class Job(_Record, frozen=True, kw_only=True):
    """A job, as it was when the service answered."""

    task_name: str
    task_params: Mapping[str, Any] = {}
    timeout: int = 0
    failure_reason: str = ""
    pipeline_id: str = ""
    next_job_id: str = ""
    use_previous_results: bool = False
    scheduled_at: datetime | None = None


class Pipeline(_Record, frozen=True, kw_only=True):
    """A pipeline, as it was when the service answered."""

    jobs: tuple[Job, ...] = ()
    """In order; empty where the service tells none, as in lists."""
    stages: tuple[int, ...] = ()
    """How many of its jobs run side by side, one stage after the other; empty: each by itself."""


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has changed, or whose handler has said something."""

    job: Job
    checkin: str = ""
    """What its handler said last of its progress, if that is new."""


class JobEvent(Moved, frozen=True, kw_only=True):
    """Something that has become of a job."""

    kind: str = ""
    """`status`, `progress`, or `end`, after which nothing comes."""


class PipelineEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has become of a pipeline, or of its jobs."""

    kind: str = ""
    """`status` of the pipeline, `progress` of its jobs, or `end`, after which nothing comes."""
    pipeline: Pipeline
    done: int
    """How many of its jobs have succeeded."""
    total: int
    jobs: tuple[Moved, ...]
    """Those that have moved since the event before, in order; in the first one all."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some jobs, the oldest first."""

    jobs: tuple[Job, ...]
    next: str | None = None
    """What to ask the next page with; None: there is none."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A result."""

    job_id: str
    """Whose."""
    metadata: Any = None
    error: str = ""
    lost: str = ""


class Jobs(msgspec.Struct, frozen=True):
    """Several jobs."""

    jobs: tuple[Job, ...]


class Tasks(msgspec.Struct, frozen=True):
    """The names of tasks."""

    tasks: tuple[str, ...]


def read(body: bytes, kind: type[T]) -> T:
    """What a body says; raises `BackendRefused` for one that no service of this kind wrote."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        raise BackendRefused(f"the answer is none of a job service ({wrong}); is the URL right?") from None


class _Cause(msgspec.Struct):
    message: str = ""


class _Trouble(msgspec.Struct):
    """As Valet tells it, and as /api/v1 does."""

    message: str = ""
    error: _Cause | bool = True


def text_of(body: bytes) -> str:
    """Why something was refused, in the service's words; empty when it said nothing that can be read."""
    try:
        said = msgspec.json.decode(body, type=_Trouble)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return said.message if isinstance(said.error, bool) else said.error.message
