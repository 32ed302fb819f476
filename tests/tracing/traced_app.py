"""An application that is traced: as a program it enqueues, and `worksong run` runs what it enqueued."""

from __future__ import annotations

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from worksong import Pipeline, Worker
from worksong.tracing import instrument

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(os.environ["COLLECTOR"])))
trace.set_tracer_provider(provider)

worker = Worker(os.environ["JOBS"], name="traced")
instrument(worker)


@worker.job()
async def ship(order: int) -> None:
    await notify.aperform(order=order)


@worker.job()
def notify(order: int) -> None:
    with trace.get_tracer("shop").start_as_current_span("mail"):
        pass


@worker.job(max_fails=1)
def refuse() -> None:
    raise ValueError("out of stock")


@worker.job()
def pick() -> int:
    return 1


@worker.job()
def pack(previous: int) -> int:
    return previous + 1


if __name__ == "__main__":
    with trace.get_tracer("shop").start_as_current_span("checkout"):
        ship.perform(order=7)
        refuse.perform()
        Pipeline([pick.step(), pack.step(previous=True)]).perform()
    provider.shutdown()
