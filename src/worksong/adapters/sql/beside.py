"""Jobs that come into being together with records: one transaction brings both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from worksong.adapters.sql.broker import SqlBroker
from worksong.adapters.sql.records import Pages, Unlike
from worksong.adapters.sql.rows import checked
from worksong.adapters.sql.steps import Program, Row
from worksong.adapters.sql.store import MaybeDone, Store
from worksong.domain.errors import EnqueueOutcomeUnknown
from worksong.domain.job import Job
from worksong.ports.records import Change


class SqlBeside:
    """For one push: see `ports.backend.Beside`. It is a transaction of the queue's store."""

    def __init__(
        self,
        store: Store,
        broker: SqlBroker,
        pages: Pages,
        changes: Sequence[Change],
        *,
        ring: Callable[[], Awaitable[None]],
    ) -> None:
        """`ring` tells who waits for a job."""
        self._store, self._broker, self._pages, self._changes, self._ring = store, broker, pages, changes, ring

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        ready = [checked(job) for job in jobs]
        rows = self._broker.rows(ready, now)
        try:
            await self._store.run(lambda: self._both(ready, rows, now, once=once))
        except Unlike:
            return [False] * len(ready)
        except MaybeDone as lost:
            raise EnqueueOutcomeUnknown([job.id for job in ready], str(lost)) from lost
        await self._ring()
        return [True] * len(ready)

    def _both(self, jobs: Sequence[Job], rows: Sequence[Row], now: float, *, once: bool) -> Program[None]:
        """The records first, as everybody does: nobody waits for one who waits for him."""
        yield from self._pages.write(self._changes)
        if not all((yield from self._broker.push(jobs, rows, now, once=once))):
            raise Unlike
