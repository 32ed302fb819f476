"""A library of Go under measurement: a program of its own around it, which measures by its own account."""

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
from bench.results import Cell
from bench.server import RedisServer
from bench.system import Drained, Failed


class GoProgram:
    """The program, as it is asked: a mode, flags, and one line of JSON for an answer."""

    def __init__(self, program: Path, server: RedisServer) -> None:
        self._program, self._server = program, server

    def drained(self, cell: Cell, *flags: str) -> Drained:
        """It fills the queue itself, and drains it in one process."""
        core = max(os.sched_getaffinity(0)) if cell.pinned else None
        self._server.pin(core)
        try:
            with on_core(core):
                said = self.asked("drain", *flags, jobs=cell.jobs, concurrency=cell.slots)
        finally:
            self._server.pin(None)
        return Drained(rate=said["rate"], jobs=cell.jobs)

    def asked(self, mode: str, *flags: str, **options: int) -> dict[str, Any]:
        """On an empty server."""
        self._server.empty()
        return self.told(mode, *flags, **options)

    def told(self, mode: str, *flags: str, **options: int) -> dict[str, Any]:
        """On the server as it is."""
        numbers = [part for name, value in options.items() for part in (f"-{name}", str(value))]
        at = f"redis://127.0.0.1:{self._server.port}/0"
        command = [str(self._program), mode, "-redis", at, *flags, *numbers]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise Failed(f"{mode}: {(ran.stderr.strip().splitlines() or ['no word of why'])[-1]}")
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer


def version(source: Path, module: str) -> str:
    """The version of a module that the program is built with."""
    found = re.search(rf"{re.escape(module)} (\S+)", (source / "go.mod").read_text())
    return found[1] if found else "unknown"


def build(source: Path, program: Path) -> Path:
    """Make the program from its source; `Refused` where it cannot be had."""
    if shutil.which("go") is None:
        raise Refused("there is no go command here")
    with tempfile.TemporaryDirectory(prefix="worksong-bench-") as name:  # go writes to go.mod and go.sum
        copy = shutil.copytree(source, Path(name) / "go")
        built = subprocess.run(
            ["go", "build", "-mod=mod", "-o", str(program), "."], cwd=copy, capture_output=True, text=True, check=False
        )
    if built.returncode:
        said = [line for line in built.stderr.splitlines() if line and not line.startswith(("#", "go: downloading"))]
        why = re.sub(r"reading \S+: ", "", said[0]) if said else f"go ended with {built.returncode}"
        raise Refused(f"its benchmark cannot be built: {why}")
    return program
