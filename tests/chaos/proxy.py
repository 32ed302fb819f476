"""A TCP proxy before Redis that spoils what it is told to: this command, that way, so many times."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import Enum
from importlib import resources
from typing import Any, NamedTuple, Self

import hiredis

from worksong.adapters.redis.client import Script

NAME = "redis.chaos.invalid"
"""The host in the proxy's URL; no name server is asked for it."""
LATENCY = 0.1, 0.3
RATE = 10_000
"""Bytes in a second on a slow line."""
TICK = 0.02
ANY = "*"
ALWAYS = 1 << 30
GARBAGE = (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\xfe\r\n", b"*1\r\n@\r\n", b"$-7\r\n", b"\x16\x03\x01\x02")


class Fault(Enum):
    """What goes wrong."""

    LATENCY = "the answer comes 100 to 300 ms late"
    SLOW = "10 kB pass in a second, both ways"
    SLICED = "every byte comes by itself, both ways"
    STALLED = "half of the answer comes, then nothing more"
    BLACKHOLE = "what is sent goes nowhere"
    SLAMMED = "connections are accepted and closed"
    CUT_BEFORE = "the connection is reset before the command reaches the server"
    CUT_AFTER = "the connection is reset when the server has carried out the command"
    HALF_CLOSED = "the server carries it out and says no more, though it still listens"
    GARBAGE = "the server carries it out, and what comes back is no Redis answer"
    FULL = "the server takes no more clients"
    NAMELESS = "the host's name cannot be looked up"


ON_CONNECTING = frozenset({Fault.SLAMMED, Fault.FULL, Fault.NAMELESS})
"""These meet whoever connects, and last until all is healed."""


class Proxy:
    """`with Proxy(port) as proxy`: lives in a thread of its own, so that no test can hold it up.

    Commands are called as in Redis, those that run one of our scripts with its name: "LPUSH", "EVALSHA:settle".
    """

    crowded = b"-ERR max number of clients reached\r\n"
    """What the server says to whom it does not take."""

    def __init__(self, upstream: int, *, seed: int = 0) -> None:
        """`upstream`: the port of the server on this machine."""
        self.upstream = upstream
        self.port = 0
        self.connects: list[float] = []
        """When somebody connected, by the monotonic clock."""
        self.pieces = 0
        """How many pieces of data were passed on."""
        self.seen: Counter[str] = Counter()
        """How often each command came."""
        self.struck: Counter[tuple[str, Fault]] = Counter()
        """How often which fault struck which command."""
        self.refused = 0
        """How many could not connect."""
        self._draw = random.Random(seed)
        self._rules: list[_Rule] = []
        self._refusal: Fault | None = None
        self._scripts = our_scripts()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="chaos-proxy")

    @property
    def url(self) -> str:
        return f"redis://{NAME}:{self.port}/0"

    @property
    def open(self) -> int:
        """How many are connected now."""
        return len(self._clients)

    def on(self, command: str, fault: Fault, *, times: int = 1, answering: bytes = b"") -> None:
        """Spoil the next `times` that the command comes; ANY is every command.

        With `answering`, only those whose answers hold these bytes.
        """
        self._rules.append(_Rule(command, fault, times, answering))

    def refuse(self, fault: Fault) -> None:
        """Cut everybody off, and let nobody connect again until all is healed."""
        self._refusal = fault
        self.cut_all()

    def strike(self, command: str, fault: Fault) -> None:
        """Spoil the next such command, or everything from now on where the fault is one of connecting."""
        if fault in ON_CONNECTING:
            self.refuse(fault)
        else:
            self.on(command, fault)

    def heal(self) -> None:
        """Spoil nothing more. Connections that were left hanging stay so: nobody told them."""
        self._rules.clear()
        self._refusal = None

    def cut_all(self) -> None:
        """Reset every connection; when this returns the clients' machines have been told."""
        self._in_its_loop(lambda: [_reset(client) for client in self._clients])
        self._in_its_loop(lambda: None)  # after what the resets have put off to the loop's next turn

    # life

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        self._resolve, socket.getaddrinfo = socket.getaddrinfo, self._look_up
        return self

    def __exit__(self, *_: object) -> None:
        socket.getaddrinfo = self._resolve
        self._in_its_loop(self._stop.set)
        self._thread.join()

    def _look_up(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        """Stands in the place of the system's resolver, for one name only."""
        if host not in (NAME, NAME.encode()):
            return self._resolve(host, *args, **kwargs)
        if self._refusal is Fault.NAMELESS:
            self.refused += 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._resolve("127.0.0.1", *args, **kwargs)

    def _in_its_loop(self, do: Any) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (do(), done.set()))
        assert done.wait(60)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)  # for what was reset to be closed

    # one connection

    def _welcome(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.connects.append(time.monotonic())
        task = self._loop.create_task(self._serve(reader, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._refusal:
            self.refused += 1
            if self._refusal is Fault.FULL:
                client.write(self.crowded)
            client.close()
            return
        self._clients.add(client)
        server: asyncio.StreamWriter | None = None
        try:
            answering, server = await asyncio.open_connection("127.0.0.1", self.upstream)
            await self._talk(Ends(reader, client, answering, server))
        except (OSError, asyncio.IncompleteReadError, Over):
            pass
        finally:
            self._clients.discard(client)
            for writer in filter(None, (client, server)):
                _reset(writer)

    async def _talk(self, ends: Ends) -> None:
        """Pass everything on, until one of them has enough."""
        await self._exchange(Line(ends))

    async def _exchange(self, line: Line) -> None:
        """Command by command, each with its answer."""
        try:
            while await self._pass(line):
                pass
            await line.hung_up()
        finally:
            line.close()

    async def _pass(self, line: Line) -> bool:
        """One command there and its answer back, unless something is to go wrong; False: nothing more will pass."""
        command, came = await line.command()
        name = self._called(command)
        self.seen[name] += 1
        fault = self._next_fault(name)
        if fault is Fault.CUT_BEFORE:
            raise Over
        if fault is Fault.BLACKHOLE:
            return False
        await self._carry(command, line.server, fault)
        answer = await line.answer()
        fault = fault or self._next_fault(name, answer)
        client = line.client
        match fault:
            case Fault.CUT_AFTER:
                raise Over
            case Fault.HALF_CLOSED:
                client.write_eof()
                return False
            case Fault.STALLED:
                client.write(answer[: len(answer) // 2])
                return False
            case Fault.GARBAGE:
                client.write(self._draw.choice(GARBAGE))
                return False
            case Fault.LATENCY:
                await asyncio.sleep(came + self._draw.uniform(*LATENCY) - time.monotonic())
        async with line.speaking:
            await self._carry(answer, client, fault)
        return True

    async def _carry(self, data: bytes, to: asyncio.StreamWriter, fault: Fault | None) -> None:
        size, pause = {Fault.SLICED: (1, 0.0), Fault.SLOW: (int(RATE * TICK), TICK)}.get(fault, (len(data), None))
        for start in range(0, len(data), size):
            to.write(data[start : start + size])
            self.pieces += 1
            await to.drain()
            if pause is not None:
                await asyncio.sleep(pause)

    # which command meets what

    def _called(self, command: bytes) -> str:
        parts = _parts(command)
        verb = parts[0].decode().upper()
        if verb == "EVALSHA":
            return f"{verb}:{self._scripts.get(parts[1].decode(), parts[1].decode())}"
        if verb == "EVAL":
            return f"{verb}:{self._scripts.get(Script(parts[1].decode()).sha1, '?')}"
        return verb

    def _next_fault(self, command: str, answer: bytes | None = None) -> Fault | None:
        """What strikes the command; with its answer, what waited for that."""
        for rule in self._rules.copy():
            if rule.command in (command, ANY) and rule.left > 0 and rule.fits(answer):
                rule.left -= 1
                self.struck[command, rule.fault] += 1
                return rule.fault
        return None


class _Rule:
    def __init__(self, command: str, fault: Fault, times: int, answering: bytes) -> None:
        self.command, self.fault, self.left, self._answering = command, fault, times, answering

    def fits(self, answer: bytes | None) -> bool:
        return not self._answering if answer is None else bool(self._answering) and self._answering in answer


class Ends(NamedTuple):
    """A client's connection and the server's behind it: where each is heard, and where it is spoken to."""

    reader: asyncio.StreamReader
    client: asyncio.StreamWriter
    answering: asyncio.StreamReader
    server: asyncio.StreamWriter


class Line:
    """Both ends are heard all the time, also when they hang up."""

    def __init__(self, ends: Ends, *, asked: Callable[[asyncio.StreamReader], Awaitable[bytes]] | None = None) -> None:
        """`asked` reads a command, where those do not look like answers."""
        self.client, self.server = ends.client, ends.server
        self._commands: asyncio.Queue[tuple[bytes, float] | None] = asyncio.Queue()
        self._answers: asyncio.Queue[tuple[bytes, float] | None] = asyncio.Queue()
        create = asyncio.get_running_loop().create_task
        self.speaking = asyncio.Lock()
        """Held while something is said to the client: what comes unasked must not come into the midst of it."""
        self._pumps = [
            create(_pump(ends.reader, self._commands, ends.client, read=asked)),
            create(_pump(ends.answering, self._answers, ends.client, unasked=self._hand_on)),
        ]

    async def command(self) -> tuple[bytes, float]:
        """The next one, and when it came."""
        return _present(await self._commands.get())

    async def answer(self) -> bytes:
        return _present(await self._answers.get())[0]

    async def _hand_on(self, value: bytes) -> None:
        async with self.speaking:
            self.client.write(value)

    async def hung_up(self) -> None:
        """Wait until the client goes, and say nothing more."""
        await self.speaking.acquire()
        while await self._commands.get():
            pass

    def close(self) -> None:
        for pump in self._pumps:
            pump.cancel()


def _present(found: tuple[bytes, float] | None) -> tuple[bytes, float]:
    if found is None:
        raise Over
    return found


class Over(Exception):
    """The connection is to be reset."""


def our_scripts() -> dict[str, str]:
    """SHA -> name."""
    found: dict[str, str] = {}
    for package, prefix in (("worksong.adapters.redis", ""), ("worksong.adapters.resque", "resque_")):
        for entry in resources.files(package).joinpath("scripts").iterdir():
            if entry.name.endswith(".lua"):
                name = entry.name.removesuffix(".lua")
                found[Script.named(name, package=package).sha1] = f"{prefix}{name}"
    return found


async def _pump(
    reader: asyncio.StreamReader,
    values: asyncio.Queue[tuple[bytes, float] | None],
    client: asyncio.StreamWriter,
    *,
    unasked: Callable[[bytes], Awaitable[None]] | None = None,
    read: Callable[[asyncio.StreamReader], Awaitable[bytes]] | None = None,
) -> None:
    """Read values with the times when they came, None at the end; whoever it was that went, the client goes."""
    try:
        while True:
            value = await (read or _value)(reader)
            if unasked and value.startswith(b">"):
                await unasked(value)
            else:
                values.put_nowait((value, time.monotonic()))
    except (OSError, ValueError, asyncio.IncompleteReadError):
        values.put_nowait(None)
        _reset(client)


async def _value(reader: asyncio.StreamReader) -> bytes:
    """The bytes of one whole value; what is sent to Redis and what it answers look alike."""
    line = await reader.readuntil(b"\r\n")
    kind, said = line[:1], line[1:-2]
    if said == b"-1":
        return line
    if kind == b"$":
        return line + await reader.readexactly(int(said) + 2)
    if kind in (b"*", b">", b"%"):
        parts = int(said) * (2 if kind == b"%" else 1)
        return line + b"".join([await _value(reader) for _ in range(parts)])
    return line


def _parts(command: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(command)
    parts: list[bytes] = reader.gets()
    return parts


def _reset(writer: asyncio.StreamWriter) -> None:
    """End it with an RST."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
