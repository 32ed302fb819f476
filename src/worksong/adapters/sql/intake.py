"""Jobs taken in by a transaction of the application."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.adapters.bells import Bells
from worksong.adapters.sql.broker import SqlBroker
from worksong.adapters.sql.rows import checked
from worksong.adapters.sql.store import Joined
from worksong.domain.job import Job


class SqlIntake:
    """Pushes on a connection that was lent; nothing is there before the application commits."""

    def __init__(self, broker: SqlBroker, joined: Joined, bells: Bells) -> None:
        self._broker, self._joined, self._bells = broker, joined, bells
        self.blocks = joined.blocks

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        ready = [checked(job) for job in jobs]
        rows = self._broker.rows(ready, now)
        if not rows:
            return []
        new = await self._joined.run(lambda: self._broker.push(ready, rows, now, once=once))
        self._joined.on_commit(self._bells.ring)
        return new
