"""Jobs taken in by a transaction of the application."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.adapters.sql.broker import SqlBroker
from worksong.adapters.sql.rows import checked
from worksong.adapters.sql.store import Joined
from worksong.domain.job import Job


class SqlIntake:
    """Pushes on a connection that was lent; nothing is there before the application commits."""

    def __init__(self, broker: SqlBroker, joined: Joined) -> None:
        self._broker, self._joined = broker, joined
        self.blocks = joined.blocks

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        ready = [checked(job) for job in jobs]
        rows = self._broker.rows(ready, now)
        if not rows:
            return []
        return await self._joined.run(lambda: self._broker.push(ready, rows, now, once=once))
