"""What an enqueue answers: the enqueued job, and the way to its result."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar, cast

from worksong.domain.job import Job
from worksong.enqueueing import Delay

R_co = TypeVar("R_co", covariant=True)


class Reader(Protocol):
    """Where results are."""

    def read(self, job: Job, patience: Delay | None) -> object: ...
    async def aread(self, job: Job, patience: Delay | None) -> object: ...


class Handle(Generic[R_co]):
    """An enqueued job; `R_co` is what its handler returns."""

    __slots__ = ("_reader", "job")

    def __init__(self, job: Job, reader: Reader) -> None:
        self.job, self._reader = job, reader

    @property
    def id(self) -> str:
        """The id under which lists, logs and the command line know the job."""
        return self.job.id

    def result(self, timeout: Delay | None = None) -> R_co:
        """Wait for what the handler returns, at most `timeout` (a timedelta or seconds; None: for ever).

        Raises `JobFailed` once a run has failed for good, `ResultTimeout` when none has ended in time, `ResultLost`
        when it succeeded with a value that could not be kept, `BackendUnavailable` while the store is away, and
        `Unsupported` where nobody keeps results. A job that is deleted while it waits has no result, ever.
        """
        return cast("R_co", self._reader.read(self.job, timeout))

    async def aresult(self, timeout: Delay | None = None) -> R_co:  # noqa: ASYNC109, it is the blocking one's twin
        """`result` for async code."""
        return cast("R_co", await self._reader.aread(self.job, timeout))

    def __repr__(self) -> str:
        return f"<Handle {self.job.handler} {self.job.id}>"
