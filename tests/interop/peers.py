"""A peer program (gopeer, or the one that repeats its recordings) as the tests drive it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest

from gotool import BUILT

PATIENCE = 240.0
"""Seconds until an event that does not come is a failure; an idle Go worker alone may sleep for five."""
LIMIT = BUILT + 900
"""Seconds that a test may take which waits so, and for its peer to be built."""
LINE = 1 << 24

Event = dict[str, Any]


class ClientRefused(Exception):
    """What the peer's client answered instead."""


class Peer:
    """One peer program on one namespace."""

    def __init__(self, command: Sequence[str], url: str, namespace: str, *, keyless: str = "") -> None:
        """`keyless`: why its version knows no jobs unique by key, if it does not."""
        self._command, self._flags, self._keyless = command, ("-redis", url, "-ns", namespace), keyless
        self._environment = {**os.environ, "RECORDED_PEER_WAITS": "0,5,20,50", "TZ": "UTC"}

    def knows_keys(self) -> None:
        """Skip the test, with the reason, where the peer's version knows no jobs unique by key."""
        if self._keyless:
            pytest.skip(self._keyless)

    async def enqueue(self, requests: Iterable[Event]) -> list[Event]:
        """The replies, one for each request."""
        lines = "".join(f"{json.dumps(request)}\n" for request in requests)
        code, out = await self._run("enqueue", given=lines)
        assert code == 0
        return [json.loads(line) for line in out.splitlines()]

    async def client(self, *words: str) -> Any:
        """What one operation answers."""
        code, out = await self._run("client", *words)
        answer = json.loads(out)
        if code:
            raise ClientRefused(answer["error"])
        return answer

    async def _run(self, *words: str, given: str = "") -> tuple[int, str]:
        command, *rest = words
        process = await self._start(command, *rest)
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate(given.encode())
        return process.returncode or 0, out.decode()

    @contextlib.asynccontextmanager
    async def work(self, jobs: str, *flags: str, into: int | None = None) -> AsyncIterator[Working]:
        """A pool at work, started and at the end stopped. `into`: a descriptor for its lines, instead of `events`."""
        process = await self._start("work", "-jobs", jobs, *flags, into=into)
        working = Working(process)
        try:
            if into is None:
                await working.until(lambda: bool(working.events))
            yield working
        finally:
            await working.end()

    async def _start(self, command: str, *rest: str, into: int | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            command,
            *self._flags,
            *rest,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE if into is None else into,
            env=self._environment,
            limit=LINE,
        )


class Working:
    """A running pool of the peer, and the lines it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process, self.pid = process, process.pid
        self.events: list[Event] = []
        self._counts: Counter[str] = Counter()
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read()) if process.stdout else None

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for the line that makes `reached` true."""
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self._news.clear()
                await self._news.wait()
                ended = self._reading and self._reading.done()
                assert reached() or not ended, f"the peer ended after {self.events[-3:]}"

    async def until_ended(self, count: int) -> list[Event]:
        """Wait until it has worked so many jobs; answers their ends."""
        await self.until(lambda: self._counts["end"] >= count)
        return self.named("end")

    async def until_started(self, count: int) -> list[Event]:
        """Wait until it has begun so many jobs; answers their starts."""
        await self.until(lambda: self._counts["start"] >= count)
        return self.named("start")

    def named(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]

    async def stop(self) -> None:
        """Let it finish what it runs, and end."""
        if self._process.stdin:
            self._process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            await self._process.wait()
            if self._reading:
                await self._reading

    def terminate(self) -> None:
        """Ask it to end by a signal, and do not wait."""
        self._process.terminate()

    async def kill(self) -> None:
        """End it as a power cut would, even if it is stopped."""
        self._process.kill()
        await self._process.wait()
        if self._reading:
            await self._reading

    async def end(self) -> None:
        """Whatever the test did, it is not left running."""
        try:
            await self.stop()
        except TimeoutError:
            await self.kill()
            raise

    async def _read(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            self.events.append(json.loads(line))
            self._counts[self.events[-1]["event"]] += 1
            self._news.set()
        self._news.set()
