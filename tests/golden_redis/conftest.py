"""A database of its own for the tests that compare what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit

import pytest

from golden_redis.stored import Stored
from worksong.adapters.gocraft import GocraftBackend

DATABASE = 9

Open = Callable[..., GocraftBackend]


@pytest.fixture
def stored(redis_url: str) -> Iterator[Stored]:
    """An empty database; whatever a test leaves in it is dropped by the next one."""
    found = Stored(urlsplit(redis_url)._replace(path=f"/{DATABASE}").geturl())
    found.call("FLUSHDB")
    yield found
    found.redis.close()


@pytest.fixture
async def opened(stored: Stored) -> AsyncIterator[Open]:
    """Opens backends on that database: each is a process of its own, as far as it knows."""
    backends: list[GocraftBackend] = []

    def open_one(namespace: str = "work") -> GocraftBackend:
        backends.append(GocraftBackend(f"{stored.url}?timeout=60", namespace=namespace))  # slow is not dead
        return backends[-1]

    yield open_one
    for backend in backends:
        await backend.close()


@pytest.fixture
def backend(opened: Open) -> GocraftBackend:
    """One backend, in the namespace `work`."""
    return opened()
