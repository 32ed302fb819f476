"""A Redis whose waiting jobs can be doubled within it, for those that are measured beside a million of them."""

from __future__ import annotations

import asyncio

from bench.backlog import seed
from bench.server import RedisServer


class WaitingRedis(RedisServer):
    """What waits there lies in the namespace of the bench."""

    def double(self, columns: str, mark: int) -> None:
        """As many jobs again as there are, which the mark tells; there are no columns."""
        asyncio.run(seed(self.url, mark))

    def tidy(self) -> None:
        """It is at rest already."""
