"""A trace goes on where the job does: into its runs, into the jobs that these enqueue, from step to step."""

from __future__ import annotations

import builtins
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tracing.collector import PATIENCE, attributes, collecting
from worksong import ConfigError, Discard, InvalidArguments, Job, Pipeline, Snooze, Worker
from worksong.domain.job import new_id
from worksong.testing import drain
from worksong.tracing import instrument

APP = Path(__file__).with_name("traced_app.py")


class Traced:
    """A worker in memory, and the spans of it."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.worker = Worker(name="traced")
        instrument(self.worker, tracer_provider=self.provider, **options)

    def enqueue(self, *jobs: Job) -> None:
        """Within a span of the application."""
        with self.provider.get_tracer("shop").start_as_current_span("checkout"):
            self.worker.perform_many(jobs)

    def spans(self) -> dict[str, ReadableSpan]:
        """By their names, once all jobs are through."""
        drain(self.worker)
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def traced() -> Traced:
    return Traced()


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def of(span: ReadableSpan) -> int:
    assert span.context
    return span.context.span_id


def linked(span: ReadableSpan) -> Sequence[int]:
    return [link.context.span_id for link in span.links]


# one process


def test_a_run_is_a_child_of_the_enqueueing_and_linked_to_it(traced: Traced) -> None:
    # Given a job that was enqueued within a span
    traced.worker.register("ship", lambda: None)
    traced.enqueue(Job("ship", queue="low"))
    # When it has run
    spans = traced.spans()
    # Then its trace leads from the application to the run
    checkout, send, process = (spans[name] for name in ("checkout", "send ship", "process ship"))
    assert (parent(send), parent(process)) == (of(checkout), of(send))
    assert linked(process) == [of(send)]
    assert (send.kind, process.kind) == (trace.SpanKind.PRODUCER, trace.SpanKind.CONSUMER)
    # And the spans say what they are about
    assert process.attributes
    assert process.attributes["messaging.destination.name"] == "low"
    assert process.attributes["worksong.job.handler"] == "ship"
    assert process.attributes["messaging.operation.type"] == "process"
    assert process.status.is_ok or process.status.status_code is trace.StatusCode.UNSET


def test_a_run_can_begin_a_trace_of_its_own() -> None:
    traced = Traced(same_trace=False)
    traced.worker.register("ship", lambda: None)
    traced.enqueue(Job("ship"))
    spans = traced.spans()
    assert parent(spans["process ship"]) is None
    assert linked(spans["process ship"]) == [of(spans["send ship"])]


def test_a_job_that_nobody_traced_begins_a_trace(traced: Traced) -> None:
    traced.worker.register("ship", lambda: None)
    traced.worker.perform(Job("ship"))
    spans = traced.spans()
    assert list(spans) == ["process ship"]
    assert (parent(spans["process ship"]), linked(spans["process ship"])) == (None, [])


@pytest.mark.parametrize("meta", [{"traceparent": "nonsense"}, {"traceparent": 7}, {"traceparent": {"a": []}}])
def test_a_parent_that_cannot_be_read_is_none(traced: Traced, meta: dict[str, Any]) -> None:
    traced.worker.register("ship", lambda: None)
    traced.worker.perform(Job("ship", meta=meta))
    assert parent(traced.spans()["process ship"]) is None


def test_what_is_no_job_is_refused_as_ever(traced: Traced) -> None:
    with traced.provider.get_tracer("shop").start_as_current_span("checkout"):
        with pytest.raises(InvalidArguments):
            traced.worker.perform_many(["ship"])  # type: ignore[list-item] # what callers without types may give
        with pytest.raises(InvalidArguments):
            traced.worker.perform(Job(""))


def test_an_error_is_recorded_and_every_try_has_its_span(traced: Traced) -> None:
    # Given a job that fails twice
    class OutOfStock(Exception):
        pass

    def refuse() -> None:
        raise OutOfStock("no chairs")

    traced.worker.register("refuse", refuse, max_fails=2, backoff=lambda _: 0.0)
    traced.enqueue(Job("refuse"))
    # When it has run, then both tries belong to the trace, and say why
    traced.spans()
    tries = [span for span in traced.exporter.get_finished_spans() if span.name == "process refuse"]
    assert [span.attributes and span.attributes["worksong.job.attempt"] for span in tries] == [1, 2]
    assert len({parent(span) for span in tries}) == 1
    for span in tries:
        assert span.status.status_code is trace.StatusCode.ERROR
        (event,) = span.events
        assert event.attributes
        assert event.attributes["exception.message"] == "no chairs"
        assert "raise OutOfStock" in str(event.attributes["exception.stacktrace"])
        assert span.attributes
        assert str(span.attributes["error.type"]).endswith("OutOfStock")


def test_an_exception_without_a_text_harms_nobody(traced: Traced) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    def refuse() -> None:
        raise Mute

    traced.worker.register("refuse", refuse, max_fails=1)
    traced.enqueue(Job("refuse"))
    assert traced.spans()["process refuse"].status.status_code is trace.StatusCode.ERROR


@pytest.mark.parametrize(("verdict", "name"), [(Snooze(3600), "snooze"), (Discard("not wanted"), "discard")])
@pytest.mark.parametrize("raised", [True, False])
def test_a_verdict_is_no_error(traced: Traced, verdict: Snooze | Discard, name: str, *, raised: bool) -> None:
    def decide() -> object:
        if raised:
            raise verdict
        return verdict

    traced.worker.register("decide", decide)
    traced.enqueue(Job("decide"))
    span = traced.spans()["process decide"]
    assert span.status.status_code is trace.StatusCode.UNSET
    assert span.attributes
    assert span.attributes["worksong.job.verdict"] == name


def test_a_timeout_is_seen_from_outside_of_it(traced: Traced) -> None:
    import asyncio

    async def dawdle() -> None:
        await asyncio.Event().wait()

    traced.worker.register("dawdle", dawdle, timeout=0.05, max_fails=1)
    traced.enqueue(Job("dawdle"))
    span = traced.spans()["process dawdle"]
    assert span.attributes
    assert span.attributes["error.type"] == "TimeoutError"


def test_each_step_of_a_pipeline_follows_the_one_before(traced: Traced) -> None:
    # Given a pipeline with steps side by side in its middle
    kinds = [traced.worker.register(name, lambda: 1) for name in "abcd"]
    first, left, right, last = (kind.step() for kind in kinds)
    with traced.provider.get_tracer("shop").start_as_current_span("checkout"):
        Pipeline([first, [left, right], last]).perform()
    # When it has run
    spans = traced.spans()
    # Then the spans hang together as the steps do; the last one on whichever of both ended last
    runs = {name: spans[f"process {name}"] for name in "abcd"}
    assert parent(runs["a"]) == of(spans["send a"])
    assert (parent(runs["b"]), parent(runs["c"])) == (of(runs["a"]), of(runs["a"]))
    assert parent(runs["d"]) in (of(runs["b"]), of(runs["c"]))
    assert len({span.context.trace_id for span in spans.values() if span.context}) == 1


def test_a_worker_is_instrumented_once(traced: Traced) -> None:
    with pytest.raises(ConfigError, match="instrumented already"):
        instrument(traced.worker)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError("no", name="opentelemetry")
        return real(name, *args, **options)

    monkeypatch.delitem(sys.modules, "worksong.tracing")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'worksong\[otel\]'"):
        importlib.import_module("worksong.tracing")


# two processes, and a collector


@pytest.mark.timeout(4 * PATIENCE)
def test_a_trace_goes_on_in_another_process(redis_url: str, tmp_path: Path) -> None:
    with collecting() as collector:
        # Given jobs that one process has enqueued
        env = {**os.environ, "COLLECTOR": collector.url, "JOBS": f"{redis_url}?namespace=traced-{new_id()}"}
        env.pop("WORKSONG_URL", None)
        subprocess.run([sys.executable, str(APP)], env=env, cwd=tmp_path, check=True, timeout=PATIENCE)
        # When another one has run them
        command = [sys.executable, "-m", "worksong", "run", "traced_app:worker", "--burst"]
        subprocess.run(command, env=env, cwd=APP.parent, check=True, timeout=PATIENCE, capture_output=True)
        # Then all of it is one trace
        spans = {name: collector.named(name) for name in SPANS}
    assert len({span.trace_id for span in spans.values()}) == 1
    for name, above in SPANS.items():
        expected = spans[above].span_id if above else b""
        assert spans[name].parent_span_id == expected, name
    assert [link.span_id for link in spans["process ship"].links] == [spans["send ship"].span_id]
    assert attributes(spans["process pack"])["worksong.job.handler"] == "pack"
    assert spans["process refuse"].status.message == "out of stock"


SPANS = {
    "checkout": "",
    "send ship": "checkout",
    "process ship": "send ship",
    "send notify": "process ship",
    "process notify": "send notify",
    "mail": "process notify",
    "process refuse": "send refuse",
    "send refuse": "checkout",
    "send pick": "checkout",
    "process pick": "send pick",
    "process pack": "process pick",
}
"""Each span, and the one above it."""
