"""A server for each test, the real one where it can be had, and a backend on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

import servers
from faktory.real import Real
from faktory.standin import Standin
from worksong import Worker
from worksong.adapters.faktory import FaktoryBackend

MakesWorkers: TypeAlias = Callable[..., Worker]


@pytest.fixture
def standin() -> Iterator[Standin]:
    """What only a server that is made for it will do. A FETCH of it waits for an instant only."""
    with Standin(fetch_wait=0.1) as standin:
        yield standin


@pytest.fixture
def server(
    request: pytest.FixtureRequest, faktory_server: servers.Faktory | None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Standin | Real]:
    """The real Faktory; where it cannot be had, or where a test asks for `standin`, the one that stands in for it."""
    if faktory_server is None or "standin" in request.fixturenames:
        yield request.getfixturevalue("standin")
        return
    with Real(faktory_server) as real:
        real.bend(monkeypatch)
        yield real


@pytest.fixture
def a_worker(server: Standin | Real) -> Iterator[MakesWorkers]:
    """Makes workers on the server, stopped however the test ends: one left running would disturb all others."""
    with ExitStack() as workers:

        def make(**options: object) -> Worker:
            worker = Worker(server.url, **options)
            workers.callback(worker.stop, 0.0)
            return worker

        yield make


@pytest.fixture
async def new_worker(server: Standin | Real) -> AsyncIterator[MakesWorkers]:
    """The same for async code."""
    made: list[Worker] = []

    def make(**options: object) -> Worker:
        made.append(Worker(server.url, **options))
        return made[-1]

    yield make
    for worker in made:
        await worker.astop(0.0)


@pytest.fixture
async def backend(server: Standin | Real) -> AsyncIterator[FaktoryBackend]:
    backend = FaktoryBackend(server.url, namespace="")
    yield backend
    await backend.close()
