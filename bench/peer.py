"""What a system under measurement is to the bench: how to enqueue, and how to start a worker.

Imported with the system's own packages, so it knows only the standard library.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
"""The server of the bench, or the file of SQLite."""
SCHEME = URL.partition(":")[0]
"""What kind of server that is, for systems that know several."""
SLOTS = int(os.environ.get("BENCH_SLOTS", "25"))
"""Jobs at once of a worker, for systems that take it from their settings instead of the command line."""
EQUAL = 25
"""The concurrency at which all are compared."""


class Peer(ABC):
    """One system; what it can do beside that, `Prepares` and those below it say.

    It knows the jobs `async` (a coroutine that counts itself), `plain` (a function that does) and `stamp` (one of
    either kind that notes how long it was on its way).
    """

    packages: ClassVar[Sequence[str]]
    """Whose versions are published; the system itself first."""
    kinds: ClassVar[dict[str, int]]
    """`async` and `plain`, the one that the system was made for first -> jobs per second that one process does about;
    it only decides how many jobs a run has."""
    best: ClassVar[int]
    """Jobs at once, per process, that its documentation recommends or its defaults set for short jobs."""
    bests: ClassVar[dict[str, int]] = {}
    """Of kinds that take another number."""
    one_at_a_time: ClassVar[bool] = False
    """A process runs only one job at once, whatever is asked."""
    own_processes: ClassVar[bool] = True
    """Its command starts several processes by itself; otherwise it is started several times."""
    promise: ClassVar[str]
    """What it guarantees as it is set up here."""
    setup: ClassVar[str]
    """What differs from its defaults, and why."""

    @abstractmethod
    def send(self, job: str, *args: Any) -> Awaitable[Any] | None:
        """Enqueue one job; a coroutine where the system has one for that."""

    @abstractmethod
    def worker(self, slots: int, processes: int) -> Sequence[str]:
        """The command of a worker with so many jobs at once in each process."""


@runtime_checkable
class Prepares(Protocol):
    """One that does not make by itself what it needs."""

    async def prepare(self) -> None:
        """Make tables, in a database that is empty."""
        ...


@runtime_checkable
class Opens(Protocol):
    """One that does not connect when it first sends."""

    async def open(self) -> None:
        """Get ready to send."""
        ...


@runtime_checkable
class SendsMany(Protocol):
    """One that has a call for many jobs."""

    def send_many(self, job: str, number: int) -> Awaitable[Any] | None:
        """Enqueue so many at once."""
        ...


@runtime_checkable
class WorksHere(Protocol):
    """One whose worker can run in the process that sends."""

    async def work_here(self) -> None:
        """Start a worker in this process."""
        ...


def program(name: str) -> str:
    """A command that came with the packages of this interpreter."""
    return str(Path(sys.executable).with_name(name))
