"""OpenTelemetry: a trace goes on from whoever enqueues a job to its runs, and from each step of a pipeline to the next.

Needs the extra `otel`, and an SDK in the application that says where the spans go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from worksong.domain.errors import ConfigError
from worksong.domain.job import Job
from worksong.domain.verdict import Verdict
from worksong.engine.trace import told
from worksong.ports.context import Context
from worksong.ports.handler import Handler
from worksong.worker import Worker

try:
    from opentelemetry import trace
    from opentelemetry.context import Context as Origin
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as missing:
    raise ConfigError(f"tracing needs the package {missing.name!r}: pip install 'worksong[otel]'") from missing

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

Attributes = dict[str, str | int]

W3C = TraceContextTextMapPropagator()


def instrument(worker: Worker, *, tracer_provider: TracerProvider | None = None, same_trace: bool = True) -> None:
    """Trace what this worker enqueues and runs. Once for a worker, in every process that has it.

    `tracer_provider`: None: the application's own. `same_trace`: a run belongs to the trace of whoever enqueued its
    job; False: each run begins a trace of its own, with a link to that one. Enqueueing is traced within a span only.
    """
    tracing = _Tracing(trace.get_tracer("worksong", tracer_provider=tracer_provider), same_trace=same_trace)
    worker.instrument(sending=tracing.sending, around=tracing.around)


class _Tracing:
    """The span of an enqueueing, and that of a run."""

    def __init__(self, tracer: trace.Tracer, *, same_trace: bool) -> None:
        self._tracer, self._same_trace = tracer, same_trace

    @contextlib.contextmanager
    def sending(self, jobs: Sequence[Job]) -> Generator[Sequence[Job]]:
        """The jobs as they go out: with where they come from in their meta data."""
        if not _are_jobs(jobs) or not trace.get_current_span().get_span_context().is_valid:
            yield jobs
            return
        with self._tracer.start_as_current_span(
            f"send {_named(jobs)}", kind=trace.SpanKind.PRODUCER, attributes=_sent(jobs)
        ):
            carrier = _carrier()
            yield [replace(job, meta={**job.meta, **carrier}) for job in jobs]

    async def around(self, context: Context, call_next: Handler) -> object:
        """The run, and whatever becomes of it."""
        job = context.job
        origin = W3C.extract({name: text for name, text in job.meta.items() if isinstance(text, str)}, Origin())
        sender = trace.get_current_span(origin).get_span_context()
        with self._tracer.start_as_current_span(
            f"process {job.handler}",
            context=origin if self._same_trace else Origin(),
            kind=trace.SpanKind.CONSUMER,
            links=[trace.Link(sender)] if sender.is_valid else [],
            attributes=_run(job),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            context.hand_on(_carrier())
            try:
                value = await call_next(context)
            except BaseException as failure:
                _ended(span, failure)
                raise
            _ended(span, value)
            return value


def _ended(span: Span, ending: object) -> None:
    """A verdict is an ending as good as any; what else was raised is an error."""
    if isinstance(ending, Verdict):
        span.set_attribute("worksong.job.verdict", type(ending).__name__.lower())
    elif isinstance(ending, BaseException):
        failure = told(ending)
        kind = type(ending)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        span.set_attribute("error.type", name)
        span.set_status(trace.StatusCode.ERROR, failure.message)
        span.add_event(
            "exception",
            {"exception.type": name, "exception.message": failure.message, "exception.stacktrace": failure.trace},
        )


def _carrier() -> dict[str, str]:
    """`traceparent`, and `tracestate` where there is one, of the span that is active."""
    found: dict[str, str] = {}
    W3C.inject(found)
    return found


def _are_jobs(jobs: Sequence[Job]) -> bool:
    """What is none is refused by enqueueing, in better words."""
    return bool(jobs) and all(isinstance(job, Job) and isinstance(job.handler, str) for job in jobs)


def _named(jobs: Sequence[Job]) -> str:
    names = {job.handler for job in jobs}
    return names.pop() if len(names) == 1 else f"{len(names)} job types"


def _sent(jobs: Sequence[Job]) -> Attributes:
    said: Attributes = {
        "messaging.system": "worksong",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    queues = {job.queue for job in jobs}
    if len(queues) == 1:
        said["messaging.destination.name"] = queues.pop()
    if len(jobs) > 1:
        said["messaging.batch.message_count"] = len(jobs)
    elif jobs[0].id:
        said["messaging.message.id"] = jobs[0].id
    return said


def _run(job: Job) -> Attributes:
    return {
        "messaging.system": "worksong",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": job.queue,
        "messaging.message.id": job.id,
        "worksong.job.handler": job.handler,
        "worksong.job.attempt": job.attempt,
    }
