"""When the next job is due: read from the heads of sorted sets, and heard of when somebody changes them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

from worksong.adapters.redis.client import Redis
from worksong.adapters.redis.doorbell import Doorbell
from worksong.adapters.redis.store import as_bytes

RELOOK = 5.0
"""Seconds after which the next time is read again, though no set is heard to have changed."""


class Alarm:
    """Watches sets whose scores are times, in Unix seconds. Has a connection of its own, made when it is first used."""

    def __init__(self, redis: Redis, keys: Iterable[str]) -> None:
        self._bell, self._keys = Doorbell(redis), as_bytes(keys)
        self._next, self._read = math.inf, -math.inf

    async def until_due(self, now: float, seconds: float) -> None:
        """As `Upkeep.until_due`."""
        time, since = asyncio.get_running_loop().time(), self._bell.rings
        if not self._bell.watches(self._keys) or time - self._read >= RELOOK:
            heads = await self._bell.read([("ZRANGE", key, 0, 0, "WITHSCORES") for key in self._keys], self._keys)
            if heads is None:
                return
            self._next, self._read = min(map(_score, heads), default=math.inf), time
        if self._next > now:
            await self._bell.wait(since, min(seconds, self._next - now))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._bell.close()


def _score(head: object) -> float:
    """The time of the one member, as the third version of the protocol tells it; never, when there is none."""
    match head:
        case [[bytes(), float(at)]]:
            return at
        case _:
            return math.inf
