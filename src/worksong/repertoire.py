"""What a worker can run: functions that were made job types, when they fire by themselves, what stands around them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

from worksong.domain import cron
from worksong.domain.errors import ConfigError, InvalidArguments, RegistrationError
from worksong.domain.job import Args, Job
from worksong.engine.compile import check_middleware
from worksong.engine.isolation import check_importable
from worksong.jobtype import Enqueues, JobType
from worksong.middleware import expiring, limited
from worksong.ports.context import Context
from worksong.ports.handler import Middleware
from worksong.recording import Recording
from worksong.registry import JobSpec, Periodic, Registry, check_name, options_of
from worksong.signature import Signature
from worksong.wire import gojson

Sending: TypeAlias = Callable[[Sequence[Job]], AbstractContextManager[Sequence[Job]]]
"""Stands around an enqueueing, and gives the jobs as they go out."""


class Repertoire:
    """Grows while the worker runs, too: `changed` is called whenever it has."""

    def __init__(self, registry: Registry, context: type[Context], changed: Callable[[], object]) -> None:
        """`registry`: where all of it is looked up; `context`: what handlers are given that ask for one."""
        self.context = context
        self.sending: Sending = nullcontext
        self._registry, self._changed = registry, changed
        self._middleware: list[Callable[..., Any]] = []
        self._outermost: list[Middleware] = []

    def add(
        self,
        function: Callable[..., Any],
        name: str,
        given: Mapping[str, Any],
        *,
        scope: Mapping[str, Any],
        worker: Enqueues,
    ) -> JobType[..., Any, ..., Any]:
        """Make it a job type of `worker`. `given`: its options; `scope`: the local names that annotations may use."""
        if not callable(function):
            raise RegistrationError(f"handler {name!r} must be callable, not {function!r}")
        function = function.function if isinstance(function, JobType) else function
        options = options_of(name, given)
        spec = JobSpec(name, function, options, Signature(function, self.context, scope))
        if options.isolate == "process":
            check_importable(function)
        self._registry.add(spec)
        self._changed()
        return JobType(spec, worker, Job(handler=name, queue=options.queue, unique=options.unique))

    def add_periodic(self, schedule: cron.Schedule, name: str, args: Args, queue: str | None) -> None:
        """Run a job whenever the schedule says so; refused if it could not run. None: in the queue of its type."""
        check_name(name, "periodic job")
        gojson.encode(args)
        spec = self._registry.find(name)
        if spec:
            try:
                spec.signature.call(args)
            except InvalidArguments as wrong:
                raise RegistrationError(f"periodic job {name!r} could not run with args={args!r}: {wrong}") from wrong
        chosen = queue or (spec.options.queue if spec else "default")
        self._registry.add_periodic(Periodic(schedule, name, args, chosen))

    def surround(self, layer: Callable[..., Any]) -> None:
        """Put a layer around all handlers, within those that are there."""
        self._middleware.append(check_middleware(layer))
        self._changed()

    def instrument(self, sending: Sending, around: Middleware) -> None:
        """Put something around every enqueueing, and around every run outside of everything else."""
        if self._outermost:
            raise ConfigError("this worker is instrumented already")
        self.sending = sending
        self._outermost.append(check_middleware(around))
        self._changed()

    def layers(self, spec: JobSpec, now: Callable[[], float], recording: Recording | None) -> list[Callable[..., Any]]:
        """What stands around a job type, outermost first: its own limits in time are around the user's middleware."""
        options = spec.options
        limits: list[Callable[..., Any]] = []
        if options.expires is not None:
            limits.append(expiring(options.expires, now))
        if options.timeout is not None:
            limits.append(limited(options.timeout))
        return [*self._outermost, *([recording] if recording else []), *limits, *self._middleware]


def name_of(function: object) -> str:
    """Its own; empty: it has none."""
    return getattr(function, "__name__", "")


def scope_of_caller() -> dict[str, Any]:
    """The local names where a handler is registered: annotations of a function made in a function may use them."""
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == "worksong":
        frame = frame.f_back
    return dict(frame.f_locals) if frame else {}
