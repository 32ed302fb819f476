"""A job: plain frozen data about one piece of work, and what it looks like lent out or listed."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from worksong.domain.lifecycle import State

Args: TypeAlias = dict[str, Any] | list[Any] | None
Unique: TypeAlias = Literal["until_start", "until_done"]


class Job(msgspec.Struct, frozen=True, gc=False):
    """One piece of work. Times are Unix seconds, durations seconds; 0 means "not set".

    A retried or rescheduled job is a new value with the same id. What it carries is JSON, which never refers back to
    it, so the garbage collector need not know of it.
    """

    handler: str
    args: Args = None
    queue: str = "default"
    id: str = ""
    """Given when enqueued, unless the caller gave one; a given id is enqueued only once where the backend can DEDUP."""
    unique: Unique | Literal[True] | None = None
    """None, or until when an equal job is refused: ``until_start`` (also ``True``) or ``until_done``."""
    unique_by: Mapping[str, Any] | None = None
    """What makes two jobs equal; None: their arguments. With it a refused duplicate renews the waiting job's data."""
    enqueued_at: float = 0.0
    """When it was enqueued or, once due, when it became ready to run."""
    run_at: float = 0.0
    attempt: int = 1
    """Which try this is, from 1; snoozing and a worker's crash do not count."""
    error: str = ""
    failed_at: float = 0.0
    unique_key: str = ""
    """The name of the lock a unique job holds, as the backend spells it."""
    meta: dict[str, Any] = {}
    """Further members found beside the known ones (other writers' data); kept, never interpreted."""

    @property
    def fails(self) -> int:
        """How often it has failed so far."""
        return self.attempt - 1


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A job lent to one worker."""

    job: Job
    receipt: Any
    """Unique per lending, opaque to all but its backend."""
    fence: int
    """Grows with every lending of the same job: the token a guarded resource can compare."""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as listings show it."""

    job: Job
    state: State
    at: float = 0.0
    """Scheduled, retry: when it will run; dead: when it died; running: when it started; queued: since when it waits."""
    reason: str = ""
    """For poison: the code of what is wrong with it."""
    raw: bytes = b""
    """For poison: its original bytes; in a listing empty when they are too many for one."""

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def handler(self) -> str:
        return self.job.handler

    @property
    def error(self) -> str:
        return self.job.error


def shown(args: Args, hidden: Collection[str]) -> Args:
    """The arguments as listings may show them: the `hidden` ones only by name."""
    if not hidden or not isinstance(args, dict):
        return args
    return {name: "***" if name in hidden else value for name, value in args.items()}


def new_id() -> str:
    """24 hex digits of chance: the form of gocraft/work's ids, valid on every backend."""
    return os.urandom(12).hex()


def new_uuid() -> str:
    """A UUID of chance (version 4), as clients of the job service know it."""
    bits = bytearray(os.urandom(16))
    bits[6], bits[8] = bits[6] & 0x0F | 0x40, bits[8] & 0x3F | 0x80
    text = bits.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_ids(now: float, count: int) -> list[str]:
    """Ids for jobs: the time in steps of 4 ms, which begin anew after 194 days, then 64 bits of chance.

    What is enqueued together lies side by side in the index of a database, where ids of chance alone would be all over;
    and the fewer pages it lies on, the less each job costs there.
    """
    step, chance = f"{int(now * 256) & 0xFFFFFFFF:08x}", os.urandom(8 * count).hex()
    return [step + chance[start : start + 16] for start in range(0, 16 * count, 16)]
