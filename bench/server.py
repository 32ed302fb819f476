"""Where jobs are kept while they are measured; here Redis, a server of its own without persistence."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import redis

from bench.processes import cpu_seconds

PATIENCE = 120.0
Snapshot = list[tuple[bytes, int, bytes]]
"""(key, milliseconds to live or 0, what DUMP answers)."""


class Used(NamedTuple):
    """By a server, so far; None: that cannot be told."""

    commands: float | None
    """Commands that it carried out; of a database, transactions or statements."""
    cpu_seconds: float | None


class Server(Protocol):
    """A store of jobs that is the bench's own. What a queue was filled with can so be drained many times."""

    url: str
    one_core: bool
    """Can be made to run on one core."""

    def version(self) -> str:
        """Of the server."""

    def empty(self) -> None:
        """Drop everything."""

    def keep(self) -> Any:
        """All that is in it, for `put_back`."""

    def put_back(self, kept: Any) -> None: ...

    def used(self) -> Used: ...

    def pin(self, core: int | None) -> None:
        """Run on this core alone, or on all."""


class RedisServer:
    """A running redis-server."""

    one_core = True

    scheme = "redis"
    """Of the format in which worksong keeps its jobs there."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid
        self.url = f"{self.scheme}://127.0.0.1:{port}/0"
        self._client: Any = redis.Redis(port=port)

    def version(self) -> str:
        return str(self._client.info("server")["redis_version"])

    def empty(self) -> None:
        self._client.flushall()

    def keep(self) -> Snapshot:
        return dumped(self._client)

    def put_back(self, snapshot: Snapshot) -> None:
        self.empty()
        restored(self._client, snapshot)

    def used(self) -> Used:
        """Commands inside scripts included, `INFO` itself not."""
        stats = self._client.info("commandstats")
        calls = sum(found["calls"] for name, found in stats.items() if name != "cmdstat_info")
        return Used(calls, cpu_seconds(self.pid))

    def pin(self, core: int | None) -> None:
        os.sched_setaffinity(self.pid, os.sched_getaffinity(0) if core is None else {core})

    def close(self) -> None:
        self._client.close()


def dumped(client: Any) -> Snapshot:
    """All that a Redis holds."""
    keys = list(client.scan_iter(count=10_000))
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.pttl(key)
            pipe.dump(key)
        answers = pipe.execute()
    return [(key, max(0, ttl), dump) for key, ttl, dump in zip(keys, answers[::2], answers[1::2], strict=True)]


def restored(client: Any, snapshot: Snapshot) -> None:
    """Into a Redis that is empty."""
    with client.pipeline(transaction=False) as pipe:
        for key, ttl, dump in snapshot:
            pipe.restore(key, ttl, dump)
        pipe.execute()


class ResqueServer(RedisServer):
    """One on which worksong speaks Resque's format."""

    scheme = "resque+redis"


R = TypeVar("R", bound=RedisServer)


@contextlib.contextmanager
def running(make: Callable[[int, int], R]) -> Iterator[R]:
    """What port and pid of a redis-server make: on a private port, with a temporary directory, ended in the end."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("bench: there is no redis-server on the PATH (Debian: apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="worksong-bench-") as name:
        port = _free_port()
        settings = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": name}
        command = [program, *(part for key, value in settings.items() for part in (f"--{key}", value))]
        with Path(name, "redis.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        server = make(port, process.pid)
        try:
            _await(server, process)
            yield server
        finally:
            server.close()
            process.terminate()
            process.wait()


def _await(server: RedisServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(redis.ConnectionError):
            server.version()
            return
        time.sleep(0.02)
    raise SystemExit(f"bench: redis-server on port {server.port} does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
