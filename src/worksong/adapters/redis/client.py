"""A Redis client for many tasks of one event loop: connects when needed, repeats nothing that may have happened."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from importlib import resources

import msgspec

from worksong.adapters.outage import NoAnswer, NotSent, Outage
from worksong.adapters.redis.address import Address
from worksong.adapters.redis.connection import (
    Arg,
    Connection,
    Heard,
    Reply,
    ServerError,
    connect,
    meaning,
)
from worksong.adapters.url import Node
from worksong.domain.errors import BackendUnavailable, ConfigError, WorksongError
from worksong.ports import chance

__all__ = ["Arg", "NoAnswer", "NotSent", "Redis", "Reply", "Script", "ServerError"]

_log = logging.getLogger("worksong.redis")
_HOPS = 5
_PART = re.compile(r"^--: (\S+)\n", re.MULTILINE)
_PARTS = resources.files("worksong.adapters.redis").joinpath("scripts", "parts")
_SENTINEL_PATIENCE = 1.0


class Script:
    """A Lua script, known to the server by its digest."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def named(cls, name: str, *, package: str = "worksong.adapters.redis") -> Script:
        """The script in scripts/NAME.lua of the package, with parts that several have where it names them first."""
        there: set[str] = set()

        def part(hit: re.Match[str]) -> str:
            name = hit[1]
            if name in there:
                return ""
            there.add(name)
            return with_parts(_PARTS.joinpath(f"{name}.lua").read_text("utf-8"))

        def with_parts(text: str) -> str:
            return _PART.sub(part, text)

        return cls(with_parts(resources.files(package).joinpath("scripts", f"{name}.lua").read_text("utf-8")))


