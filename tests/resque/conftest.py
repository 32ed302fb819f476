"""A Resque namespace of its own for each test, what lies in it, and node-resque and goworker beside it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import servers
from conftest import GoPeer
from interop.fleet import plain, random_args
from resque.goworker import Goworker
from resque.peers import NodeResque, node_resque
from worksong import Worker
from worksong.adapters.resque import ResqueBackend
from worksong.domain.job import new_id

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "resque.json"
READERS = {"string": "get", "set": "smembers", "hash": "hgetall"}

Open = Callable[..., ResqueBackend]
NewWorker = Callable[..., Worker]


class Stored:
    """The namespace as it lies there."""

    def __init__(self, url: str, namespace: str) -> None:
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self.url, self.namespace = url, namespace

    def key(self, name: str) -> str:
        """The namespace's own, of a name without it."""
        return f"{self.namespace}:{name}"

    def put(self, recorded: dict[str, Any]) -> None:
        """What a recording began with; its namespace is `resque`."""
        for name, what in recorded.items():
            key = self._ours(name)
            if what["type"] == "string":
                self.redis.set(key, what["value"])
            elif what["type"] == "list":
                self.redis.rpush(key, *what["value"])
            elif what["type"] == "set":
                self.redis.sadd(key, *what["value"])
            elif what["type"] == "zset":
                self.redis.zadd(key, {one["member"]: one["score"] for one in what["value"]})
            else:
                self.redis.hset(key, mapping=what["value"])

    def _ours(self, name: str) -> str:
        return f"{self.namespace}{name.removeprefix('resque')}"

    def all(self, *, own: bool = False) -> dict[str, Any]:
        """Everything by its name without the namespace; what is worksong's own only if asked for."""
        found: dict[str, Any] = {}
        for key in sorted(self.redis.scan_iter(f"{self.namespace}:*")):
            name = key.removeprefix(f"{self.namespace}:")
            if own or not name.startswith("worksong:"):
                found[name] = self._read(key)
        return found

    def _read(self, key: str) -> Any:
        kind = self.redis.type(key)
        if kind == "list":
            return self.redis.lrange(key, 0, -1)
        if kind == "zset":
            return dict(self.redis.zrange(key, 0, -1, withscores=True))
        return getattr(self.redis, READERS[kind])(key)


def as_read(recorded: dict[str, Any]) -> dict[str, Any]:
    """What a recording ended with, as `Stored.all` tells it."""
    found: dict[str, Any] = {}
    for name, what in recorded.items():
        value = what["value"]
        if what["type"] == "set":
            value = set(value)
        elif what["type"] == "zset":
            value = {one["member"]: one["score"] for one in value}
        found[name.removeprefix("resque:")] = value
    return found


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """The recordings of the peers, by the name of the case."""
    return {case["case"]: case for case in json.loads(GOLDEN.read_text())}


@pytest.fixture
def stored(redis_url: str) -> Iterator[Stored]:
    """An empty namespace."""
    found = Stored(redis_url, f"r-{new_id()}")
    yield found
    found.redis.close()


@pytest.fixture
async def opened(stored: Stored) -> AsyncIterator[Open]:
    """Opens backends on it: each is a process of its own, as far as it knows."""
    backends: list[ResqueBackend] = []

    def open_one(**options: str) -> ResqueBackend:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        backends.append(ResqueBackend(f"resque+{stored.url}?namespace={stored.namespace}{more}"))
        return backends[-1]

    yield open_one
    for backend in backends:
        await backend.close()


@pytest.fixture
def backend(opened: Open) -> ResqueBackend:
    """One of them."""
    return opened()


@pytest.fixture
async def new_worker(stored: Stored) -> AsyncIterator[NewWorker]:
    """Makes workers on the namespace of the test; those that it does not stop are stopped at its end."""
    made: list[Worker] = []

    def make(concurrency: int = 5, **options: Any) -> Worker:
        url = f"resque+{stored.url}?namespace={stored.namespace}"
        made.append(Worker(url, name="resque", concurrency=concurrency, **options))
        return made[-1]

    yield make
    for worker in made:
        await worker.astop(grace=1.0)


@pytest.fixture(scope="session")
def node_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """node-resque, installed as its lock file says; without npm or a network its tests are skipped."""
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        pytest.skip("npm and node are not on the PATH")
    directory = tmp_path_factory.mktemp("node-resque")
    for file in (HERE / "node").iterdir():
        shutil.copy(file, directory)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=240, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install node-resque within 240 s")
    if done.returncode:
        pytest.skip(f"npm cannot install node-resque: {done.stderr.strip()[-300:]}")
    return directory


@pytest.fixture
async def node(node_directory: Path, redis_server: servers.Redis, stored: Stored) -> AsyncIterator[NodeResque]:
    """node-resque on the namespace of the test."""
    async with node_resque(node_directory, redis_server.port, stored.namespace) as peer:
        yield peer


@pytest.fixture(scope="session")
def goresque(go_peer: GoPeer) -> Path:
    """The program around the real goworker."""
    return go_peer(HERE / "go", "goresque", "interop")


@pytest.fixture
def goworker(goresque: Path, stored: Stored) -> Goworker:
    """goworker on the namespace of the test."""
    return Goworker(goresque, stored.url, stored.namespace)


def random_list(chance: random.Random) -> list[Any]:
    """Positional arguments of all kinds."""
    return list((random_args(chance) or {}).values())


def counted(arguments: list[Any]) -> Counter[str]:
    """As texts, with all numbers as doubles, which is what they are to JavaScript and Go."""
    return Counter(json.dumps(plain(args), sort_keys=True) for args in arguments)
