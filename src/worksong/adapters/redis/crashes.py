"""How many workers each job has taken with it: counted by the scripts, read and forgotten here."""

from __future__ import annotations

from collections.abc import Iterable

from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.store import Store, whole
from worksong.ports.backend import CRASHES_KEPT
from worksong.wire.own_keys import OwnKeys


class Crashes:
    """The counts of one namespace."""

    def __init__(self, store: Store, keys: OwnKeys) -> None:
        self._store, self._keys = store, keys

    async def of(self, job_ids: Iterable[str]) -> list[int]:
        """The count of each; 0 of one that is cancelled: it is dropped instead of queued again, whatever it did."""
        k, ids = self._keys, list(job_ids)
        counts = [("HGET", k.recovered, job_id) for job_id in ids]
        found = await self._store.try_all([*counts, *(("ZSCORE", k.cancelled, job_id) for job_id in ids)])
        cancelled = found[len(ids) :]
        return [0 if gone else whole(count) for count, gone in zip(found, cancelled, strict=False)]

    async def forget_old(self, now: float) -> None:
        """Those whose last crash is 72 hours ago."""
        k, before = self._keys, int(now - CRASHES_KEPT)
        old: Iterable[bytes] = await self._store.call("ZRANGEBYSCORE", k.recovered_at, "-inf", before)
        commands: list[tuple[Arg, ...]] = []
        for job_id in old:
            commands += (("HDEL", k.recovered, job_id), ("ZREM", k.recovered_at, job_id))
        await self._store.gather(commands)
