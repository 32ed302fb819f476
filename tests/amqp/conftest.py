"""What tests on RabbitMQ are given."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest

import servers
from amqp import stage
from amqp.stage import MakesBackends, MakesWorkers
from conftest import started
from worksong import Worker
from worksong.adapters.amqp import AmqpBackend


@pytest.fixture
def a_worker() -> Iterator[MakesWorkers]:
    """`stage.a_worker`, whose workers are stopped however the test ends: one left running would disturb all others."""
    with ExitStack() as workers:

        def make(url: str, **options: object) -> Worker:
            worker = stage.a_worker(url, **options)
            workers.callback(worker.stop, 0.0)
            return worker

        yield make


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """What handlers wait for; it comes however the test ends, and none of them keeps a thread."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


@pytest.fixture
def mortal_server() -> Iterator[servers.Broker]:
    """A RabbitMQ of the test's own, which nobody else misses when it is gone."""
    with started(servers.rabbitmq()) as server:
        yield server


@pytest.fixture
async def a_backend() -> AsyncIterator[MakesBackends]:
    """`AmqpBackend` with a patient URL, closed however the test ends."""
    async with AsyncExitStack() as backends:

        def make(url: str) -> AmqpBackend:
            backend = AmqpBackend(url if "timeout=" in url else f"{url}&{stage.PATIENT}")
            backends.push_async_callback(backend.close)
            return backend

        yield make
