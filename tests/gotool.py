"""Go programs that tests run beside ours: built by the go command of this machine, or refused with its reason."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from servers import alone

FETCHED = 60.0
"""Seconds that Go may take to fetch modules: a network that is silent refuses nothing by itself."""
COMPILED = 300.0
"""Seconds that it may take to compile: its own library comes first."""
BUILT = 2 * (FETCHED + COMPILED)
"""Seconds after which a program is there or refused, also when another process builds one before. A test that needs a
program takes that time as its own, so it must be allowed more."""


class Refused(Exception):
    """The go command would not build it: the first line that says why."""


def has_built(go: str, package: Path) -> bool:
    """Whether all that the Go package in `package` needs has been compiled here before; then building is quick.

    No network is asked.
    """
    ask = [go, "list", "-mod=readonly", "-deps", "-f", "{{if .Stale}}{{.Dir}}\t{{.StaleReason}}{{end}}", "."]
    offline = {**os.environ, "GOPROXY": "off"}
    try:
        found = subprocess.run(ask, cwd=package, env=offline, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return False
    stale = [line.partition("\t") for line in found.stdout.splitlines() if line]
    # Our own are compiled in another directory, and what depends on them is stale for that reason alone.
    missing = [place for place, _, why in stale if not why.startswith("stale dependency")]
    return found.returncode == 0 and all(Path(place).is_relative_to(package) for place in missing)


def build(go: str, package: Path, program: Path) -> None:
    """Build the Go package in `package`. A copy is built: go adds to go.mod and go.sum what they do not list yet.

    What could not be built is refused at once to the other processes of the run.
    """
    note = Path(tempfile.gettempdir()) / f"worksong-tests-go-{package.parent.name}-{package.name}.refused"
    # One after the other: what the first has compiled, the second need not.
    with tempfile.TemporaryDirectory(prefix="worksong-go-") as name, alone("go"):
        copy = shutil.copytree(package, Path(name) / "source")
        try:
            _refuse_again(note)
            _go("fetching its modules", [go, "mod", "download"], copy, FETCHED)
            _go("compiling it", [go, "build", "-mod=mod", "-o", str(program), "."], copy, COMPILED)
        except Refused as refused:
            note.write_text(f"{_run()}\n{refused}")
            raise


def _run() -> str:
    """The same in all processes of one run, and in those of no other; empty where there is only this one."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", "")


def _refuse_again(note: Path) -> None:
    """What another process of this run has noted."""
    with contextlib.suppress(FileNotFoundError):
        run, _, why = note.read_text().partition("\n")
        if run and run == _run():
            raise Refused(why)


def _go(what: str, command: list[str], source: Path, patience: float) -> None:
    try:
        done = subprocess.run(
            command, cwd=source, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=patience
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{what} took longer than {patience:.0f} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line and not line.startswith(("#", "go: downloading"))]
        raise Refused(said[0] if said else f"{what} ended with {done.returncode}")
