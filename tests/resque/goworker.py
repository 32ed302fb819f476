"""goworker as a program that the tests start: one that enqueues, and workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

from interop.peers import LINE, PATIENCE, Working

Sent = tuple[str, str, Sequence[Any] | None]
"""Queue, class, arguments."""


class Goworker:
    """The real library, on one namespace."""

    def __init__(self, program: Path, url: str, namespace: str) -> None:
        self._program, self._flags = str(program), ("-redis", url, "-ns", f"{namespace}:")

    async def enqueue(self, jobs: Iterable[Sent]) -> int:
        """How many it stored."""
        members = ("queue", "class", "args")
        lines = "".join(f"{json.dumps(dict(zip(members, job, strict=True)))}\n" for job in jobs)
        process = await self._start("enqueue")
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate(lines.encode())
        assert process.returncode == 0
        stored: int = json.loads(out)["jobs"]
        return stored

    @contextlib.asynccontextmanager
    async def work(self, queues: str, *flags: str) -> AsyncIterator[Working]:
        """A process of workers, started and at the end stopped; its jobs of class `long` end when it is stopped."""
        working = Working(await self._start("work", "-queues", queues, *flags))
        try:
            await working.until(lambda: bool(working.events))
            yield working
        finally:
            await working.end()

    async def _start(self, command: str, *flags: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command_line = (self._program, command, *self._flags, *flags)
        return await asyncio.create_subprocess_exec(*command_line, stdin=pipe, stdout=pipe, limit=LINE)
