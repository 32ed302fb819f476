"""Faktory, the real server, and faktory_worker_go on it: the program of the tests, where its modules can be had."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from tests import servers

from bench import goprogram
from bench.processes import cpu_seconds, family
from bench.results import Cell, Quiet
from bench.seat import CALLERS
from bench.server import PATIENCE, Snapshot, Used, dumped, restored
from bench.system import Description, Drained, Failed, whole

SOURCE = Path(__file__).parents[1] / "tests" / "interop" / "faktory"
PACE = 8000
"""Jobs per second that it does about."""


class FaktoryServer:
    """A running Faktory. What it was filled with is kept and put back past it, in its own Redis."""

    one_core = False

    def __init__(self, server: servers.Faktory) -> None:
        self._server, self.url = server, server.url
        self._client: Any = redis.Redis(unix_socket_path=str(server.socket))

    def version(self) -> str:
        return f"Faktory {goprogram.version(SOURCE, 'github.com/contribsys/faktory')}"

    def empty(self) -> None:
        """When nobody asks any more: what the dead had asked for, the server still lends them for two seconds."""
        until = time.monotonic() + servers.SLOW
        while self._connections() and time.monotonic() < until:
            time.sleep(0.05)
        self._server.order("empty")

    def keep(self) -> Snapshot:
        return dumped(self._client)

    def put_back(self, kept: Snapshot) -> None:
        self.empty()
        restored(self._client, kept)

    def used(self) -> Used:
        """Commands of its Redis."""
        calls = float(self._client.info("stats")["total_commands_processed"])
        return Used(calls, sum(map(cpu_seconds, family([self._server.pid]))))

    def pin(self, core: int | None) -> None:
        """Left to the system: a server is two processes."""

    def _connections(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._server.web_port}/stats", timeout=PATIENCE) as answer:
            return int(json.load(answer)["server"]["connections"])


class FaktoryWorkerGo:
    """Measured by its own account."""

    name = "faktory_worker_go"

    def __init__(self, program: Path, server: FaktoryServer, *, seconds: float) -> None:
        self._program, self._server, self._seconds = program, server, seconds
        self.description = Description(
            versions={self.name: goprogram.version(SOURCE, "github.com/contribsys/faktory_worker_go")},
            kinds={"async": PACE},
            best=20,
            one_at_a_time=False,
            own_processes=True,
            two_processes=False,
            one_core=False,
            promise="The server reserves a job for half an hour; a killed worker's jobs run again when that is over.",
            setup="Its own pool: a connection for each job at once, and two more. Best: 20 at once, the default.",
            ways=["one", "concurrent", "bulk"],
        )

    def drain(self, cell: Cell) -> Drained:
        jobs = cell.jobs or whole(PACE * self._seconds)
        return Drained(rate=self._asked("drain", jobs=jobs, concurrency=cell.slots)["rate"], jobs=jobs)

    def enqueue(self, how: str, kind: str) -> float:
        if how == "bulk":
            return self._asked("bulk", jobs=whole(20_000 * self._seconds))["rate"]
        callers = 1 if how == "one" else CALLERS
        return self._asked("enqueue", jobs=whole(4000 * self._seconds), goroutines=callers)["rate"]

    def idle(self) -> Quiet:
        said = self._asked("latency", jobs=300, concurrency=25)
        return Quiet(pick_up_ms={50: said["p50_ms"], 99: said["p99_ms"]})

    def _asked(self, mode: str, **options: int) -> dict[str, float]:
        """What the program answers, on an empty server."""
        self._server.empty()
        numbers = [part for name, value in options.items() for part in (f"-{name}", str(value))]
        environment = {**os.environ, "FAKTORY_URL": self._server.url.replace("faktory://", "tcp://")}
        environment.pop("FAKTORY_PROVIDER", None)
        ran = subprocess.run(
            [str(self._program), "bench", "-mode", mode, *numbers],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise Failed(f"{mode}: {(ran.stderr.strip().splitlines() or ['no word of why'])[-1]}")
        answer: dict[str, float] = json.loads(ran.stdout)
        return answer


def build(directory: Path) -> Path:
    """The program, in this directory; `Refused` where it cannot be had."""
    return goprogram.build(SOURCE, directory / "gofaktory")


@contextlib.contextmanager
def running(program: Path) -> Iterator[FaktoryServer]:
    """The server that the program is; `servers.Missing` when it does not start."""
    with servers.faktory(program) as server:
        yield FaktoryServer(server)
