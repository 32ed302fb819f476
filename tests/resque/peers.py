"""node-resque as a program that the tests ask: each call is one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

PATIENCE = 400.0
"""Seconds until something that does not come is a failure."""
LINE = 1 << 24
ENDED = "node has ended"

Event = dict[str, Any]


class NodeResque:
    """One process; what its jobs saw is told as events."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.events: list[Event] = []
        self._news = asyncio.Condition()
        self._ended = False
        self._reading = asyncio.create_task(self._read())

    async def ask(self, call: str, *given: Any) -> Any:
        """What a call answers; those not of peer.mjs are node-resque's own, of its Queue."""
        assert not self._ended, ENDED
        self._asked += 1
        answer = self._answers[self._asked] = asyncio.get_running_loop().create_future()
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"id": self._asked, "call": call, "with": given}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def until(self, met: Callable[[list[Event]], bool]) -> list[Event]:
        """All events so far, once they meet the condition."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: met(self.events) or self._ended)
            assert met(self.events), ENDED
        return self.events

    def ran(self) -> list[Any]:
        """The arguments of all jobs that ran there."""
        return [event["args"] for event in self.events if event["event"] == "ran"]

    async def _read(self) -> None:
        try:
            await self._read_lines()
        finally:
            self._ended = True
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(AssertionError(ENDED))
            async with self._news:
                self._news.notify_all()

    async def _read_lines(self) -> None:
        assert self._process.stdout
        async for raw in self._process.stdout:
            line = json.loads(raw)
            if "id" not in line:
                async with self._news:
                    self.events.append(line)
                    self._news.notify_all()
            elif "error" in line:
                self._answers.pop(line["id"]).set_exception(AssertionError(line["error"]))
            else:
                self._answers.pop(line["id"]).set_result(line["answer"])

    async def end(self) -> None:
        """By itself, when nobody asks any more."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            await self._reading


@contextlib.asynccontextmanager
async def node_resque(directory: Path, port: int, namespace: str) -> AsyncIterator[NodeResque]:
    """The program of an installed directory, ready to be asked."""
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE, "limit": LINE}
    process = await asyncio.create_subprocess_exec("node", "peer.mjs", str(port), namespace, cwd=directory, **pipes)
    peer = NodeResque(process)
    try:
        await peer.until(bool)
        yield peer
    finally:
        await peer.end()
