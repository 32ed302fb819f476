"""What a namespace remembers of an id, wherever its job is, or if it is gone."""

from __future__ import annotations

from worksong.adapters.redis.store import Store, whole
from worksong.domain.job import JobView
from worksong.ports.backend import Trace
from worksong.wire.own_keys import OwnKeys


async def recall(store: Store, keys: OwnKeys, job_id: str, found: JobView | None) -> Trace:
    """The trace of the job that was `found`, but for what stands in its way where it is."""
    (seconds, micros), cancelled, once, crashes = await store.try_all(
        [
            ("TIME",),
            ("ZSCORE", keys.cancelled, job_id),
            ("EXISTS", keys.enqueued(job_id)),
            ("HGET", keys.recovered, job_id),
        ]
    )
    return Trace(
        job=found,
        cancelled=cancelled is not None,
        taken_in=bool(once),
        crashes=whole(crashes),
        server_now=int(seconds) + int(micros) / 1e6,
    )
