"""A few connections to one Faktory server, for many tasks of one event loop: each serves one of them at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from worksong.adapters.faktory.address import Address
from worksong.adapters.faktory.connection import Connection, Reply, Said, connect
from worksong.adapters.outage import NoAnswer, NotSent, Outage
from worksong.domain.errors import BackendUnavailable, ConfigError
from worksong.ports import chance
from worksong.wire import faktory_talk as talk
from worksong.wire.faktory_talk import Identity

__all__ = ["Client", "NoAnswer", "NotSent", "Reply", "Said"]

IN_ONE_GO = 8
"""Commands sent together: the server carries them out one after the other, and others wait for none of them."""

log = logging.getLogger("worksong.faktory")


class Client:
    """Connects when asked and repeats nothing. Who is cancelled gives up the answer, never the command."""

    def __init__(self, address: Address, *, draw: Callable[[], float] = chance.random) -> None:
        self.address = address
        self.identity: Identity | None = None
        """The worker that speaks; None: whoever only enqueues or looks."""
        self._draw = draw
        self._outage = Outage(address.shown, draw, log)
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._dialling = 0
        self._stale: set[Connection] = set()
        """Those that have still another name to them; not used again."""
        self._queue: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def ask(self, verb: str, what: bytes = b"", *, patience: float | None = None) -> Reply:
        """One command; `NotSent`, `NoAnswer`, `Said` when the server said no, or `ConfigError`."""
        connection = await self._take()
        return await connection.ask(b"%s %s" % (verb.encode(), what) if what else verb.encode(), patience)

    async def ask_all(self, verb: str, words: Sequence[bytes]) -> list[Reply | BaseException]:
        """The command with each of these: its reply, or what `ask` would raise. Several go over one connection."""
        portions = [words[start : start + IN_ONE_GO] for start in range(0, len(words), IN_ONE_GO)]
        if len(portions) == 1:
            return await self._ask_portion(verb, portions[0])
        found = await asyncio.gather(*(self._ask_portion(verb, portion) for portion in portions))
        return [reply for replies in found for reply in replies]

    async def _ask_portion(self, verb: str, words: Sequence[bytes]) -> list[Reply | BaseException]:
        try:
            connection = await self._take()
            answers = connection.ask_all([b"%s %s" % (verb.encode(), what) for what in words])
        except (BackendUnavailable, ConfigError) as failure:
            return [failure] * len(words)
        return await asyncio.gather(*answers, return_exceptions=True)

    async def mutate(self, order: str, target: str, jids: Sequence[str]) -> None:
        """Have the server move or drop those of a set that have these jids."""
        for what in talk.mutations(order, target, jids):
            await self.ask("MUTATE", what)

    def identify(self, identity: Identity | None) -> None:
        """Speak for this worker from now on. The server hears who we are only when we connect."""
        if identity != self.identity:
            self.identity = identity
            self.renew()

    def renew(self) -> None:
        """Greet anew before the next command."""
        for connection in self._idle:
            connection.abort("greeting anew")
        self._idle.clear()
        self._stale |= self._all

    async def close(self) -> None:
        """For good; what is unanswered fails."""
        self._closed = True
        for connection in tuple(self._all):
            await connection.close()

    async def _take(self) -> Connection:
        """A connection that is free: an idle one, a new one, or the next that becomes free."""
        while True:
            while self._idle:
                connection = self._idle.pop()
                if connection.alive:
                    return connection
            if self._closed:
                raise NotSent(f"{self.address.shown} was not asked: this client is closed")
            if len(self._all) + self._dialling < self.address.connections:
                return await self._dial()
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()  # it was ours, and is somebody else's now
                raise

    async def _dial(self) -> Connection:
        now = asyncio.get_running_loop().time
        self._outage.check(now(), self._outage.failures)
        self._dialling += 1
        try:
            connection = await connect(self.address, self.identity, freed=self._freed, lost=self._lost)
        except (BackendUnavailable, ConfigError) as error:
            self._outage.failed(now(), error)
            raise
        finally:
            self._dialling -= 1
            self._next()
        if not connection.alive:
            raise NotSent(f"{self.address.shown} cannot be reached: it closes the connection at once")
        self._all.add(connection)
        self._outage.over(now())
        return connection

    def _freed(self, connection: Connection) -> None:
        if connection in self._stale or self._closed:
            connection.abort("greeting anew")
            return
        self._idle.append(connection)
        self._next()

    def _lost(self, connection: Connection, cause: str, missed: bool) -> None:
        known = connection in self._all
        self._all.discard(connection)
        self._stale.discard(connection)
        self._idle = [idle for idle in self._idle if idle is not connection]
        if known and missed and not self._closed:
            self._outage.broke(connection.born, connection.loop.time(), cause, missed=missed)
        self._next()

    def _next(self) -> None:
        """Let the first who waits look again."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
