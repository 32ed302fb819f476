"""Peers of gocraft/work's format: the real one where it can be built, and the one that repeats its recordings."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis

import servers
from interop.peers import Peer
from worksong import Worker
from worksong.wire.gocraft_keys import Keys

RECORDED = Path(__file__).with_name("recorded_peer.py")
KEYLESS = "gocraft/work v0.5.1 knows no jobs unique by key: they are told with the recorded peer alone"
_numbers = itertools.count(1)


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"fleet{next(_numbers)}"


@pytest.fixture(params=["go", "recorded"])
def peer(request: pytest.FixtureRequest, redis_server: servers.Redis, namespace: str) -> Peer:
    """The peer on this test's namespace."""
    if request.param == "go":
        return Peer([str(request.getfixturevalue("gopeer"))], redis_server.url, namespace, keyless=KEYLESS)
    return Peer([sys.executable, str(RECORDED)], redis_server.url, namespace)


@pytest.fixture
def store(redis_server: servers.Redis) -> Iterator[redis.Redis]:
    """The server, for what neither side would do: turning the clock of waiting jobs."""
    with redis.Redis(port=redis_server.port) as client:
        yield client


@pytest.fixture
def keys(namespace: str) -> Keys:
    return Keys(namespace)


@pytest.fixture
async def new_worker(redis_server: servers.Redis, namespace: str) -> AsyncIterator[Callable[..., Worker]]:
    """Makes worksong workers on this test's namespace; those that the test does not stop are stopped at its end."""
    made: list[Worker] = []

    def make(concurrency: int = 5, *, options: str = "") -> Worker:
        made.append(Worker(redis_server.url + options, name=namespace, concurrency=concurrency))
        return made[-1]

    yield make
    for worker in made:
        await worker.astop(grace=1.0)
