"""The child of process isolation: runs the jobs its parent sends, one after the other, and reports how each ends.

Both sides speak in frames: four bytes of length, then JSON. What is imported here was registered in the parent; nothing
that a job or a report carries names code.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import fcntl
import functools
import importlib
import inspect
import os
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any, Literal, TypeAlias, cast

import msgspec

from worksong.domain.errors import RegistrationError
from worksong.domain.job import Delivery, Job
from worksong.domain.verdict import ERROR_KEPT, Discard, Retry, Snooze
from worksong.engine.current import CURRENT
from worksong.engine.deeds import Nobody
from worksong.ports.backend import Running
from worksong.ports.context import LENDER, Context
from worksong.registry import describe
from worksong.signature import Inject, Signature

MAIN = "__worksong_main__"
"""What the main script is called here: what it guards with `if __name__ == "__main__"` does not run again."""
TRACE_KEPT = 32 * 1024
"""Characters of a traceback that are reported: the last ones."""
LENGTH = struct.Struct(">I")

NOBODY = Nobody("a process of its own", "leave out isolate='process', or let the handler compare ctx.fence")

loading = threading.Event()
"""Set while a job's module is being imported, which must not start a worker."""


class Place(msgspec.Struct, frozen=True):
    """Where a function or class is found again."""

    module: str
    qualname: str
    script: str = ""
    """The file of a main script; other modules are imported by name."""


class Order(msgspec.Struct):
    """A job to run."""

    handler: Place
    context: Place
    job: Job
    fence: int


class CheckIn(msgspec.Struct, tag=True):
    """How far the job is."""

    message: str
    done: int
    total: int


class Returned(msgspec.Struct, tag=True):
    """The handler returned."""

    value: Any


class Decided(msgspec.Struct, tag=True):
    """The handler returned or raised a verdict."""

    verdict: Literal["retry", "snooze", "discard"]
    raised: bool
    delay: float | None = None
    reason: str = ""


class Failed(msgspec.Struct, tag=True):
    """The handler raised."""

    kinds: list[str]
    """The exception's class and its bases, by name."""
    message: str
    trace: str


Report: TypeAlias = CheckIn | Returned | Decided | Failed


def frame(message: Order | Report) -> bytes:
    """The message as it travels."""
    data = msgspec.json.encode(message)
    return LENGTH.pack(len(data)) + data


def main(fd: int) -> None:
    """Run jobs until the parent closes the channel; when it dies, this process dies too, in the middle of a job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    channel = Channel(fd)
    while order := channel.receive():
        report = run(order, channel.send)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the handler may have closed it
                stream.flush()
        channel.send(report)


def run(order: Order, send: Callable[[bytes], None]) -> bytes:
    """Run the job; the framed report of its ending."""
    try:
        return frame(contextvars.Context().run(_call, order, send))
    except BaseException as failure:  # SystemExit and the like end a job, not the child
        return frame(_decided(failure, raised=True) or _failed(failure))


class Channel:
    """This end of the connection to the parent."""

    def __init__(self, fd: int) -> None:
        # Out of the way of handlers that close what they did not open, and of the programs they start.
        self._socket = socket.socket(fileno=fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100))
        os.close(fd)
        self._stream = self._socket.makefile("rb")
        self._sending = threading.Lock()
        os.register_at_fork(after_in_child=self._close)

    def receive(self) -> Order | None:
        """The next job; None when the parent wants no more."""
        head = self._stream.read(LENGTH.size)
        if len(head) < LENGTH.size:
            return None
        return msgspec.json.decode(self._stream.read(*LENGTH.unpack(head)), type=Order)

    def send(self, data: bytes) -> None:
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError:  # the parent is gone, or this is a fork of the child: nobody waits for the job any more
            os._exit(1)

    def _close(self) -> None:
        self._stream.close()
        self._socket.close()


class Reporting(Running):
    """A run whose check-ins are reported."""

    send: Callable[[bytes], None] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "checkin_at" and self.send:  # the last step of a check-in
            self.send(frame(CheckIn(_plain(self.checkin), self.done, self.total)))


def _call(order: Order, send: Callable[[bytes], None]) -> Returned | Decided:
    """Run the job in its own context."""
    function, signature = _target(order.handler, order.context)
    context: Context = _find(order.context)()
    running = Reporting(Delivery(order.job, None, order.fence), 0, time.time(), send=send)
    context.begin(running, time.time)
    CURRENT.set(context)
    LENDER.set(NOBODY)
    args, kwargs = signature.call(order.job.args)
    first = {Inject.NOTHING: (), Inject.JOB: (order.job,), Inject.CONTEXT: (context,)}[signature.inject]
    try:
        value = function(*first, *args, **kwargs)
        value = asyncio.run(value) if inspect.iscoroutine(value) else value
    finally:
        running.send = None  # a thread that outlives its job must not check in for the next one
    return _decided(value, raised=False) or Returned(_carried(value, function))


@functools.cache
def _target(handler: Place, context: Place) -> tuple[Callable[..., Any], Signature]:
    """The function behind a job type, and its signature."""
    found = _find(handler)
    function = getattr(found, "function", found)  # a decorated handler is a JobType
    return function, Signature(function, _find(context), {})


@functools.cache
def _find(place: Place) -> Any:
    loading.set()
    try:
        found: Any = _script(place.script) if place.script else importlib.import_module(place.module)
    finally:
        loading.clear()
    for name in place.qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise RegistrationError(
                f"{place.qualname!r} is not found in {place.script or place.module!r} when it is imported anew, in a "
                'child process: define it at the module\'s top level, outside `if __name__ == "__main__"`'
            ) from None
    return found


def _script(path: str) -> ModuleType:
    """The main script as a module."""
    if MAIN in sys.modules:
        return sys.modules[MAIN]
    loader = SourceFileLoader(MAIN, path)
    module = module_from_spec(cast("Any", spec_from_loader(MAIN, loader)))
    sys.modules[MAIN] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[MAIN]
        raise
    return module


def _carried(value: object, function: Callable[..., Any]) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as wrong:
        raise TypeError(f"the result of {describe(function)}() cannot be carried as JSON: {wrong}") from wrong


def _decided(ending: object, *, raised: bool) -> Decided | None:
    match ending:
        case Retry():
            return Decided("retry", raised, delay=ending.delay)
        case Snooze():
            return Decided("snooze", raised, delay=ending.delay)
        case Discard():
            return Decided("discard", raised, reason=_plain(ending.reason))
        case _:
            return None


def _failed(failure: BaseException) -> Failed:
    try:
        message = _plain(str(failure))
    except Exception:
        message = "(its message cannot be printed)"
    try:
        trace = "".join(line[:ERROR_KEPT] for line in traceback.format_exception(failure))
    except Exception:
        trace = ""
    kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(failure).__mro__]
    return Failed(kinds, message, _plain(trace[-TRACE_KEPT:], TRACE_KEPT))


def _plain(text: object, kept: int = ERROR_KEPT) -> str:
    """Text that UTF-8 can carry."""
    return str(text)[:kept].encode(errors="replace").decode()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, AttributeError, OSError):  # then the channel's end ends it, between jobs
            importlib.import_module("ctypes").CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
