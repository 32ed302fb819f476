"""Background jobs for Python: one program over every backend, nothing lost."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from worksong.domain.errors import (
    BackendFull,
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    EnqueueOutcomeUnknown,
    InvalidArguments,
    JobFailed,
    NotStarted,
    PayloadTooLarge,
    RegistrationError,
    ResultLost,
    ResultTimeout,
    Stopped,
    UnknownHandler,
    Unsupported,
    WorksongError,
)

if TYPE_CHECKING:
    from worksong.domain.cron import CronError
    from worksong.domain.job import Job
    from worksong.domain.verdict import Discard, Retry, Snooze
    from worksong.engine.current import current
    from worksong.handle import Handle
    from worksong.jobtype import JobType
    from worksong.pipeline import Pipeline, PipelineHandle
    from worksong.ports.context import Context
    from worksong.worker import Worker

__all__ = [
    "BackendFull",
    "BackendRefused",
    "BackendUnavailable",
    "ConfigError",
    "Context",
    "CronError",
    "Discard",
    "EnqueueOutcomeUnknown",
    "Handle",
    "InvalidArguments",
    "Job",
    "JobFailed",
    "JobType",
    "NotStarted",
    "PayloadTooLarge",
    "Pipeline",
    "PipelineHandle",
    "RegistrationError",
    "ResultLost",
    "ResultTimeout",
    "Retry",
    "Snooze",
    "Stopped",
    "UnknownHandler",
    "Unsupported",
    "Worker",
    "WorksongError",
    "current",
]
__version__ = "0.1.0"

_LATER = {
    "Context": "worksong.ports.context",
    "CronError": "worksong.domain.cron",
    "Discard": "worksong.domain.verdict",
    "Handle": "worksong.handle",
    "Job": "worksong.domain.job",
    "JobType": "worksong.jobtype",
    "Pipeline": "worksong.pipeline",
    "PipelineHandle": "worksong.pipeline",
    "Retry": "worksong.domain.verdict",
    "Snooze": "worksong.domain.verdict",
    "Worker": "worksong.worker",
    "current": "worksong.engine.current",
}
"""Imported when first used: the command line answers `--help` without an event loop's hundred modules."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'worksong' has no attribute {name!r}")
    value = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
