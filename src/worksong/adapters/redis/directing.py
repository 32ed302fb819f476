"""What operators tell our pools: one key for each, which its beats read and no peer knows."""

from __future__ import annotations

from worksong.adapters.redis.store import Store
from worksong.ports.backend import Direction

KEPT = 604800
"""Seconds from the telling, or the pool's last beat; as long as the pool's own hash."""


async def tell(store: Store, key: str, direction: Direction) -> None:
    """Have the pool hear it; one that should end is not called back by a later word."""
    only_new = () if direction is Direction.STOP else ("NX",)
    await store.call("SET", key, str(direction), "EX", KEPT, *only_new)


def heard(value: object) -> str:
    """What lies under the key, as anybody stored it; empty for what is no direction."""
    known = {one.encode(): str(one) for one in Direction}
    return known.get(value, "") if isinstance(value, bytes) else ""
