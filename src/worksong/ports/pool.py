"""A pool: what it can run, asks for and says of itself, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from worksong.domain.job import Delivery
from worksong.domain.turns import Share


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A process that works on jobs; a new id means a new lender."""

    id: str
    handlers: tuple[str, ...]
    """The job types it can run, aliases included."""
    limits: Mapping[str, int] = {}
    """Job types with a cluster-wide limit on jobs running at once."""
    queues: tuple[str, ...] = ()
    """Those that it serves, for listings; none: all."""
    concurrency: int = 1
    worker_ids: tuple[str, ...] = ()
    """One per slot, for listings."""
    host: str = ""
    pid: int = 0
    started_at: float = 0.0


class Allowance(msgspec.Struct, frozen=True):
    """What a job type allows its runs, for stores that count failures or time runs by themselves."""

    timeout: float | None = None
    """Seconds that a run may take; None: any time."""
    max_fails: int | None = None
    """None: as the store likes."""
    skip_dead: bool = False


class Want(msgspec.Struct, frozen=True):
    """What a fetch asks for."""

    pool: str
    limit: int
    """At most so many jobs."""
    wait: float
    """Block so many seconds at most when there is nothing; 0: not at all."""
    handlers: tuple[Share, ...]
    """The job types it can run, in the order of this turn. No type exceeds its quota while another has jobs to give."""
    queues: tuple[str, ...] | None = None
    """Only these, in this order; None: all, oldest job first."""


class Running(msgspec.Struct, gc=False):
    """A job that a slot is running now."""

    delivery: Delivery
    slot: int
    started_at: float
    checkin: str = ""
    checkin_at: float = 0.0
    done: int = 0
    total: int = 0
    lost: bool = False
    """The job was given to another worker while it ran here."""
    hidden: tuple[str, ...] = ()
    """Names of arguments that listings do not show."""


class Beat(msgspec.Struct, frozen=True):
    """A sign of life, and everything the pool holds at that moment."""

    pool: Pool
    running: tuple[Running, ...] = ()
    held: tuple[Delivery, ...] = ()
    """Every delivery not yet settled, running ones included."""
    fetch: int = 0
    """The number of the oldest fetch whose answer is not read yet: what it was lent is no loss so far; 0: none."""
    begun: int = 0
    """The number of the fetch that began last."""
    quiet: bool = False
    """The pool fetches nothing more."""

    def still_unread(self, begun: int) -> bool:
        """Whether one of the fetches is still under way that were when `begun` had begun last."""
        return 0 < self.fetch <= begun


class Orders(msgspec.Struct, frozen=True):
    """What the store answers to a beat."""

    cancel: frozenset[str] = frozenset()
    """Ids of jobs to cancel, if this pool runs them."""
    evicted: bool = False
    """The pool was taken for dead and its jobs given away: whatever it holds is not its own, and it needs a new id."""
    lost: tuple[Delivery, ...] = ()
    """Held deliveries that are no longer this pool's."""
    server_now: float | None = None
    """The store's own clock, where it has one."""
    quiet: bool = False
    """Fetch nothing more. Told again and again, as is `stop`."""
    stop: bool = False
    """Finish what runs, and end."""


class Direction(StrEnum):
    """What an operator may tell a pool."""

    QUIET = "quiet"
    """Fetch nothing more; what runs goes on."""
    STOP = "stop"
    """Finish what runs, and end."""


class Reaped(msgspec.Struct, frozen=True):
    """What a reaping found."""

    pools: tuple[str, ...] = ()
    recovered: int = 0
    """Jobs given back to their queues."""
    crashed: int = 0
    """Jobs buried because they had lost too many workers."""
