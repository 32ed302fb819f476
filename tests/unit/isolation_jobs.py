"""Handlers that run in child processes; these import this file by its name."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from worksong import Context, Discard, Job, Retry, Snooze, Worker, current


class Order(msgspec.Struct):
    item: str
    count: int = 1


class MyContext(Context):
    tenant: str = "acme"


class Refused(Exception):
    """Takes what no report could carry."""

    def __init__(self, response: object, code: int) -> None:
        super().__init__(response, code)

    def __str__(self) -> str:
        return "refused by the peer"

    @property
    def message(self) -> str:
        raise AssertionError("not for others")


class RefusedForGood(Refused):
    pass


class Elsewhere(Exception):
    pass


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Untamed(BaseException):
    pass


worker = Worker()


@worker.job(isolate="process")
def decorated(number: int) -> int:
    return number + 1


def pid() -> int:
    return os.getpid()


def converted(order: Order, *, note: str = "none") -> list[Any]:
    return [order.item, order.count, note]


def with_job(job: Job) -> list[Any]:
    return [job.id, job.attempt, job.args, job.meta, current().job == job]


def with_context(context: MyContext, number: int) -> list[Any]:
    return [context.tenant, context.fence, context.lease_lost, current() is context, number]


async def coroutine(number: int) -> list[Any]:
    await asyncio.sleep(0)
    return [number, current().job.handler]


class Methods:
    @staticmethod
    def static(number: int) -> int:
        return number

    @classmethod
    def of_class(cls, number: int) -> int:
        return number

    def bound(self) -> None: ...


def returns(value: Any) -> Any:
    odd = {"object": object(), "circle": circle(), "surrogate": "\ud800"}
    return odd.get(value, value) if isinstance(value, str) else value


def circle() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


async def leaking() -> str:
    tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(1000)]
    return f"{len(tasks)} left behind"


def untidy() -> str:
    os.closerange(3, 51)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return "closed"


def forked() -> str:
    child = os.fork()
    if not child:
        return "from the fork"
    os.waitpid(child, 0)
    return "from the child"


def deep() -> None:
    deep()


FAILURES: dict[str, Callable[[], BaseException]] = {
    "value": lambda: ValueError("boom"),
    "key": lambda: KeyError("who"),
    "os": lambda: FileNotFoundError(2, "No such file or directory", "x"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "stop": lambda: StopIteration(5),
    "memory": MemoryError,
    "group": lambda: ExceptionGroup("several", [ValueError(), TypeError()]),
    "untamed": lambda: Untamed("wild"),
    "refused": lambda: Refused(object(), 7),
    "refused for good": lambda: RefusedForGood(object(), 7),
    "elsewhere": lambda: Elsewhere("far"),
    "unprintable": Unprintable,
    "surrogate": lambda: ValueError("\ud800"),
    "huge": lambda: ValueError("x" * 10_000_000),
    "snooze": lambda: Snooze(30),
    "retry": lambda: Retry(7),
    "retry whenever": Retry,
    "discard": lambda: Discard("enough"),
}


def fail(how: str) -> None:
    failure = FAILURES[how]()
    raise failure


async def fail_in_task(how: str) -> None:
    await asyncio.create_task(asyncio.to_thread(fail, how))


def decide(how: str) -> BaseException:
    return FAILURES[how]()


def die(how: str) -> None:
    ends: dict[str, Callable[[], object]] = {
        "exit 0": lambda: os._exit(0),
        "exit 1": lambda: os._exit(1),
        "segv": lambda: ctypes.string_at(0),
        "abort": os.abort,
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    }
    ends[how]()


def tell(context: Context) -> str:
    context.checkin("begun")
    context.progress(1, 2)
    context.checkin("\ud800 odd")
    context.progress(2, 2)
    return "told"


NEXT, SAID = threading.Event(), threading.Event()


def leave_thread(context: Context) -> None:
    def late() -> None:
        NEXT.wait()
        context.checkin("late")
        SAID.set()

    threading.Thread(target=late).start()


def release_thread() -> None:
    NEXT.set()
    SAID.wait()


def hang(context: Context, fifo: str) -> None:
    """Hold the fifo open, here and in a program started here, for ever."""
    with Path(fifo).open("wb") as held:
        program = subprocess.Popen(["sleep", "1000"], stdout=held)
        context.checkin(f"hanging with {program.pid}")
        signal.pause()


async def hang_stubbornly(context: Context, fifo: str) -> None:
    os.open(fifo, os.O_WRONLY)
    context.checkin("hanging")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


def environment() -> dict[str, str]:
    """As the kernel knows it where it does, for what was unset later can still be read there."""
    file = Path("/proc/self/environ")
    if not file.exists():
        return dict(os.environ)
    return dict(line.split("=", 1) for line in file.read_text().split("\0") if line)


def open_files() -> int:
    return sum(Path(f"/proc/self/fd/{fd}").exists() for fd in range(3, 100))


def signals() -> list[bool]:
    return [
        signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        os.getpgid(0) == os.getpid(),
        os.getsid(0) == os.getpid(),
    ]
