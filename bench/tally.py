"""How many jobs ran, counted where they run: the same few instructions for every system.

Each process that runs handlers adds to eight bytes of its own, in a file mapped into memory; who measures adds them up.
Nothing goes through a broker, and a job that ran twice counts twice. Only the standard library: peers import this.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from pathlib import Path

PLACE = "BENCH_TALLY"
"""Environment variable: the directory of the files."""
DELAYS = "delays"
"""The file to which `stamp` appends how long each job was on its way, in nanoseconds."""


class Counter:
    """The count of this process; made anew in a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cell: memoryview | None = None
        self._delays: int | None = None
        os.register_at_fork(after_in_child=self._forget)

    def done(self) -> None:
        """One job ran."""
        with self._lock:
            if self._cell is None:
                self._cell = self._open()
            self._cell[0] += 1

    def stamp(self, sent: int) -> None:
        """A job runs now that was sent at `time.monotonic_ns() == sent`, in whichever process."""
        took = time.monotonic_ns() - sent
        with self._lock:
            if self._delays is None:
                path = Path(os.environ[PLACE], DELAYS)
                self._delays = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.write(self._delays, struct.pack("=q", took))

    def _open(self) -> memoryview:
        path = Path(os.environ[PLACE], f"{os.getpid()}.count")
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            return memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._cell = None


_counter = Counter()
done, stamp = _counter.done, _counter.stamp


class Tally:
    """What all processes counted in this directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def counts(self) -> list[int]:
        """Of each process that ran a job."""
        files = self.directory.glob("*.count")
        return [struct.unpack("=Q", file.read_bytes().ljust(8, b"\0"))[0] for file in files]

    def total(self) -> int:
        return sum(self.counts())

    def delays(self) -> list[float]:
        """Seconds from sending to running, in the order in which the jobs ran."""
        path = self.directory / DELAYS
        written = path.read_bytes() if path.exists() else b""
        return [took / 1e9 for (took,) in struct.iter_unpack("=q", written[: len(written) // 8 * 8])]
