"""gocraft/work, whose format worksong speaks: a Go program of its own in `bench/go`, where its module can be had."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.environments import Refused
from bench.processes import on_core
from bench.results import Cell, Quiet
from bench.seat import CALLERS
from bench.server import RedisServer
from bench.system import Description, Drained, Failed, whole

SOURCE = Path(__file__).parent / "go"
PACE = 20_000
"""Jobs per second that it does about."""


class Gocraft:
    """The Go program, measured by its own account: it fills the queue itself, and drains it in one process."""

    name = "gocraft/work"

    def __init__(self, program: Path, server: RedisServer, *, seconds: float) -> None:
        self._program, self._server, self._seconds = program, server, seconds
        found = re.search(r"gocraft/work (\S+)", (SOURCE / "go.mod").read_text())
        self.description = Description(
            versions={"gocraft/work": found[1] if found else "unknown"},
            kinds={"async": PACE},
            best=20,
            one_at_a_time=False,
            own_processes=True,
            two_processes=False,
            promise="Takes a job out of Redis after it ran; a killed pool's jobs are found by the reaper.",
            setup="Ten job names; one Redis connection per goroutine. Best: 20 at once.",
            ways=["one", "concurrent"],
        )

    def drain(self, cell: Cell) -> Drained:
        jobs = whole(PACE * self._seconds)
        core = max(os.sched_getaffinity(0)) if cell.pinned else None
        self._server.pin(core)
        try:
            with on_core(core):
                said = self._ask("drain", jobs=jobs, concurrency=cell.slots)
        finally:
            self._server.pin(None)
        return Drained(rate=said["rate"], jobs=jobs)

    def enqueue(self, how: str, kind: str) -> float:
        mode = {"one": "enqueue", "concurrent": "enqueue-concurrent"}[how]
        said = self._ask(mode, jobs=whole(5000 * self._seconds), goroutines=CALLERS)
        return float(said["rate"])

    def idle(self) -> Quiet:
        said = self._ask("latency", jobs=300, concurrency=25)
        return Quiet(pick_up_ms={50: said["p50_ms"], 99: said["p99_ms"]})

    def _ask(self, mode: str, **options: int) -> dict[str, Any]:
        self._server.empty()
        flags = [part for name, value in options.items() for part in (f"-{name}", str(value))]
        command = [str(self._program), mode, "-redis", f"127.0.0.1:{self._server.port}", "-clean", *flags]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise Failed(f"{mode}: {(ran.stderr.strip().splitlines() or ['no word of why'])[-1]}")
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer


def build(directory: Path) -> Path:
    """The program, in this directory; `Refused` where it cannot be had."""
    if shutil.which("go") is None:
        raise Refused("there is no go command here")
    program = directory / "gobench"
    with tempfile.TemporaryDirectory(prefix="worksong-bench-") as name:  # go writes to go.mod and go.sum
        copy = shutil.copytree(SOURCE, Path(name) / "go")
        built = subprocess.run(
            ["go", "build", "-mod=mod", "-o", str(program), "."], cwd=copy, capture_output=True, text=True, check=False
        )
    if built.returncode:
        said = [line for line in built.stderr.splitlines() if line and not line.startswith(("#", "go: downloading"))]
        why = re.sub(r"reading \S+: ", "", said[0]) if said else f"go ended with {built.returncode}"
        raise Refused(f"its benchmark cannot be built: {why}")
    return program
