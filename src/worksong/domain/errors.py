"""Every error worksong raises; the docstring of each is its default message.

WorksongError
├── ConfigError            (ValueError)   a URL, option or setting that cannot work
├── RegistrationError      (ConfigError)  a handler that cannot be registered
├── InvalidArguments       (ValueError)   a job that must not be enqueued
│   └── PayloadTooLarge
├── UnknownHandler         (LookupError)
├── Unsupported                           the backend cannot do it
├── NotStarted, Stopped                   the worker is not in a state for it
├── BackendUnavailable     (ConnectionError)
│   ├── EnqueueOutcomeUnknown             carries the job's id
│   └── BackendFull                       its memory or its disk has no room for more
├── BackendRefused                        the server answered, and said no
├── JobFailed                             the job's handler failed
├── ResultLost                            the job succeeded, its value could not be kept
└── ResultTimeout          (TimeoutError)
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence


class WorksongError(Exception):
    """something went wrong in worksong"""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or inspect.getdoc(type(self)) or type(self).__name__)


class ConfigError(WorksongError, ValueError):
    """the configuration cannot work"""


class RegistrationError(ConfigError):
    """the handler cannot be registered"""


class InvalidArguments(WorksongError, ValueError):
    """the job's arguments cannot be carried; nothing was enqueued"""


class PayloadTooLarge(InvalidArguments):
    """the job is larger than the backend accepts; nothing was enqueued"""


class UnknownHandler(WorksongError, LookupError):
    """no handler is registered under this name"""


class Unsupported(WorksongError):
    """the backend cannot do this"""

    def __init__(self, what: str, backend: str, instead: str) -> None:
        super().__init__(f"{backend} cannot {what}; {instead}")
        self.what, self.backend, self.instead = what, backend, instead


class NotStarted(WorksongError):
    """the worker is not yet started"""


class Stopped(WorksongError):
    """the worker is stopped; start it again or use another one"""


class BackendUnavailable(WorksongError, ConnectionError):
    """the server cannot be reached; the operation may or may not have been carried out"""


class EnqueueOutcomeUnknown(BackendUnavailable):
    """the connection broke before the answer came: the jobs may or may not be enqueued"""

    def __init__(self, job_ids: Sequence[str], cause: str = "") -> None:
        ids = ", ".join(job_ids[:3]) + (f" and {len(job_ids) - 3} more" if len(job_ids) > 3 else "")
        why = f" ({cause})" if cause else ""
        super().__init__(
            f"the connection broke before the answer came{why}: job {ids} may or may not be enqueued; "
            "look the id up before you enqueue it again; with an id of your own you may enqueue it again at once, "
            "since such an id is taken in only once"
        )
        self.job_ids = tuple(job_ids)

    @property
    def job_id(self) -> str:
        """The id of the (first) job whose fate is unknown."""
        return self.job_ids[0]


class BackendFull(BackendUnavailable):
    """the server has no room for more; nothing was carried out"""


class BackendRefused(WorksongError):
    """the server refused the operation"""


class JobFailed(WorksongError):
    """the job failed"""

    def __init__(self, message: str = "", *, type: str = "", trace: str = "") -> None:
        """`type` and `trace` of what its handler raised, where it raised."""
        super().__init__(message)
        self.type, self.trace = type, trace


class ResultLost(WorksongError):
    """the job succeeded, but its result could not be kept, or was deleted"""


class ResultTimeout(WorksongError, TimeoutError):
    """the result did not arrive in time"""
