"""Process isolation: handlers run in child processes, which a timeout can kill and a crash cannot take us along.

The other side is `isolated`. Children are plain programs that are told what to import, never forks of this process:
what runs here (threads, locks, connections) is nothing they could inherit half of.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import functools
import inspect
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias

import msgspec

from worksong.domain.errors import ConfigError, RegistrationError, Stopped
from worksong.domain.verdict import Discard, Retry, Snooze, WorkerCrashed
from worksong.engine.isolated import (
    LENGTH,
    MAIN,
    CheckIn,
    Decided,
    Failed,
    Order,
    Place,
    Report,
    Returned,
    frame,
    loading,
)
from worksong.ports.context import Context
from worksong.ports.handler import Handler
from worksong.registry import JobSpec, Options, describe

PATIENCE = 1.0
"""Seconds between asking a child to end and the next, harder way."""
PAUSES = (0.1, 5.0)
"""Seconds before a new child after a crash, doubling from first to last while crashes follow one another."""
SECRETS = (
    "WORKSONG_URL",
    "REDIS_URL",
    "REDIS_PROVIDER",
    "FAKTORY_URL",
    "FAKTORY_PROVIDER",
    "AMQP_URL",
    "CLOUDAMQP_URL",
)
"""Environment variables that hold a broker's URL, or (..._PROVIDER) the name of the one that does."""

Ending: TypeAlias = Returned | Decided | Failed


def check_importable(function: Callable[..., Any]) -> None:
    """Refuse what a child process could not find again by its name."""
    qualname = getattr(function, "__qualname__", "")
    owner = getattr(function, "__self__", None)
    if "<locals>" in qualname or "<lambda>" in qualname:
        why = "is defined inside another function or a lambda"
    elif not qualname or not getattr(function, "__module__", None):
        why = "is an object without a name of its own"
    elif not (owner is None or inspect.ismodule(owner) or f"{_name(owner)}.{function.__name__}" == qualname):
        why = "is a method bound to an object"
    elif function.__module__ == "__main__" and place(function) == Place(MAIN, qualname):
        why = "is defined in an interactive session"
    else:
        return
    raise RegistrationError(
        f"{describe(function)} cannot run in a process of its own, because it {why}, which a child process cannot "
        "import: define it at the top level of a module, or leave out isolate='process'"
    )


def place(thing: Any) -> Place:
    """Where a child finds a function or class; the main script is imported under another name there."""
    if thing.__module__ != "__main__":
        return Place(thing.__module__, thing.__qualname__)
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", "__main__")
    if name != "__main__":  # python -m
        return Place(name, thing.__qualname__)
    script = getattr(main, "__file__", None) or ""
    return Place(MAIN, thing.__qualname__, script if Path(script).is_file() else "")


