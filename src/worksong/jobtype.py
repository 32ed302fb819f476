"""A decorated handler: still the plain function, and its typed way into the queue."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from msgspec.structs import replace

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job, Unique
from worksong.domain.pipeline import PREVIOUS, Step
from worksong.enqueueing import Delay
from worksong.handle import Handle
from worksong.pipeline import Planned, Sender
from worksong.ports.context import Context
from worksong.registry import JobSpec

P = ParamSpec("P")
Q = ParamSpec("Q")
H = TypeVar("H")
R = TypeVar("R")
T = TypeVar("T")
J = TypeVar("J", bound=Job | Context)
"""What is injected."""


class Enqueuer(Protocol):
    """The worker, as far as a job type knows it."""

    def perform(self, job: Job) -> Handle[Any] | None: ...
    async def aperform(self, job: Job) -> Handle[Any] | None: ...
    def perform_in(self, job: Job, delay: Delay) -> Handle[Any] | None: ...
    async def aperform_in(self, job: Job, delay: Delay) -> Handle[Any] | None: ...
    def perform_at(self, job: Job, when: datetime) -> Handle[Any] | None: ...
    async def aperform_at(self, job: Job, when: datetime) -> Handle[Any] | None: ...
    def perform_many(self, jobs: Sequence[Job]) -> list[Handle[Any] | None]: ...
    async def aperform_many(self, jobs: Sequence[Job]) -> list[Handle[Any] | None]: ...


class Enqueues(Enqueuer, Sender, Protocol):
    """The worker itself, which can do it on other connections as well, and step by step."""

    def within(self, connection: object) -> Enqueuer: ...


class JobType(Generic[P, H, Q, T]):
    """A registered handler. `P`: arguments of an enqueue; `H`: what an enqueue answers; `Q`, `T`: the plain call."""

    __name__: str

    def __init__(self, spec: JobSpec, worker: Enqueues, template: Job, enqueuer: Enqueuer | None = None) -> None:
        self.spec = spec
        self.function = cast("Callable[Q, T]", spec.function)
        self._worker, self._enqueuer, self._template = worker, enqueuer or worker, template
        functools.update_wrapper(self, spec.function)

    @property
    def name(self) -> str:
        """The name it is registered under."""
        return self.spec.name

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> T:
        """Call the handler itself, here and now."""
        return self.function(*args, **kwargs)

    def job(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """The job that `perform` would enqueue, for `perform_many`; raises `InvalidArguments`."""
        return replace(self._template, args=self.spec.signature.pack(args, kwargs))

    def perform(self, *args: P.args, **kwargs: P.kwargs) -> H:
        """Enqueue it, to run as soon as a slot is free. None: it is unique and an equal one waits already."""
        return cast("H", self._enqueuer.perform(self.job(*args, **kwargs)))

    async def aperform(self, *args: P.args, **kwargs: P.kwargs) -> H:
        """`perform` for async code."""
        return cast("H", await self._enqueuer.aperform(self.job(*args, **kwargs)))

    def perform_in(self, delay: Delay, /, *args: P.args, **kwargs: P.kwargs) -> H:
        """Enqueue it, to run after `delay` (a timedelta or seconds)."""
        return cast("H", self._enqueuer.perform_in(self.job(*args, **kwargs), delay))

    async def aperform_in(self, delay: Delay, /, *args: P.args, **kwargs: P.kwargs) -> H:
        """`perform_in` for async code."""
        return cast("H", await self._enqueuer.aperform_in(self.job(*args, **kwargs), delay))

    def perform_at(self, when: datetime, /, *args: P.args, **kwargs: P.kwargs) -> H:
        """Enqueue it, to run at `when` (with a time zone)."""
        return cast("H", self._enqueuer.perform_at(self.job(*args, **kwargs), when))

    async def aperform_at(self, when: datetime, /, *args: P.args, **kwargs: P.kwargs) -> H:
        """`perform_at` for async code."""
        return cast("H", await self._enqueuer.aperform_at(self.job(*args, **kwargs), when))

    def step(self, *args: Any, previous: bool = False, **kwargs: Any) -> Planned:
        """A step of a `Pipeline`, with these arguments; raises `InvalidArguments` at once for those that do not fit.

        `previous`: it is given what the step before returned, as its argument of that name.
        """
        if self._template.unique:
            raise InvalidArguments(f"step {self.name!r}: a unique job may be refused, and its pipeline would end there")
        if self._template.id:
            raise InvalidArguments(f"step {self.name!r}: its id is that of its place in the pipeline")
        packed = self.spec.signature.pack(args, kwargs, later=PREVIOUS if previous else "")
        return Planned(Step(self.name, packed, self._template.queue, previous), self._worker)

    @overload
    def with_options(
        self,
        *,
        unique: Unique | Literal[True],
        unique_by: Mapping[str, Any] | None = None,
        queue: str | None = None,
        id: str | None = None,
        connection: object = None,
    ) -> JobType[P, H | None, Q, T]: ...
    @overload
    def with_options(
        self,
        *,
        unique: Literal[False] | None = None,
        queue: str | None = None,
        id: str | None = None,
        connection: object = None,
    ) -> JobType[P, H, Q, T]: ...
    def with_options(
        self,
        *,
        unique: Unique | bool | None = None,
        unique_by: Mapping[str, Any] | None = None,
        queue: str | None = None,
        id: str | None = None,
        connection: object = None,
    ) -> JobType[P, Any, Q, T]:
        """The same job type with other options for the jobs enqueued through what this returns.

        `unique_by`: what makes two jobs equal, if not their arguments; a refused duplicate then renews the waiting
        job's arguments. `id`: enqueued at most once. `connection`: enqueue within the transaction of this connection to
        the backend's database, so that the job is there if and only if that commits.
        """
        job = self._template
        changed = replace(
            job,
            unique=job.unique if unique is None else (unique or None),
            unique_by=job.unique_by if unique_by is None else dict(unique_by),
            queue=queue or job.queue,
            id=id or job.id,
        )
        enqueuer = self._enqueuer if connection is None else self._worker.within(connection)
        return JobType(self.spec, self._worker, changed, enqueuer)

    def __repr__(self) -> str:
        return f"<JobType {self.name}>"


class Unasked:
    """Nobody asks for one of these: a handler that would take it takes anything first, a job or context by chance."""


class Decorate(Protocol):
    """`@worker.job(...)`: a job or context as first parameter is injected, so it is none of the enqueue's arguments.

    Handlers whose first parameter is not annotated, or takes anything, come first: their arguments are not checked.
    """

    @overload
    def __call__(
        self, function: Callable[Concatenate[Unasked, ...], Awaitable[R]], /
    ) -> JobType[..., Handle[R], ..., Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Unasked, ...], R], /) -> JobType[..., Handle[R], ..., R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[J, P], Awaitable[R]], /
    ) -> JobType[P, Handle[R], Concatenate[J, P], Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[J, P], R], /) -> JobType[P, Handle[R], Concatenate[J, P], R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> JobType[P, Handle[R], P, Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> JobType[P, Handle[R], P, R]: ...


class DecorateUnique(Protocol):
    """The same for job types that are unique by their options: an enqueue may answer None."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Unasked, ...], Awaitable[R]], /
    ) -> JobType[..., Handle[R] | None, ..., Awaitable[R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Unasked, ...], R], /
    ) -> JobType[..., Handle[R] | None, ..., R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[J, P], Awaitable[R]], /
    ) -> JobType[P, Handle[R] | None, Concatenate[J, P], Awaitable[R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[J, P], R], /
    ) -> JobType[P, Handle[R] | None, Concatenate[J, P], R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> JobType[P, Handle[R] | None, P, Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> JobType[P, Handle[R] | None, P, R]: ...
