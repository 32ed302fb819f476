"""Jobs lent: asks that wait at the server, and are never given up while they do.

A FETCH that is broken off may have been answered: the job would be nobody's until its reservation runs out. So each
runs to its end, two seconds at most, and what it brings is kept for the next who asks for this pool. There are never
more under way than the pool has free slots.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from worksong.adapters.faktory.client import Client
from worksong.adapters.faktory.ledger import Ledger, Lending
from worksong.domain.errors import ConfigError
from worksong.domain.job import Delivery
from worksong.domain.poison import Poison
from worksong.ports import chance
from worksong.ports.backend import Want
from worksong.wire import faktory as wire
from worksong.wire import faktory_talk as talk

PATIENCE = 15.0
"""Seconds for the answer to a FETCH, which the server itself may take five for."""
NAMES_KEPT = 1.0
"""Seconds for which the names of all queues are good."""

Reject = Callable[[bytes, Poison], Awaitable[None]]
"""What is done with a payload that cannot be read."""
Unknown = Callable[[Lending], None]
"""Begins what is done with a job that no handler here knows."""


class Fetcher:
    """Fetches for the pools of one event loop."""

    def __init__(self, client: Client, ledger: Ledger, *, reject: Reject, unknown: Unknown) -> None:
        self._client, self._ledger = client, ledger
        self._reject, self._unknown = reject, unknown
        self._basins: defaultdict[str, _Basin] = defaultdict(_Basin)
        self._names: tuple[str, ...] = ()
        self._sizes: dict[str, int] = {}
        self._named = float("-inf")
        self._most = max(1, client.address.connections // 2)

    async def fetch(self, want: Want) -> list[Delivery]:
        """At most `want.limit` jobs; see `Broker.fetch`."""
        basin = self._basins[want.pool]
        try:
            if want.wait > 0:
                return await self._wait(basin, want)
            return await self._at_once(basin, want)
        finally:
            basin.wanted = 0  # what is under way comes to its end, and nothing is asked for that nobody waits for

    async def close(self) -> list[Lending]:
        """Ask nothing more, and wait for what is under way; answers what came and was not handed out."""
        under_way = [ask for basin in self._basins.values() for ask in basin.asks]
        for basin in self._basins.values():
            basin.wanted = 0
        if under_way:
            await asyncio.wait(under_way)
        kept = [lending for basin in self._basins.values() for lending in basin.kept if not lending.over]
        self._basins.clear()
        return kept

    async def info(self) -> talk.Info:
        """What the server says of itself."""
        return talk.info(_bytes(await self._client.ask("INFO")))

    # waiting

    async def _wait(self, basin: _Basin, want: Want) -> list[Delivery]:
        time = asyncio.get_running_loop().time
        until = time() + want.wait
        while True:
            if found := self._hand_out(basin, want):
                return found
            left = until - time()
            if left <= 0:
                return []
            basin.queues = await self._queues(want)
            self._widen(basin, want)
            await asyncio.wait([basin.bell()], timeout=left)

    async def _at_once(self, basin: _Basin, want: Want) -> list[Delivery]:
        """Without waiting for jobs that are not there; one after the other, so that they come in their order.

        The server would wait for two seconds when there is nothing: so it is asked before how many there are.
        """
        if basin.asks:
            await asyncio.wait(basin.asks)
        if found := self._hand_out(basin, want):
            return found
        queues = await self._queues(want, fresh=True)
        basin.queues = tuple(name for name in queues if self._sizes.get(name))
        waiting = sum(self._sizes[name] for name in basin.queues)
        while waiting > 0 and len(basin.kept) < want.limit:
            basin.wanted = min(waiting, want.limit - len(basin.kept))
            before = len(basin.kept) + basin.refused
            ask = self._start(basin, want.pool)
            await asyncio.wait([ask])
            came = len(basin.kept) + basin.refused - before
            waiting = waiting - came if came else 0
        return self._hand_out(basin, want)

    def _widen(self, basin: _Basin, want: Want) -> None:
        """One ask while nothing comes, and twice as many each time that something does."""
        basin.wanted = want.limit - len(basin.asks) - len(basin.kept)
        while basin.wanted > 0 and len(basin.asks) < min(basin.width, self._most):
            self._start(basin, want.pool)

    def _start(self, basin: _Basin, pool: str) -> asyncio.Task[None]:
        basin.wanted -= 1
        ask = asyncio.get_running_loop().create_task(self._ask(basin, pool))
        basin.asks.add(ask)
        ask.add_done_callback(basin.ended)
        return ask

    async def _ask(self, basin: _Basin, pool: str) -> None:
        """Fetch, and again while more is wanted."""
        while True:
            asked = self._ledger.clock()
            raw = await self._client.ask("FETCH", " ".join(basin.queues).encode(), patience=PATIENCE)
            if not isinstance(raw, bytes):
                basin.width = 1
                return
            basin.width = min(self._most, basin.width * 2)
            await self._take_in(basin, pool, raw, asked)
            if basin.wanted <= 0:
                return
            basin.wanted -= 1

    async def _take_in(self, basin: _Basin, pool: str, raw: bytes, asked: float) -> None:
        try:
            found = wire.decode(raw)
        except Poison as wrong:
            basin.refused += 1
            await self._reject(raw, wrong)
            return
        plain = self._client.address.plain(found.job.queue)
        job = replace(found.job, queue=plain) if plain else found.job
        basin.kept.append(self._ledger.lend(replace(found, job=job), pool, asked))
        basin.ring()

    def _hand_out(self, basin: _Basin, want: Want) -> list[Delivery]:
        """What came for the pool, in the order of coming; raises what an ask met, if nothing came."""
        known = {share.name for share in want.handlers}
        found: list[Delivery] = []
        while basin.kept and len(found) < want.limit:
            lending = basin.kept.popleft()
            if lending.over:
                continue
            if lending.found.job.handler in known:
                found.append(Delivery(lending.found.job, lending, lending.fence))
            else:
                self._unknown(lending)
        failure, basin.failure = basin.failure, None
        if failure and not found:
            raise failure
        return found

    # queues

    async def _queues(self, want: Want, *, fresh: bool = False) -> tuple[str, ...]:
        """The queues to ask, in order. Those of all are in no order: each time another one comes first."""
        if want.queues is not None:
            for name in want.queues:
                if wrong := wire.wrong_with_queue(name):
                    raise ConfigError(wrong)
            if fresh:
                await self._look()
            return tuple(self._client.address.queue(name) for name in dict.fromkeys(want.queues))
        now = asyncio.get_running_loop().time()
        if fresh or now - self._named >= NAMES_KEPT:
            await self._look()
            self._named = now
        names = list(self._names) or [self._client.address.queue("default")]
        chance.shuffle(names)
        return tuple(names)

    async def _look(self) -> None:
        self._sizes = (await self.info()).faktory.queues
        self._names = tuple(filter(self._client.address.plain, self._sizes))


class _Basin:
    """What is asked for one pool, and what came."""

    def __init__(self) -> None:
        self.asks: set[asyncio.Task[None]] = set()
        self.kept: deque[Lending] = deque()
        self.queues: tuple[str, ...] = ()
        self.wanted = 0
        """So many more are asked for when an ask under way is answered."""
        self.width = 1
        self.refused = 0
        """How many came that could not be read."""
        self.failure: BaseException | None = None
        self._bell: asyncio.Future[None] | None = None

    def bell(self) -> asyncio.Future[None]:
        """Rings when something has come, or will not."""
        if self._bell is None:
            self._bell = asyncio.get_running_loop().create_future()
        return self._bell

    def ring(self) -> None:
        """Something has."""
        if self._bell and not self._bell.done():
            self._bell.set_result(None)
        self._bell = None

    def ended(self, ask: asyncio.Task[None]) -> None:
        """An ask has come to its end; what it met is for the next who asks."""
        self.asks.discard(ask)
        self.failure = None if ask.cancelled() else ask.exception() or self.failure
        self.ring()


def _bytes(reply: object) -> bytes:
    return reply if isinstance(reply, bytes) else b""
