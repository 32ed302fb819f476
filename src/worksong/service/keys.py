"""Idempotency keys: who asks for the same twice, with the same key, is given the same."""

from __future__ import annotations

import hashlib

import msgspec

from worksong.domain.record import KeyRecord
from worksong.service.refusals import Conflict

LONGEST = 255
"""Characters of a key."""

_encoder = msgspec.json.Encoder(order="deterministic")


def record(key: str, form: msgspec.Struct, created_id: str, now: float) -> KeyRecord:
    """What is kept of the use of a key: digests, since a key may tell something about whoever chose it."""
    return KeyRecord(
        id=_digest(key.encode("utf-8", "surrogatepass")),
        request=_digest(_encoder.encode(form)),
        created_id=created_id,
        created_at=now,
    )


def check_same(asked: KeyRecord, used: KeyRecord) -> None:
    """Refuse a key that was used for something else."""
    if asked.request != used.request:
        raise Conflict("this Idempotency-Key was used for another request: choose a new one")


def outlived(used: KeyRecord) -> Conflict:
    """What the key created was deleted since."""
    return Conflict(f"what this Idempotency-Key created was deleted since: {used.created_id}; choose a new one")


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
