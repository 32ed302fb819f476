"""The command line in this process and as a program, and a namespace seen from the side of its jobs."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from click.testing import CliRunner, Result
from msgspec.structs import replace

from patience import PATIENCE
from worksong.adapters import connect
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.outcome import Outcome, Settlement
from worksong.domain.turns import Share
from worksong.faces.cli import worksong as commands
from worksong.ports.backend import Backend, Pool, Want

T = TypeVar("T")


class Cli:
    """The command, called in this process."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self._env = {"WORKSONG_URL": url or None, "NO_COLOR": "1"}

    def __call__(self, *args: str) -> Result:
        return CliRunner().invoke(commands, args, env=self._env, prog_name="worksong")

    def json(self, *args: str) -> Any:
        """What a command that must succeed prints with --json."""
        result = self(*args, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


class Shop:
    """A namespace of its own, seen from the side of the jobs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def do(self, act: Callable[[Backend], Awaitable[T]]) -> T:
        async def main() -> T:
            backend = connect(self.url, namespace="unused")
            try:
                return await act(backend)
            finally:
                await backend.close()

        return asyncio.run(main())

    def push(self, *jobs: Job) -> list[str]:
        """Enqueue the jobs; answers their ids."""
        ready = [_with_id(job) for job in jobs]
        self.do(lambda backend: backend.push(ready, time.time()))
        return [job.id for job in ready]

    def settle(self, outcome: Outcome, *jobs: Job) -> list[str]:
        """Enqueue, lend and settle the jobs."""
        ids = self.push(*jobs)

        async def act(backend: Backend) -> None:
            pool = await self._enlist(backend, [job.handler for job in jobs])
            lent = await _fetch(backend, pool, len(jobs))
            await backend.settle([Settlement(delivery, outcome) for delivery in lent], time.time())
            await backend.leave(pool, time.time())

        self.do(act)
        return ids

    async def _enlist(self, backend: Backend, names: Sequence[str]) -> Pool:
        workers = tuple(new_id() for _ in names)
        pool = Pool(
            id=new_id(), handlers=tuple(names), worker_ids=workers, concurrency=len(names), started_at=time.time()
        )
        await backend.enlist(pool, time.time())
        return pool


class Program:
    """The command as a process of its own; its lines are waited for, never slept for."""

    def __init__(
        self,
        args: Sequence[str],
        *,
        cwd: Path,
        url: str,
        command: Sequence[str] = (sys.executable, "-m", "worksong"),
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        kept = {name: value for name, value in os.environ.items() if name != "WORKSONG_URL"}
        self._process = subprocess.Popen(
            [*command, *args],
            cwd=cwd,
            env={**kept, "PYTHONUNBUFFERED": "1", **({"WORKSONG_URL": url} if url else {}), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.seen: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def line(self, part: str) -> str:
        """The next line that holds `part`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {part!r} came in {PATIENCE} s, but {self.seen}") from None
            self.seen.append(line)
            if part in line:
                return line

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while not self._lines.empty():
            self.seen.append(self._lines.get())
        return code

    def end(self) -> None:
        """Make sure that it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.wait()
        assert self._process.stdout
        self._process.stdout.close()

    @property
    def output(self) -> str:
        return "".join(self.seen)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)


Start = Callable[..., Program]


def _with_id(job: Job) -> Job:
    return replace(job, id=job.id or new_id(), enqueued_at=job.enqueued_at or time.time())


async def _fetch(backend: Backend, pool: Pool, count: int) -> list[Delivery]:
    shares = tuple(Share(name, count) for name in dict.fromkeys(pool.handlers))
    found: list[Delivery] = []
    while len(found) < count:
        found += await backend.fetch(Want(pool.id, count - len(found), 1.0, shares), time.time())
    return found
