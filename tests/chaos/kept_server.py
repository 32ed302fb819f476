"""A redis-server that keeps what it acknowledged, and can be killed, started again, and spoken to past everybody."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

import servers
from chaos.scale import FULL
from patience import PATIENCE, until

SYNC = "everysec" if FULL else "no"
"""A server whose disk is slow acknowledges up to 2 s before it writes with `everysec`, and never with `no`."""


class KeptServer:
    """Of its own for a test: see `kept`."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = servers.free_port()
        self._directory = directory
        settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(directory), "save": "", "appendonly": "yes"}
        settings["appendfsync"] = SYNC
        self._command = [servers.find("redis-server"), *_flags(settings), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *more: str, loaded: bool = True) -> None:
        """With further options; waits until it answers, or (not `loaded`) until it at least says that it loads."""
        with (self._directory / "redis.log").open("ab") as output:
            self._process = subprocess.Popen([*self._command, *more], stdout=output, stderr=output)
        self.wait(loaded=loaded)

    def wait(self, *, loaded: bool = True) -> None:
        """Until it answers."""
        until(lambda: self._answers(loaded), "an answer of redis-server")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def call(self, *words: Any) -> Any:
        """One command."""
        with self._client() as client:
            return client.execute_command(*words)

    def info(self, section: str) -> dict[str, Any]:
        """What the server says of itself."""
        with self._client() as client:
            found: dict[str, Any] = client.info(section)
        return found

    def _answers(self, loaded: bool) -> bool:
        assert self._process and self._process.poll() is None, (self._directory / "redis.log").read_text()
        with contextlib.suppress(redis.ConnectionError), self._client() as client:
            try:
                client.ping()
            except redis.BusyLoadingError:
                return not loaded
            return True
        return False

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=PATIENCE, retry=None)


@contextlib.contextmanager
def kept(directory: Path, *options: str) -> Iterator[KeptServer]:
    """One that runs, with further options of its command line."""
    server = KeptServer(directory, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _flags(settings: dict[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in (f"--{name}", value)]
