"""A job on its way from one store to another, and the mark by which both sides know it again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from worksong.domain.job import Job
from worksong.domain.lifecycle import State

MOVABLE = (State.SCHEDULED, State.RETRY, State.QUEUED, State.DEAD)
"""The states in which a job can be moved, in the order in which jobs pass through them."""
WAITING = (State.SCHEDULED, State.RETRY)
"""Those with a time at which the job will run."""


class Lock(msgspec.Struct, frozen=True):
    """What makes a unique job equal to others, while it holds the lock that keeps these out."""

    digest: str
    key: bytes = b""
    """The JSON text behind the digest; empty where the store keeps the digest only."""

    @classmethod
    def of(cls, key: bytes) -> Lock:
        """The lock of this JSON text."""
        return cls(lock_digest(key), key)


class Parcel(msgspec.Struct, frozen=True):
    """A job as every store can hold it: what only one of them would understand is left out of `job`."""

    job: Job
    state: State
    at: float
    """Scheduled, retry: when it will run; dead: when it died; queued: since when it waits."""
    lock: Lock | None = None
    """None: it holds none, whatever it did once."""

    @property
    def id(self) -> str:
        return self.job.id


def packed(job: Job, state: State, at: float, lock: Lock | None) -> Parcel:
    """The parcel of a job found in a store."""
    unique = job.unique if lock else None
    return Parcel(replace(job, run_at=0.0, unique_key="", unique_by=None, unique=unique), state, float(at), lock)


def in_whole_seconds(parcel: Parcel) -> Parcel:
    """As a store without fractions holds it: it runs late, never early."""
    job = parcel.job
    at = math.ceil(parcel.at) if parcel.state in WAITING else int(parcel.at)
    job = replace(job, enqueued_at=float(int(job.enqueued_at)), failed_at=float(int(job.failed_at)))
    return replace(parcel, job=job, at=float(at))


def lock_digest(key: bytes) -> str:
    """40 hex digits for the JSON text of what makes jobs equal."""
    return hashlib.blake2b(key, digest_size=20).hexdigest()


class Tally:
    """How many parcels, and a checksum of them that does not depend on their order."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Count these as well."""
        for parcel in parcels:
            self.count += 1
            self._sum += int.from_bytes(mark(parcel), "big")

    @property
    def checksum(self) -> str:
        """32 hex digits; of nothing, zeros."""
        return f"{self._sum % (1 << 128):032x}"


def mark(parcel: Parcel) -> bytes:
    """Equal for equal parcels, whichever store they come from."""
    job = parcel.job
    text = _encoder.encode(
        [
            *(job.id, job.handler, job.args, job.queue, job.unique, job.attempt, _carried(job.error), job.meta),
            *(float(job.failed_at), float(job.enqueued_at), parcel.state, float(parcel.at)),
            parcel.lock.digest if parcel.lock else None,
        ]
    )
    return hashlib.blake2b(text, digest_size=16).digest()


_encoder = msgspec.json.Encoder(order="deterministic")


def _carried(text: str) -> str:
    """Not every store can keep half a surrogate pair."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
