"""The crash matrix: handlers that do what no handler should, by what must come of each."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from worksong import Worker


class Custom(BaseException):
    """Not even an Exception."""


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Unpicklable(Exception):
    """Takes what no process could send to another."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __str__(self) -> str:
        return "not to be pickled"


def throw(failure: BaseException | type[BaseException]) -> NoReturn:
    raise failure


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


async def exit_in_a_task() -> None:
    await asyncio.create_task(_exit())


async def _exit() -> None:
    sys.exit(4)


FAILS: dict[str, tuple[Callable[[], Any], str]] = {
    "sys_exit": (lambda: sys.exit(3), "SystemExit: 3"),
    "interrupt": (lambda: throw(KeyboardInterrupt), "KeyboardInterrupt"),
    "exit_in_a_task": (exit_in_a_task, "ExitInTask: SystemExit: 4"),
    "generator_exit": (lambda: throw(GeneratorExit("x")), "GeneratorExit: x"),
    "custom": (lambda: throw(Custom("wild")), "Custom: wild"),
    "cancelled": (lambda: throw(asyncio.CancelledError("mine")), "CancelledError: mine"),
    "stop_iteration": (lambda: throw(StopIteration(5)), "RuntimeError: coroutine raised StopIteration"),
    "recursion": (recurse, "RecursionError: maximum recursion depth exceeded"),
    "memory": (lambda: throw(MemoryError("none left")), "MemoryError: none left"),
    "mute": (lambda: throw(Mute()), "Mute: (its message cannot be printed)"),
    "ten_megabytes": (lambda: throw(ValueError("x" * 10_000_000)), "ValueError: xxx"),
    "unpicklable": (lambda: throw(Unpicklable()), "Unpicklable: not to be pickled"),
}
"""Coroutines that fail: name -> what they do, how the error of the dead job begins."""

FATAL: dict[str, Callable[[], Any]] = {
    "exit_0": lambda: os._exit(0),
    "exit_1": lambda: os._exit(1),
    "segv": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "close_files": lambda: os.closerange(3, 51),
}
"""What ends the worker's whole process; each does so at its first run only."""


async def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point


async def hold_the_interpreter(seconds: float) -> None:
    """In C code that never lets go of the GIL."""
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))


async def ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


async def leak_tasks() -> None:
    LEAKED.extend(asyncio.create_task(asyncio.Event().wait()) for _ in range(1000))


LEAKED: list[asyncio.Task[Any]] = []
FINISH: dict[str, Callable[..., Any]] = {
    "block_the_loop": block_the_loop,
    "hold_the_interpreter": hold_the_interpreter,
    "leak_tasks": leak_tasks,
    "ignore_sigterm": ignore_sigterm,
}
"""What goes well for the job itself, and must do no harm to others."""

STUCK = ("swallow_cancellation", "never_end_in_a_thread")
"""What does not stop when it is told to; a file called `enough` ends it."""


def register(worker: Worker, place: Path) -> None:
    """Make all of them job types of this worker."""
    for name, (crash, _) in FAILS.items():
        worker.register(name, _coroutine(crash), max_fails=1)
    for name, crash in FATAL.items():
        worker.register(name, _once(crash, place / f"{name}.done"), max_fails=1)
    for name, function in FINISH.items():
        worker.register(name, function, max_fails=1)
    enough = place / "enough"

    async def swallow_cancellation() -> None:
        while not enough.exists():
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                continue

    def never_end_in_a_thread() -> None:
        while not enough.exists():
            time.sleep(0.02)

    for stubborn in (swallow_cancellation, never_end_in_a_thread):
        worker.register(stubborn.__name__, stubborn, max_fails=1, timeout=0.2)


def _coroutine(crash: Callable[[], Any]) -> Callable[[], Any]:
    async def handler() -> None:
        await asyncio.sleep(0)
        found = crash()
        if asyncio.iscoroutine(found):
            await found

    return handler


def _once(crash: Callable[[], Any], done: Path) -> Callable[[], Any]:
    def first_time() -> bool:
        with contextlib.suppress(FileExistsError):
            done.touch(exist_ok=False)
            return True
        return False

    async def handler() -> None:
        if first_time():
            crash()
            await asyncio.sleep(0)

    return handler
