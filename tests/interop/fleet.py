"""What the stories of a mixed fleet are told with: worksong's side, random arguments, a ledger of all workers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import redis

from interop.peers import PATIENCE, Event
from patience import auntil
from worksong import Job, Worker
from worksong.domain.lifecycle import State

EXACT = 2**53 - 1
T = TypeVar("T")


class Seen:
    """The jobs that worksong handlers were given, in the order of their starts."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self._news = asyncio.Event()

    def add(self, job: Job) -> None:
        self.jobs.append(job)
        self._news.set()

    async def until(self, count: int) -> list[Job]:
        async with asyncio.timeout(PATIENCE):
            while len(self.jobs) < count:
                self._news.clear()
                await self._news.wait()
        return self.jobs


def witness(worker: Worker, name: str, *, error: str = "", until: asyncio.Event | None = None, **options: Any) -> Seen:
    """Register a handler that notes its jobs, waits for an event, and then fails with `error`, if there are these."""
    seen = Seen()

    async def note(job: Job, args: dict[str, Any]) -> None:
        seen.add(job)
        if until:
            await until.wait()
        if error:
            raise RuntimeError(error)

    worker.register(name, note, **options)
    return seen


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    """As `async with worker`, but what it waits for at the end is not given up."""
    await worker.astart()
    try:
        yield worker
    finally:
        await worker.astop(grace=PATIENCE)


async def eventually(ask: Callable[[], Awaitable[T]], reached: Callable[[T], object]) -> T:
    """Ask until the answer is the one that must come."""
    return await auntil(ask, met=reached, within=PATIENCE)


async def left(worker: Worker) -> dict[State, int]:
    """The states in which there still are jobs."""
    return {state: count for state, count in (await worker.admin.acounts()).items() if count}


def make_due(store: redis.Redis, key: str) -> None:
    """Time passes: whatever waits in this set is due now."""
    for member in store.zrange(key, 0, -1):
        store.zadd(key, {member: int(time.time())}, xx=True)


# arguments


def random_args(chance: random.Random) -> dict[str, Any] | None:
    kind = chance.random()
    if kind < 0.1:
        return None if kind < 0.05 else {}
    return {_text(chance): _value(chance, 0) for _ in range(chance.randrange(1, 6))}


def _value(chance: random.Random, depth: int) -> Any:
    if depth < 3 and chance.random() < 0.3:
        size = chance.randrange(4)
        if chance.random() < 0.5:
            return [_value(chance, depth + 1) for _ in range(size)]
        return {_text(chance): _value(chance, depth + 1) for _ in range(size)}
    kinds: list[Callable[[], Any]] = [
        lambda: _text(chance),
        lambda: chance.randint(-EXACT, EXACT),
        lambda: chance.randint(-1000, 1000),
        lambda: chance.uniform(-1, 1) * 10.0 ** chance.randint(-300, 300),
        lambda: chance.choice((EXACT, -EXACT, 0.1, 1e-7, 1e20, 1e21, 0.30000000000000004, 5e-324)),
        lambda: chance.choice((None, True, False)),
    ]
    return chance.choice(kinds)()


def _text(chance: random.Random) -> str:
    pieces = ("a", "Z", "é", "ß", "～", "😀", "<&>", '"', "\\", "/", "\n", "\t", "\x7f", "\u2028", "\ufffd", "日本")
    return "".join(chance.choice(pieces) for _ in range(chance.randrange(8)))


def plain(tree: Any) -> Any:
    """With all numbers as doubles, which is what they are to Go."""
    if isinstance(tree, dict):
        return {key: plain(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [plain(item) for item in tree]
    return float(tree) if isinstance(tree, int | float) and not isinstance(tree, bool) else tree


# the true order of events


class Ledger:
    """Starts and ends of all workers in their true order: they all write to one pipe."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        self.running: set[str] = set()
        self.ends: Counter[str] = Counter()
        self.killed: set[str] = set()
        self.most = self.starts = self.ready = 0
        self._news = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Ledger]:
        ledger, stream = cls(), asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(ledger._reading, "rb", 0)
        )
        reader = asyncio.create_task(ledger._read(stream))
        try:
            yield ledger
        finally:
            os.close(ledger.writing)
            await reader
            transport.close()

    def write(self, event: str, job_id: str) -> None:
        os.write(self.writing, f"{json.dumps({'event': event, 'id': job_id})}\n".encode())

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self._note(json.loads(line))
            self._news.set()

    def _note(self, line: Event) -> None:
        match line["event"]:
            case "start":
                self.running.add(line["id"])
                self.starts += 1
                self.most = max(self.most, len(self.running))
            case "end":
                self.running.discard(line["id"])
                self.ends[line["id"]] += 1
            case "killed":
                self.running.discard(line["id"])
                self.killed.add(line["id"])
            case "ready":
                self.ready += 1
