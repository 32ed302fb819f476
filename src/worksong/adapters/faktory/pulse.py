"""A worker's signs of life, and what the server and the ledger have to say to them."""

from __future__ import annotations

import sys

import msgspec

from worksong.adapters.faktory.client import Client, Reply, Said
from worksong.adapters.faktory.ledger import Ledger
from worksong.ports.backend import Beat, Orders, Pool
from worksong.ports.memory import resident_kb
from worksong.wire import faktory_talk as talk

BEAT_EVERY = 5.0
"""Seconds: the shortest that the protocol allows, since an operator's orders come with the answer."""


class Pulse:
    """Beats for one pool at a time."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self._client, self._ledger = client, ledger
        self._beaten = float("-inf")
        self._pool = ""
        self._quiet = False
        self._state = ""
        self._fetch = 0

    async def enlist(self, pool: Pool) -> None:
        """Name the worker to the server, and beat once: it counts from the first connection on."""
        self._client.identify(_identity(pool))
        await self._beat(pool, quiet=self._quiet)

    async def beat(self, beat: Beat) -> Orders:
        """Beat if it is time; and what the pool holds and does not hold, by the ledger."""
        now = self._ledger.clock()
        if beat.pool.id != self._pool or beat.quiet != self._quiet or now - self._beaten >= BEAT_EVERY:
            self._client.identify(_identity(beat.pool))
            await self._beat(beat.pool, quiet=beat.quiet)
        expired = self._ledger.expired(beat.pool.id)
        lost = tuple(delivery for delivery in beat.held if delivery.fence in expired)
        return Orders(lost=lost, quiet=self._state == "quiet", stop=self._state == "terminate")

    def unread(self, beat: Beat) -> bool:
        """Whether its loop is blocked, and has perhaps not read what it was lent."""
        same = bool(beat.fetch) and beat.fetch == self._fetch
        self._fetch = beat.fetch
        return same

    async def _beat(self, pool: Pool, *, quiet: bool) -> None:
        said: dict[str, object] = {"wid": pool.id, "rss_kb": resident_kb()}
        if quiet:
            said["current_state"] = "quiet"
        self._state = talk.state(await self._say(msgspec.json.encode(said)))
        self._pool, self._quiet, self._beaten = pool.id, quiet, self._ledger.clock()

    async def _say(self, what: bytes) -> Reply:
        """A server that was restarted, or missed our beats, does not know us: it learns it by another greeting."""
        try:
            return await self._client.ask("BEAT", what)
        except Said as refusal:
            if "unknown worker" not in str(refusal).lower():
                raise
        self._client.renew()
        return await self._client.ask("BEAT", what)


def _identity(pool: Pool) -> talk.Identity:
    label = f"python-{sys.version_info.major}.{sys.version_info.minor}"
    return talk.Identity(pool.id, pool.host, pool.pid, (label, "worksong"))
