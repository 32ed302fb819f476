"""Results in a table: kept in the transaction of their endings, or put there by a worker whose jobs are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.adapters.awaited import Awaited
from worksong.adapters.sql.endings import Endings
from worksong.adapters.sql.steps import Space
from worksong.adapters.sql.store import Store, shared
from worksong.domain.errors import ConfigError
from worksong.domain.result import Result
from worksong.wire import result as wire

PRUNE_EVERY = 60.0
"""Seconds between two looks for old results by a store that no upkeep looks after."""


def apart(store: Store, namespace: str) -> SqlResults:
    """A store for results of jobs that are elsewhere."""
    if not store.address.result_ttl:
        raise ConfigError(f"{store.address.shown}: result_ttl=off keeps no results; give a time, such as 1h")
    return SqlResults(store, namespace)


class SqlResults:
    """What one namespace of one database keeps; belongs to the event loop of its first use."""

    def __init__(self, store: Store, namespace: str) -> None:
        self.name = store.address.shown
        self.endings = Endings(Space(namespace), store.address.result_ttl)
        self._store, self._namespace = store, namespace
        self._shared = shared(store.place, namespace)
        self._awaited = Awaited(self._look, self._shared.bells)
        self._prune_at = 0.0

    def sibling(self) -> SqlResults:
        return SqlResults(self._store.sibling(), self._namespace)

    async def close(self) -> None:
        await self._awaited.close()
        await self._store.close()

    async def put(self, results: Sequence[Result]) -> None:
        if not results:
            return
        await self._store.run(lambda: self.endings.keep(results))
        self._shared.bells.ring()
        now = max(result.at for result in results)
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_EVERY
            await self.prune(now)

    async def prune(self, now: float) -> int:
        """Forget what was kept long enough; answers how many."""
        pruned = 0
        while dropped := await self._store.run(lambda: self.endings.prune(now)):
            pruned += dropped
        return pruned

    async def result(self, job_id: str) -> Result | None:
        return (await self._look([job_id])).get(job_id)

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        return await self._awaited.wait(job_id, seconds)

    async def _look(self, job_ids: Sequence[str]) -> dict[str, Result]:
        found = await self._store.run(lambda: self.endings.kept(job_ids), write=False)
        return {job_id: wire.decode(job_id, document) for job_id, document in found}
