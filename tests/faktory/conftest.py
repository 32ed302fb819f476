"""A server for each test, the real one where it can be had, and a backend on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

import servers
from faktory.real import Real
from faktory.standin import Standin
from worksong.adapters.faktory import FaktoryBackend


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
async def backend(server: Standin | Real) -> AsyncIterator[FaktoryBackend]:
    backend = FaktoryBackend(server.url, namespace="")
    yield backend
    await backend.close()
