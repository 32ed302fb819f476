"""The proxy before RabbitMQ: both sides speak when they like, so what comes next after a command is its answer."""

from __future__ import annotations

import asyncio
import time

from chaos.proxy import LATENCY, Ends, Fault, Over, Proxy

METHODS = {
    (50, 10): "queue.declare",
    (60, 20): "basic.consume",
    (60, 40): "basic.publish",
    (60, 70): "basic.get",
    (60, 80): "basic.ack",
    (60, 120): "basic.nack",
}
"""Class and method -> what the specification calls it, of those that are struck."""
METHOD, HEARTBEAT = 1, 8
"""Kinds of frames."""
GARBAGE = (
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x00\xff\xfe\r\n" * 3,
    b"\x09" * 40,
    b"\x01" + b"\xff" * 6 + b"\0" * 9,
)
LINE = frozenset({Fault.SLOW, Fault.SLICED})
"""Faults of the line itself, both ways."""


class AmqpProxy(Proxy):
    """Commands are called as in the specification: "basic.publish"."""

    crowded = b"AMQP\x00\x00\x09\x01"
    """What the server says to whom it does not understand, before it closes the connection."""

    def __init__(self, upstream: int, *, seed: int = 0) -> None:
        super().__init__(upstream, seed=seed)
        self._lines: set[_Line] = set()

    def hush(self) -> int:
        """From now on nothing passes on the connections there are, and neither end hears of it; answers how many."""
        hushed: list[_Line] = []

        def hush() -> None:
            hushed.extend(self._lines)
            for line in hushed:
                line.silent = True

        self._in_its_loop(hush)
        return len(hushed)

    def heal(self) -> None:
        """Lines that were slow are fast again, too."""
        super().heal()

        def mend() -> None:
            for line in self._lines:
                line.fault = None if line.fault in LINE else line.fault

        self._in_its_loop(mend)

    async def _talk(self, ends: Ends) -> None:
        line = _Line()
        self._lines.add(line)
        sides = [asyncio.create_task(self._there(line, ends.reader, ends.server))]
        sides += [asyncio.create_task(self._back(line, ends.answering, ends.client))]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            if line.silent:  # the server has given it up: nobody tells the client, who goes when it notices by itself
                await asyncio.wait(sides[:1])
        finally:
            self._lines.discard(line)
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    async def _there(self, line: _Line, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        server.write(await reader.readexactly(8))
        while True:
            frame = await _frame(reader)
            name = _called(frame)
            if name:
                self.seen[name] += 1
                line.meets(self._next_fault(name))
            if line.fault is Fault.CUT_BEFORE:
                raise Over
            if line.fault is Fault.BLACKHOLE:
                line.silent = True
            if not line.silent:
                await self._carry(frame, server, line.fault if line.fault in LINE else None)

    async def _back(self, line: _Line, answering: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while True:
            frame = await _frame(answering)
            if line.silent:
                continue
            fault = line.fault if frame[0] != HEARTBEAT else None
            match fault:
                case Fault.CUT_AFTER:
                    raise Over
                case Fault.HALF_CLOSED:
                    client.write_eof()
                case Fault.STALLED:
                    client.write(frame[: len(frame) // 2])
                case Fault.GARBAGE:
                    client.write(self._draw.choice(GARBAGE))
                case Fault.LATENCY:
                    await asyncio.sleep(line.since + self._draw.uniform(*LATENCY) - time.monotonic())
                    await self._carry(frame, client, None)
                    line.fault = None
                case _:
                    await self._carry(frame, client, fault if fault in LINE else None)
                    continue
            line.silent = line.fault is not None


class _Line:
    """What is wrong with one connection."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.since = 0.0
        """When the command came that met it."""
        self.silent = False
        """Nothing passes any more."""

    def meets(self, fault: Fault | None) -> None:
        if fault:
            self.fault, self.since = fault, time.monotonic()


def _called(frame: bytes) -> str:
    """The command's name, if it is one that is struck."""
    if frame[0] != METHOD:
        return ""
    return METHODS.get((int.from_bytes(frame[7:9], "big"), int.from_bytes(frame[9:11], "big")), "")


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """One whole frame: kind, channel, size, what it carries, and its end."""
    head = await reader.readexactly(7)
    return head + await reader.readexactly(int.from_bytes(head[3:7], "big") + 1)
