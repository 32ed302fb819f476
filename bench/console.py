"""How long the pages of the web console take beside a hundred thousand jobs, on each backend."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tests import servers

from bench.databases import Sqlite
from bench.results import Pages, percentile
from bench.server import RedisServer, running
from bench.warehouse import FIRST, HANDLERS, fill, work
from worksong import Worker
from worksong.faces.web import Console
from worksong.faces.web.console import store_of
from worksong.ports.backend import Backend, Beat

JOBS, FEW_JOBS = 100_000, 10_000
"""In the store; the latter when quick."""
LOOKS, FEW_LOOKS = 60, 10
"""At each page."""
PERCENTS = (50, 95)
LEAP = 3600.0
"""Seconds by which the clock of the console leaps between two looks: nothing that it has read serves twice."""
PATIENCE = 60.0
"""Seconds that a page may take here: what is slow shall be told, and not be cut off."""
PATHS = {
    "overview": "/",
    "overview, 30 days": "/?period=30d",
    "queues": "/queues",
    "queued jobs": "/jobs?state=queued",
    "queued jobs, page 1,000": "/jobs?state=queued&page=1000",
    "running jobs": "/jobs?state=running",
    "scheduled jobs": "/jobs?state=scheduled",
    "jobs to be tried again": "/jobs?state=retry",
    "dead jobs": "/jobs?state=dead",
    "a search": f"/jobs?q={quote(f'state:dead handler:{HANDLERS[0]} error:declined')}",
    "a search in arguments": f"/jobs?q={quote('state:queued args.user.id:7')}",
    "a dead job": f"/job?id={FIRST}",
    "workers": "/workers",
    "handlers": "/handlers",
    "history, 30 days": "/history?period=30d",
    "cron": "/cron",
    "errors": "/errors",
    "audit": "/audit",
}


class Leaping:
    """The machine's own clock, but for that it goes on by an hour whenever it is told to."""

    def __init__(self) -> None:
        self._leapt = 0.0

    def leap(self) -> None:
        self._leapt += LEAP

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() + self._leapt

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def measure(directory: Path, *, quick: bool) -> list[Pages]:
    """On every backend that can be had here."""
    jobs, looks = (FEW_JOBS, FEW_LOOKS) if quick else (JOBS, LOOKS)
    found: list[Pages] = []
    with contextlib.ExitStack() as stack:
        for name, url in _places(directory, stack):
            print(f"the console on {name}, beside {jobs:,} jobs", file=sys.stderr)
            took = asyncio.run(looked(url, jobs, looks))
            found.append(Pages(name=name, jobs=jobs, looks=looks, took_ms=took))
    return found


def _places(directory: Path, stack: contextlib.ExitStack) -> Iterator[tuple[str, str]]:
    yield "memory", "memory://"
    yield "SQLite", Sqlite(directory / "console.db").url
    yield "Redis", stack.enter_context(running(RedisServer)).url
    for name, server in (("PostgreSQL", servers.postgres()), ("MariaDB", servers.mariadb())):
        try:
            yield name, f"{stack.enter_context(server).url}?migrate=auto"
        except servers.Missing as missing:
            print(f"not measured: {missing}", file=sys.stderr)


async def looked(url: str, jobs: int, looks: int) -> dict[str, dict[int, float]]:
    """Page -> percent -> milliseconds."""
    clock = Leaping()
    worker = Worker(url, name="bench")
    for handler in HANDLERS:
        worker.register(handler, lambda: None)
        worker.periodic("@every 5m", handler)
    backend = worker.backend()
    await fill(backend, jobs, clock)
    beats = await work(backend, clock)
    console = Console(store_of(worker)._replace(clock=clock), patience=PATIENCE)
    found: dict[str, list[float]] = {page: [] for page in PATHS}
    for _ in range(looks):  # one page after the other, so that a machine that drifts meets all
        await _beat(backend, beats, clock)
        for page, path in PATHS.items():
            clock.leap()
            found[page].append(await _look(console, path) * 1e3)
    await backend.close()
    return {page: {percent: percentile(took, percent) for percent in PERCENTS} for page, took in found.items()}


async def _beat(backend: Backend, beats: Sequence[Beat], clock: Leaping) -> None:
    for beat in beats:
        await backend.beat(beat, clock.now())


async def _look(console: Console, path: str) -> float:
    """Seconds until the page is whole, from within the process: what a server and a network add is the same for all."""
    where, _, query = path.partition("?")
    headers = [(b"host", b"127.0.0.1")]
    client = ("127.0.0.1", 50_000)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": where,
        "raw_path": where.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": client,
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    status = 0

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, object]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = int(str(message["status"]))

    begun = time.perf_counter()
    await console(scope, receive, send)
    took = time.perf_counter() - begun
    if status != 200:
        raise SystemExit(f"bench: the page {path} was answered {status}")
    return took
