"""A virtual environment for each peer, made on demand from its pinned requirements."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PLACE = HERE.parent / ".venv-peers"


class Refused(Exception):
    """A system cannot be had here: why."""


def names() -> list[str]:
    """Of the peers that there are."""
    return sorted(path.stem for path in (HERE / "peers").glob("*.txt"))


def requirements(name: str) -> Path:
    """The packages of a peer, all pinned."""
    return HERE / "peers" / f"{name}.txt"


def interpreter(name: str) -> Path:
    """The Python of a peer, with its packages; `Refused` when they cannot be installed."""
    place = PLACE / name
    python, stamp = place / "bin" / "python", place / "installed"
    wanted = hashlib.sha256(requirements(name).read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {name} into {place}", file=sys.stderr)
    _run(sys.executable, "-m", "venv", "--clear", str(place))
    quiet = ["--quiet", "--disable-pip-version-check"]
    _run(str(python), "-m", "pip", "install", *quiet, "--requirement", str(requirements(name)))
    stamp.write_text(wanted)
    return python


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        said = (ran.stderr or ran.stdout).strip().splitlines() or ["no word of why"]
        raise Refused(f"its packages cannot be installed: {said[-1]}")
