"""The Redis of the bench: a server of its own without persistence, whose contents can be kept and put back."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

PATIENCE = 20.0
Snapshot = list[tuple[bytes, int, bytes]]
"""(key, milliseconds to live or 0, what DUMP answers)."""


class Server:
    """A running redis-server."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid
        self.url = f"redis://127.0.0.1:{port}/0"
        self._client: Any = redis.Redis(port=port)

    def version(self) -> str:
        return str(self._client.info("server")["redis_version"])

    def empty(self) -> None:
        self._client.flushall()

    def keep(self) -> Snapshot:
        """All that is in it. A queue that was filled once can so be drained many times."""
        keys = list(self._client.scan_iter(count=10_000))
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.pttl(key)
                pipe.dump(key)
            answers = pipe.execute()
        return [(key, max(0, ttl), dump) for key, ttl, dump in zip(keys, answers[::2], answers[1::2], strict=True)]

    def put_back(self, snapshot: Snapshot) -> None:
        self.empty()
        with self._client.pipeline(transaction=False) as pipe:
            for key, ttl, dump in snapshot:
                pipe.restore(key, ttl, dump)
            pipe.execute()

    def commands(self) -> int:
        """Carried out so far, those inside scripts included, `INFO` itself not."""
        stats = self._client.info("commandstats")
        return sum(found["calls"] for name, found in stats.items() if name != "cmdstat_info")

    def pin(self, core: int | None) -> None:
        """Run on this core alone, or on all."""
        os.sched_setaffinity(self.pid, os.sched_getaffinity(0) if core is None else {core})

    def close(self) -> None:
        self._client.close()


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A redis-server on a private port with a temporary directory; ended in the end."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("bench: there is no redis-server on the PATH (Debian: apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="worksong-bench-") as name:
        port = _free_port()
        settings = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": name}
        command = [program, *(part for key, value in settings.items() for part in (f"--{key}", value))]
        with Path(name, "redis.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        server = Server(port, process.pid)
        try:
            _await(server, process)
            yield server
        finally:
            server.close()
            process.terminate()
            process.wait()


def _await(server: Server, process: subprocess.Popen[bytes]) -> None:
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
