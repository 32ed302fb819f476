"""The doctor of a database: the server or the file, its tables, the jobs in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from worksong.adapters import rounds
from worksong.adapters.sql.doctor import charting, sqlite, tables
from worksong.adapters.sql.doctor.chart import UNCHECKED
from worksong.adapters.sql.steps import Program, Space
from worksong.adapters.sql.store import Store
from worksong.domain.errors import BackendRefused, ConfigError, InvalidArguments
from worksong.domain.finding import Finding, some, verdict
from worksong.ports.backend import Backend

SECOND_LOOK = 1.0
"""Seconds between two looks at what must be wrong twice."""

PATIENCE = "24h"

UNUSABLE = {
    ailment.id for ailment in (sqlite.ABSENT, sqlite.JOURNAL, tables.MISSING, tables.OLD, tables.NEWER, tables.GONE)
}
"""With one of these there are no jobs that could be looked at, or not without changing something."""


class SqlDoctor:
    """Examines and mends one namespace; `sleep` lies between two looks."""

    def __init__(
        self,
        store: Store,
        namespace: str,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store, self._space, self._sleep = store, Space(namespace), sleep

    async def examine(self, backend: Backend, now: float) -> list[Finding]:
        """The database as it is, before anything opens it in a way that makes or changes something."""
        chart = await charting.take(self._store, now)
        if not chart.there:
            return [sqlite.ABSENT.found(f"there is no {chart.address.database}")]
        found = self._store.specialist.examine(chart)
        if any(finding.id in UNUSABLE for finding in found):
            return found
        try:
            found += await self._jobs(backend, chart.now)
        except (ConfigError, BackendRefused) as refusal:
            found.append(UNCHECKED.found(f"jobs: {refusal}"))
        return found

    async def _jobs(self, backend: Backend, now: float) -> list[Finding]:
        kept = "What the database has taken in is on its disk."
        found = verdict("sql.kept", kept, await backend.admit())
        orphans = [rounds.ORPHANS.found(f"jobs of pools {some(pools)}") for pools in [await self._owners()] if pools]
        found += verdict("jobs.owned", "Every job in progress belongs to a registered pool.", orphans)
        return found + await rounds.visit(backend, backend.capabilities, now)

    async def _owners(self) -> list[str]:
        """Pools that hold jobs and are registered nowhere, at two looks: a fetch may come just behind a farewell."""
        seen = await self._store.run(self._unregistered, write=False)
        if not seen:
            return []
        await self._sleep(SECOND_LOOK)
        still = await self._store.run(self._unregistered, write=False)
        return sorted(set(seen) & set(still))

    def _unregistered(self) -> Program[list[str]]:
        return [pool for (pool,) in (yield from self._space.ask("orphans"))]

    async def fix(self, backend: Backend, finding_id: str, now: float) -> str:
        """By statements, or by the steps of a running worker's upkeep."""
        specialist = self._store.specialist
        can = sorted({*specialist.remedies, rounds.SILENT.id, rounds.ORPHANS.id})
        if finding_id not in can:
            raise InvalidArguments(f"the doctor cannot mend {finding_id!r} itself; here it can: {', '.join(can)}")
        chart = await charting.take(self._store, now)
        if remedy := specialist.remedies.get(finding_id):
            return await self._carry_out(remedy(chart))
        return await self._take_back(backend, finding_id, chart.now)

    async def _carry_out(self, statements: Sequence[str]) -> str:
        """However long it takes: an index on millions of rows needs its time."""
        if not statements:
            return "there is nothing to mend by now"
        async with self._store.bedside(patience=PATIENCE) as say:
            for sql in statements:
                await say(sql)
        return f"carried out: {'; '.join(statements)}"

    async def _take_back(self, backend: Backend, finding_id: str, now: float) -> str:
        if finding_id == rounds.ORPHANS.id:
            gone = await self._owners()
        else:
            gone = [pool.id for pool in await backend.pools() if not rounds.alive(pool, now, rounds.LOST_AFTER)]
        if not gone:
            return "nobody holds jobs without a sign of life by now"
        reaped = await backend.reap(now, time.monotonic(), dead=gone)
        return f"took back from {some(gone)}: {reaped.recovered} jobs queued again, {reaped.crashed} buried"
