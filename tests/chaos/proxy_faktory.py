"""The proxy before Faktory, which speaks first; a command is a line, and its answer looks like one of Redis."""

from __future__ import annotations

import asyncio

from chaos.proxy import Ends, Line, Proxy


class FaktoryProxy(Proxy):
    """Commands are called by their verbs: "PUSHB"."""

    crowded = b"-ERR too many connections\r\n"

    async def _talk(self, ends: Ends) -> None:
        line = Line(ends, asked=_line)
        ends.client.write(await line.answer())
        await self._exchange(line)

    def _called(self, command: bytes) -> str:
        return command.split(maxsplit=1)[0].decode()


async def _line(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n")
