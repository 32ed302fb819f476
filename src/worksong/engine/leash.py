"""What ties a worker process to its supervisor: a socket for reports one way, and for the parent's end the other."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence

import msgspec

from worksong.engine.measures import Measures
from worksong.engine.stats import Stats

PR_SET_PDEATHSIG = 1
LONGEST = 8192
"""Characters of an error that are passed on."""
LINE = 16 << 20
"""Bytes of a report at most: the counts of a thousand job types take a good part of one."""


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a process tells its supervisor, one line of JSON each."""

    pool: str = ""
    """It formed this pool, and fetches."""
    stats: Stats | None = None
    """It came to its end in order."""
    error: str = ""
    """It cannot work."""
    measures: Measures | None = None
    """What it has done so far."""
    place: int = 0
    """Which of the processes it is, from 1; told with the measures."""
    dismissed: bool = False
    """An operator wants it to end, and its place to stay empty."""
    gone: bool = False
    """It has ended; that is told by the one who waited for it."""


class Leash:
    """The process's end."""

    def __init__(self, descriptor: int) -> None:
        """Take over the inherited socket, and stop (as by SIGHUP) when the supervisor is gone."""
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._telling = threading.Lock()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup is for the supervisor
        if not _die_with_parent():
            threading.Thread(target=self._await_end, name="worksong-leash", daemon=True).start()
        elif self._ended():  # it was gone before we asked
            os.kill(os.getpid(), signal.SIGHUP)

    def tell(self, report: Report) -> None:
        """Send a report, from any thread; nobody listens any more when the supervisor is gone."""
        with contextlib.suppress(OSError), self._telling:
            self._socket.sendall(msgspec.json.encode(report) + b"\n")

    def _ended(self) -> bool:
        return bool(select.select([self._socket], [], [], 0)[0])

    def _await_end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.recv(1)
        os.kill(os.getpid(), signal.SIGHUP)


class Child:
    """The supervisor's end: one place for a process, and the process in it."""

    def __init__(self, number: int, *, born: Callable[[Child], None], hear: Callable[[Report], None]) -> None:
        """`born` is called when the process was started, `hear` with each of its reports."""
        self.number = number
        self.pools: list[str] = []
        self.stats: Stats | None = None
        self.error = ""
        self.replaced = False
        """It was asked to make room for a successor."""
        self.dismissed = False
        """It was asked to end, and not to be started again."""
        self._born, self._hear = born, hear
        self._process: asyncio.subprocess.Process | None = None

    async def live(self, command: Sequence[str]) -> str:
        """Start the process and wait for its end; answers what went wrong, empty for nothing."""
        self.pools, self.stats, self.error, self.replaced = [], None, "", False
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                f"--leash={theirs.fileno()}:{self.number}",
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                process_group=0,  # Ctrl-C reaches the supervisor only, which passes it on once
            )
        self._born(self)
        try:
            return await self._watch(self._process, ours)
        finally:
            self._hear(Report(place=self.number, gone=True))

    async def _watch(self, process: asyncio.subprocess.Process, ours: socket.socket) -> str:
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE)
        listening = asyncio.create_task(self._listen(reader))
        try:
            code = await process.wait()
            # Not for ever: a grandchild may hold the other end open.
            await asyncio.wait([listening], timeout=0.5)
        finally:
            listening.cancel()
            writer.close()
        return "" if code == 0 and self.stats else self.error or _ending(code)

    def signal(self, number: int) -> None:
        """Send a signal, if there is somebody to hear it."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            report = msgspec.json.decode(line, type=Report)
            if report.pool:
                self.pools.append(report.pool)
            self.dismissed = self.dismissed or report.dismissed
            self.stats, self.error = report.stats or self.stats, report.error or self.error
            self._hear(report)


def _die_with_parent() -> bool:
    """Let the kernel send SIGHUP when the parent ends; False where it cannot.

    It may send it once for each thread of the parent, so it must be a signal that may come twice.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGHUP), 0, 0, 0) == 0)
    return False


def _ending(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended by itself with exit code {code}"
