"""From a job type to the one call that runs a job of it; everything that can be decided before is decided here."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

import msgspec

from worksong.domain import pipeline
from worksong.domain.errors import RegistrationError
from worksong.domain.job import Job
from worksong.domain.verdict import Policy
from worksong.engine.threads import Caller
from worksong.ports.context import Context
from worksong.ports.handler import Handler, Middleware
from worksong.registry import JobSpec, describe
from worksong.signature import Inject, Signature

Plain: TypeAlias = Callable[[Context], object]
"""A run in a thread."""


class Route(msgspec.Struct, frozen=True):
    """How jobs of one type run and what their failures mean."""

    handle: Handler
    policy: Policy
    hidden: tuple[str, ...] = ()
    """Names of arguments that listings do not show."""
    plain: Plain | None = None
    """The whole run, where that is a function in a thread and nothing else; `handle` does the same with more effort."""
    step: Handler | None = None
    """The same as `handle` for a step of a pipeline."""

    def of(self, job: Job) -> Handler:
        """How this job runs."""
        return self.step if self.step and job.meta and pipeline.META in job.meta else self.handle


def compile_route(
    spec: JobSpec,
    call: Handler,
    middleware: Sequence[Middleware],
    *,
    plain: Plain | None = None,
    onward: Middleware | None = None,
) -> Route:
    """Fold the middleware, outermost first, around the call of the handler; `onward` stands around that of steps."""
    handle = call
    for layer in reversed(middleware):
        handle = _around(layer, handle)
    step = _around(onward, handle) if onward else None
    return Route(handle, spec.options.policy(), spec.options.redact, None if middleware else plain, step)


def is_coroutine(function: Callable[..., Any]) -> bool:
    """Whether it, or an object that can be called like a function, is `async def`."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def in_loop(spec: JobSpec) -> Handler:
    """Call a coroutine function in the loop."""
    function, arguments = cast("Callable[..., Awaitable[object]]", spec.function), _arguments(spec.signature)

    async def call(context: Context) -> object:
        args, kwargs = arguments(context)
        return await function(*args, **kwargs)

    return call


def plain_call(spec: JobSpec) -> Plain:
    """Call a function where one is; a coroutine function in a loop of its own there."""
    function, arguments = spec.function, _arguments(spec.signature)
    if is_coroutine(function):
        function = partial(_run_apart, function)

    def call(context: Context) -> object:
        args, kwargs = arguments(context)
        return function(*args, **kwargs)

    return call


def in_thread(plain: Plain, threads: Caller) -> Handler:
    """Run it in a thread."""

    async def call(context: Context) -> object:
        answer = await threads.call(plain, (context,), {})
        # A plain function may hand on the coroutine of another one: decorators do.
        return await answer if answer is not None and inspect.isawaitable(answer) else answer

    return call


def _run_apart(function: Callable[..., Coroutine[Any, Any, object]], *args: Any, **kwargs: Any) -> object:
    return asyncio.run(function(*args, **kwargs))


def check_middleware(layer: Callable[..., Any]) -> Middleware:
    """Refuse what cannot stand around a handler."""
    try:
        inspect.signature(layer).bind("context", "call_next")
    except (TypeError, ValueError) as wrong:
        raise RegistrationError(
            f"middleware {describe(layer)} must take (context, call_next) and return what call_next returns: {wrong}"
        ) from wrong
    return layer


def _around(layer: Callable[..., Any], call_next: Handler) -> Handler:
    if is_coroutine(layer):
        return lambda context: layer(context, call_next)

    async def plain(context: Context) -> object:
        answer = layer(context, call_next)
        return await answer if inspect.isawaitable(answer) else answer

    return plain


def _arguments(signature: Signature) -> Callable[[Context], tuple[Sequence[Any], Any]]:
    convert = signature.call
    match signature.inject:
        case Inject.NOTHING:
            return lambda context: convert(context.job.args)
        case Inject.JOB:

            def with_job(context: Context) -> tuple[Sequence[Any], Any]:
                args, kwargs = convert(context.job.args)
                return (context.job, *args), kwargs

            return with_job
        case Inject.CONTEXT:

            def with_context(context: Context) -> tuple[Sequence[Any], Any]:
                args, kwargs = convert(context.job.args)
                return (context, *args), kwargs

            return with_context
