"""What listings show of a store: its queues, pools, busy workers and jobs, and all it knows of one id."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from worksong.domain.job import JobView


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """A queue as listings show it; where a format knows only job types, the type is the queue."""

    name: str
    count: int
    latency: float = 0.0
    """How long the oldest waiting job has been waiting, in seconds."""
    paused: bool = False
    running: int = 0
    limit: int = 0


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as listings show it."""

    id: str
    heartbeat_at: float
    started_at: float
    handlers: tuple[str, ...]
    concurrency: int
    host: str
    pid: int
    worker_ids: tuple[str, ...] = ()
    told: str = ""
    """The `Direction` that it was given; empty: none."""


class BusyView(msgspec.Struct, frozen=True, kw_only=True):
    """A busy worker as listings show it."""

    worker_id: str
    pool_id: str
    handler: str
    job_id: str
    started_at: float
    args: str
    """JSON text; empty when there are none."""
    checkin: str = ""
    checkin_at: float = 0.0


class Window(msgspec.Struct, frozen=True):
    """Which part of a listing."""

    limit: int = 20
    offset: int = 0


class Listing(msgspec.Struct, frozen=True):
    """A part of a listing, and how long the whole is."""

    jobs: tuple[JobView, ...]
    total: int

    def __iter__(self) -> Iterator[JobView]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, index: int) -> JobView:
        return self.jobs[index]


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """All that a store knows of one id."""

    job: JobView | None = None
    """None: it is nowhere."""
    ahead: int | None = None
    """Queued: how many jobs of its queue go first; None: not known."""
    paused: bool = False
    """Whether its queue is."""
    limit: int = 0
    """How many jobs of its type may run at once, over all pools; 0: no limit."""
    running: int = 0
    """How many of them do; told where there is a limit."""
    pool: str = ""
    """Running: the pool that holds it."""
    cancelled: bool = False
    """It runs, and was told to stop."""
    taken_in: bool = False
    """The id was pushed `once` within the last 48 hours at least, whatever became of the job."""
    crashes: int = 0
    """How many workers died with it within 72 hours."""
    server_now: float | None = None
    """The store's own clock, where it has one."""
