"""A stand-in for each test, and a backend on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from faktory.standin import Standin
from worksong.adapters.faktory import FaktoryBackend


@pytest.fixture
def server() -> Iterator[Standin]:
    """A FETCH of it waits for an instant only: no test waits for nothing."""
    with Standin(fetch_wait=0.1) as standin:
        yield standin


@pytest.fixture
async def backend(server: Standin) -> AsyncIterator[FaktoryBackend]:
    backend = FaktoryBackend(server.url, namespace="")
    yield backend
    await backend.close()