class Redis:
    """Belongs to the event loop of its first call; `sibling` makes one for another loop.

    `NotSent`: nothing was carried out. `NoAnswer`: nobody knows. `ServerError`: the server said no. `ConfigError`: the
    login is wrong. Commands that block, subscribe or change the connection (SELECT, MULTI alone) disturb all callers.
    """

    def __init__(
        self, address: Address, *, draw: Callable[[], float] = chance.random, heard: Heard | None = None
    ) -> None:
        """`heard`: see `sibling`."""
        self.address = address
        self._draw, self._heard = draw, heard
        self._outage = Outage(address.shown, draw, _log)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._all: set[Connection] = set()
        self._node: Node | None = None
        self._closed = False

    async def call(self, *args: Arg) -> Reply:
        """One command."""
        return await self._ask(args)

    async def _ask(self, args: tuple[Arg, ...]) -> Reply:
        connection = self._connection
        if connection is None or connection.loop is not asyncio.get_running_loop():
            connection = await self._connect()
        try:
            return await connection.request(args)
        except ServerError as error:
            return await self._follow(args, error, connection)

    async def script(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg]) -> Reply:
        """Run `script`, sending its text only to a server that does not know it."""
        try:
            return await self._ask(("EVALSHA", script.sha1, len(keys), *keys, *args))
        except ServerError as error:
            if error.code != "NOSCRIPT":
                raise
        return await self.call("EVAL", script.text, len(keys), *keys, *args)

    async def gather(self, commands: Sequence[tuple[Arg, ...]]) -> list[Reply]:
        """Many commands in one write, next to each other; what went wrong with one stands in its place, not raised."""
        if not commands:
            return []
        connection = self._connection
        if connection is None or connection.loop is not asyncio.get_running_loop():
            connection = await self._connect()
        answers = await connection.gather(commands)
        for place, answer in enumerate(answers):
            if isinstance(answer, ServerError):
                try:
                    answers[place] = await self._follow(commands[place], answer, connection)
                except WorksongError as error:
                    answers[place] = error
        return answers

    async def close(self) -> None:
        """For good; what is unanswered fails."""
        self._check_loop()
        self._closed = True
        async with self._lock:
            for connection in tuple(self._all):
                await connection.close()

    def sibling(self, *, heard: Heard | None = None) -> Redis:
        """Another client of the same server, for another loop or for commands that block.

        `heard` is told which keys changed, once CLIENT TRACKING is on, and None when a connection is gone.
        """
        return Redis(self.address, draw=self._draw, heard=heard)

    async def _connect(self) -> Connection:
        """The connection, made by whoever comes first; at once an error while the server is given a rest."""
        self._check_loop()
        failures = self._outage.failures
        async with self._lock:
            if self._closed:
                raise NotSent(f"{self.address.shown} was not asked: this client is closed")
            if self._connection is None:
                now = asyncio.get_running_loop().time
                self._outage.check(now(), failures)
                try:
                    self._connection = await self._dial()
                except (BackendUnavailable, ConfigError) as error:
                    self._node = None
                    self._outage.failed(now(), error)
                    raise
                self._outage.over(now())
            return self._connection

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise ConfigError("this Redis client belongs to another event loop; take a sibling() of it for this one")

    async def _dial(self) -> Connection:
        node = await _master(self.address) if self.address.master and not self._node else self._node
        connection = await connect(self.address, node=node, lost=self._lost, heard=self._heard)
        if not connection.alive:
            raise NotSent(f"{self.address.shown} cannot be reached: it closes the connection at once")
        self._all.add(connection)
        return connection

    def _lost(self, connection: Connection, cause: str, missed: bool) -> None:
        self._all.discard(connection)
        if self._heard:
            self._heard(None)
        if connection is self._connection:
            self._connection = self._node = None
            if not self._closed:
                self._outage.broke(connection.born, connection.loop.time(), cause, missed=missed)

    def _drop(self, connection: Connection) -> None:
        """Send nothing more here; whoever waits still gets the answer."""
        self._connection = self._node = None
        connection.retire()

    async def _follow(self, args: tuple[Arg, ...], error: ServerError, connection: Connection) -> Reply:
        """Go where a redirect points: it was not executed here. Otherwise raise what the error means."""
        for _ in range(_HOPS):
            try:
                if error.code == "MOVED":
                    connection = await self._move(_pointed(error, connection), connection)
                    return await connection.request(args)
                if error.code == "ASK":
                    return await self._ask_there(args, _pointed(error, connection))
            except ServerError as another:
                error = another
            else:
                break
        if error.code in {"READONLY", "UNBLOCKED"} and connection is self._connection:
            self._drop(connection)
            self._outage.broke(connection.born, connection.loop.time(), str(error), missed=True)
            raise meaning(error, self.address)
        means = meaning(error, self.address)
        if means is not error:
            self._outage.refused(connection.loop.time(), means)
        raise means

    async def _move(self, node: Node, stale: Connection) -> Connection:
        if stale is self._connection:
            self._drop(stale)
            self._node = node
        return self._connection or await self._connect()

    async def _ask_there(self, args: tuple[Arg, ...], node: Node) -> Reply:
        connection = await connect(self.address, node=node)
        try:
            _, answer = await connection.gather([("ASKING",), args])
        finally:
            await connection.close()
        if isinstance(answer, Exception):
            raise answer
        return answer


def _pointed(error: ServerError, connection: Connection) -> Node:
    """`MOVED 3999 host:port`; no host means the same one."""
    host, _, port = str(error).split()[2].rpartition(":")
    return host or connection.host, int(port)


async def _master(address: Address) -> Node:
    """Where the sentinels say the master is."""
    told: list[str] = []
    for node in address.nodes:
        sentinel = msgspec.structs.replace(
            address,
            nodes=(node,),
            master="",
            db=0,
            user=address.sentinel_user,
            password=address.sentinel_password,
            timeout=min(address.timeout, _SENTINEL_PATIENCE),
        )
        try:
            answer = await _once(sentinel, "SENTINEL", "get-master-addr-by-name", address.master)
        except (BackendUnavailable, ServerError) as error:
            told.append(str(error))
            continue
        if answer:
            return answer[0].decode(), int(answer[1])
        told.append(f"{node[0]}:{node[1]} does not know {address.master!r}")
    raise NotSent(f"{address.shown} cannot be reached: {'; '.join(told)}")


async def _once(address: Address, *args: Arg) -> Reply:
    connection = await connect(address)
    try:
        return await connection.request(args)
    finally:
        await connection.close()
