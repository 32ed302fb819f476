"""Pools and what their slots do, in hashes: as gocraft/work keeps them, and listings read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.store import text, whole
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job, shown
from worksong.ports.backend import Beat, BusyView, Pool, PoolView, Running
from worksong.wire import gojson

OBSERVED = 86400


def pool_fields(pool: Pool) -> tuple[Arg, ...]:
    """The hash of a pool, but for its last beat."""
    return (
        *("started_at", int(pool.started_at), "job_names", ",".join(sorted(pool.handlers))),
        *("concurrency", pool.concurrency, "worker_ids", ",".join(sorted(pool.worker_ids))),
        *("host", pool.host or "hostname_errored", "pid", pool.pid),
    )


def pool_view(pool: str, flat: Sequence[bytes], told: str = "") -> PoolView:
    """A pool by its hash, and what it was told."""
    found = fields(flat)
    return PoolView(
        id=pool,
        heartbeat_at=_number(found.get("heartbeat_at")),
        started_at=_number(found.get("started_at")),
        handlers=tuple(sorted(name for name in found.get("job_names", "").split(",") if name)),
        concurrency=_number(found.get("concurrency")),
        host=found.get("host", ""),
        pid=_number(found.get("pid")),
        worker_ids=tuple(sorted(worker for worker in found.get("worker_ids", "").split(",") if worker)),
        told=told,
    )


def busy_view(worker: str, pool: str, flat: Sequence[bytes]) -> BusyView:
    """A busy slot by its hash."""
    found = fields(flat)
    return BusyView(
        worker_id=worker,
        pool_id=pool,
        handler=found.get("job_name", ""),
        job_id=found.get("job_id", ""),
        started_at=_number(found.get("started_at")),
        args=found.get("args", ""),
        checkin=found.get("checkin", ""),
        checkin_at=_number(found.get("checkin_at")),
    )


class Observer:
    """Knows what was written of the slots, so that only changes are."""

    def __init__(self, key: Callable[[str], str]) -> None:
        """`key` is that of a slot's hash."""
        self._key = key
        self._seen: dict[str, tuple[object, ...]] = {}

    def forget(self) -> None:
        """Nothing of it is there any more."""
        self._seen.clear()

    def changes(self, beat: Beat) -> list[tuple[Arg, ...]]:
        """The commands that write what changed since the last beat, as gocraft/work's observer does."""
        ids = beat.pool.worker_ids
        busy = {ids[running.slot]: running for running in beat.running if running.slot < len(ids)}
        commands: list[tuple[Arg, ...]] = [("DEL", self._key(idle)) for idle in self._seen if idle not in busy]
        seen: dict[str, tuple[object, ...]] = {}
        for worker, running in busy.items():
            seen[worker] = state = (running.delivery.fence, running.checkin, running.checkin_at)
            before = self._seen.get(worker)
            if before == state:
                continue
            key = self._key(worker)
            if before and before[0] != state[0]:
                commands.append(("DEL", key))
            commands += (("HSET", key, *_observation(running)), ("EXPIRE", key, OBSERVED))
        self._seen = seen
        return commands


def _observation(running: Running) -> tuple[Arg, ...]:
    job: Job = running.delivery.job
    args = shown(job.args, running.hidden)
    try:
        written: Arg = gojson.encode(args, max_int=None) if args else ""
    except InvalidArguments:  # readable, yet too much to be written: no reason to miss a beat
        written = "…"
    told: tuple[Arg, ...] = (
        *("job_name", job.handler, "job_id", job.id, "started_at", int(running.started_at)),
        *("args", written),
    )
    if not running.checkin:
        return told
    return (*told, "checkin", running.checkin, "checkin_at", int(running.checkin_at))


def fields(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash as texts."""
    texts = [text(value) for value in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _number(value: str | None) -> int:
    return whole(value.encode("utf-8", "surrogateescape") if value else None)
