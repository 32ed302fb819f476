"""The processes of a worker: started together, watched through /proc, ended by their ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
GRACE = 1.5
"""Seconds a worker may take to end when it is asked to: its queue is empty, and thrown away next."""


class Ended(Exception):
    """A worker ended by itself: what it said last."""


class Crew:
    """Processes that were started with one command each, and their children."""

    def __init__(self, commands: Sequence[Sequence[str]], env: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._heads = [
                subprocess.Popen(
                    command, env=env, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
                )
                for command in commands
            ]

    def check(self) -> None:
        """All still run, or `Ended`."""
        for head in self._heads:
            if head.poll() is not None:
                raise Ended(f"the worker ended with {head.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        said = self._log.read_text(errors="replace").strip().splitlines()
        return said[-1][:300] if said else "no word of why"

    def pids(self) -> list[int]:
        return family(head.pid for head in self._heads)

    def cpu_seconds(self) -> float:
        """Used so far."""
        return sum(cpu_seconds(pid) for pid in self.pids())

    def memory_mb(self) -> float:
        """Held in memory; a page that several processes share is divided among them."""
        return sum(memory_mb(pid) for pid in self.pids())

    def end(self) -> None:
        """Ask them to end; after a while end whatever is left of what they started."""
        heads, self._heads = self._heads, []
        for head in heads:
            head.terminate()
        deadline = time.monotonic() + GRACE
        for head in heads:
            with contextlib.suppress(subprocess.TimeoutExpired):
                head.wait(max(0.0, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):  # the session is its own: nobody else is in this group
                os.killpg(head.pid, signal.SIGKILL)
            head.wait()


def family(heads: Iterable[int]) -> list[int]:
    """These processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(_fields(int(status.parent.name))[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found = list(heads)
    for pid in found:  # grows while it is read
        found += children.get(pid, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process; 0 when it has ended."""
    with contextlib.suppress(OSError):
        fields = _fields(pid)
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


def memory_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, from the state on; the name before it may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started meanwhile runs on this core alone: the affinity of who starts it is inherited."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
