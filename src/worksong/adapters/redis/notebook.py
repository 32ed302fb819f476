"""Lines that people read, in Redis: a list for each page, which the server forgets by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.store import Store, text
from worksong.ports.notebook import Line


class RedisNotebook:
    """Writes with the commands of lists: what a lost connection leaves undone, the next line makes good."""

    def __init__(self, store: Store, key: Callable[[str], str]) -> None:
        """`key`: of the page with this name."""
        self._store, self._key = store, key

    async def jot(self, lines: Sequence[Line]) -> None:
        """All in one round trip."""
        commands: list[tuple[Arg, ...]] = [("LPUSH", self._key(line.page), line.text) for line in lines]
        for page, (most, kept) in {line.page: (line.most, line.kept) for line in lines}.items():
            commands.append(("LTRIM", self._key(page), 0, most - 1))
            if math.isfinite(kept):
                commands.append(("EXPIRE", self._key(page), max(1, round(kept))))
        if commands:
            await self._store.gather(commands)

    async def lines(self, page: str) -> list[str]:
        """The latest first."""
        return [text(line) for line in await self._store.call("LRANGE", self._key(page), 0, -1)]
