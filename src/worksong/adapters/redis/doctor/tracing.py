"""One job and what stands in its way, as far as all formats know it alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from worksong.adapters.redis.store import Store, whole
from worksong.domain.job import JobView
from worksong.ports.backend import Inspector, Trace
from worksong.wire.own_keys import OwnKeys


async def trace(
    store: Store, keys: OwnKeys, views: Inspector, job_id: str, place: Callable[[JobView], Awaitable[dict[str, Any]]]
) -> Trace:
    """`place` tells what stands in the way of a job where it was found: fields of the trace."""
    found = await views.job(job_id)
    (seconds, micros), cancelled, once, crashes = await store.try_all(
        [
            ("TIME",),
            ("ZSCORE", keys.cancelled, job_id),
            ("EXISTS", keys.enqueued(job_id)),
            ("HGET", keys.recovered, job_id),
        ]
    )
    told = Trace(
        job=found,
        cancelled=cancelled is not None,
        taken_in=bool(once),
        crashes=whole(crashes),
        server_now=int(seconds) + int(micros) / 1e6,
    )
    return replace(told, **await place(found)) if found else told