class Isolation:
    """At most `limit` child processes, started when needed and used again, each for one job at a time."""

    def __init__(self, limit: int) -> None:
        if loading.is_set():
            raise ConfigError(
                "a job's module starts a worker when it is imported, which its child process must not: "
                'put what starts it under `if __name__ == "__main__":`'
            )
        self._room = asyncio.Semaphore(limit)
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._pause, self._resume_at = 0.0, 0.0
        self._closed = False

    def handler(self, spec: JobSpec) -> Handler:
        """Run jobs of this type in a child; a cancelled run is killed, with all it started."""
        check_importable(spec.function)
        handler, kinds = place(spec.function), _kinds(spec.options)

        async def call(context: Context) -> object:
            check_importable(type(context))
            order = frame(Order(handler, place(type(context)), context.job, context.fence))
            async with self._room:
                ending = await self._run(order, context)
            return _conclude(ending, kinds)

        return call

    async def close(self) -> None:
        """End the children: first asked, then told, then killed."""
        self._closed = True
        await asyncio.gather(*(child.close() for child in self._children))
        self._children.clear()

    async def _run(self, order: bytes, context: Context) -> Ending:
        child = await self._take()
        try:
            ending = await child.run(order, context)
        except BaseException as failure:
            if isinstance(failure, WorkerCrashed):
                self._slow_down()
            await self._end(child)
            raise
        self._pause = 0.0
        self._idle.append(child)
        return ending

    async def _take(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            await self._end(child)
        await asyncio.sleep(self._resume_at - asyncio.get_running_loop().time())
        if self._closed:
            raise Stopped
        child = await Child.start()
        self._children.add(child)
        return child

    async def _end(self, child: Child) -> None:
        await child.kill()
        self._children.discard(child)

    def _slow_down(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._resume_at:  # children that crash together count once
            first, last = PAUSES
            self._pause = min(last, self._pause * 2) or first
            self._resume_at = now + self._pause


class Child:
    """A child process and the connection to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer

    @classmethod
    async def start(cls) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            fd = theirs.fileno()
            code = f"import sys; sys.path[:] = {sys.path!a}; from worksong.engine.isolated import main; main({fd})"
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", code),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=scrubbed(os.environ),
                    pass_fds=[fd],
                    start_new_session=True,
                )
            except BaseException:
                writer.close()
                raise
        return cls(process, reader, writer)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._reader.at_eof()

    async def run(self, order: bytes, context: Context) -> Ending:
        """Run a job; `WorkerCrashed` when the child did not live to tell its ending."""
        await self._send(order)
        while isinstance(report := await self._receive(), CheckIn):
            if report.total and report.message == f"{report.done}/{report.total}":
                context.progress(report.done, report.total)
            else:
                context.checkin(report.message)
        return report

    async def close(self) -> None:
        """End it between jobs."""
        self._writer.close()
        if not await self._gone():
            self._signal(signal.SIGTERM)
            await self._gone()
        await self.kill()

    async def kill(self) -> None:
        """End it and what it started at once."""
        self._signal(signal.SIGKILL)
        self._writer.transport.abort()
        await self._gone()

    async def _send(self, order: bytes) -> None:
        with contextlib.suppress(OSError):  # reading will tell
            self._writer.write(order)
            await self._writer.drain()

    async def _receive(self) -> Report:
        try:
            head = await self._reader.readexactly(LENGTH.size)
            return _report.decode(await self._reader.readexactly(*LENGTH.unpack(head)))
        except (OSError, EOFError, msgspec.MsgspecError):
            why = _why(self._process.returncode) if await self._gone() else "connection lost"
            raise WorkerCrashed(f"worker_crashed:{why}") from None

    async def _gone(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._process.wait()
        return self._process.returncode is not None

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class RemoteFailure(Exception):
    """A failure in a child process. Its class has the original's name, and those of its bases that are known here."""

    def __str__(self) -> str:
        return BaseException.__str__(self)


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the broker's credentials; URLs stay URLs, for modules that read them when imported."""
    names = {*SECRETS, *(environment.get(name, "") for name in SECRETS if name.endswith("_PROVIDER"))}
    return {name: _without_secrets(value) if name in names else value for name, value in environment.items()}


def _without_secrets(value: str) -> str:
    """A URL without user, password and query. A password may hold any character, so all before the last @ goes."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "", value
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


def _conclude(ending: Ending, kinds: Mapping[str, type[BaseException]]) -> object:
    """Return or raise what the handler did."""
    if isinstance(ending, Returned):
        return ending.value
    if isinstance(ending, Failed):
        raise _revived(ending, kinds)
    match ending.verdict:
        case "retry":
            verdict: Retry | Snooze | Discard = Retry(ending.delay)
        case "snooze":
            verdict = Snooze(ending.delay or 0.0)
        case "discard":
            verdict = Discard(ending.reason)
    if ending.raised:
        raise verdict
    return verdict


def _kinds(options: Options) -> dict[str, type[BaseException]]:
    """The exceptions that a failure may be: no report names a class that was not here before."""
    plain = [kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    every = [*plain, *options.retry_for, *options.discard_on]
    # A coroutine cannot raise StopIteration.
    return {f"{place(kind).module}.{kind.__qualname__}": kind for kind in every if not issubclass(kind, StopIteration)}


def _revived(report: Failed, kinds: Mapping[str, type[BaseException]]) -> BaseException:
    bases: list[type[BaseException]] = []
    for name in report.kinds:
        known = kinds.get(name)
        if known and not any(issubclass(base, known) for base in bases):
            bases.append(known)
    try:
        kind = _remote(report.kinds[0], tuple(bases))
        failure = kind.__new__(kind, report.message)
    except Exception:  # a base that cannot be made like that
        kind = _remote(report.kinds[0], ())
        failure = kind(report.message)
    BaseException.__init__(failure, report.message)
    failure.add_note(f"In the child process:\n{report.trace}")
    return failure


@functools.lru_cache(256)
def _remote(name: str, bases: tuple[type[BaseException], ...]) -> type[BaseException]:
    module, _, name = name.rpartition(".")
    return type(name, (RemoteFailure, *bases), {"__module__": module})


def _why(code: int | None) -> str:
    """An exit code as the reason of a crash."""
    if code is None or code >= 0:
        return f"exit {code}"
    if code == -signal.SIGKILL:
        return "SIGKILL(oom?)"
    return signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"


def _name(owner: object) -> str:
    return getattr(owner, "__qualname__", "")


_report: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
