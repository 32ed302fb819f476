"""What lies there and belongs to no pool: given back once it was seen so twice, a minute apart."""

from __future__ import annotations

from collections.abc import Collection

SWEEP = 60.0
"""Seconds from one look to the next."""


class Orphans:
    """What the sweeps of one reaper have seen, by its own monotonic clock.

    Twice, because a pool may fetch before it is registered.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._swept = float("-inf")

    def begins(self, monotonic: float) -> bool:
        """Whether the next sweep is due; it has begun then."""
        if monotonic - self._swept < SWEEP:
            return False
        self._swept = monotonic
        return True

    def due(self, found: Collection[str], monotonic: float) -> list[str]:
        """Those of all that this sweep found which an earlier one has seen long enough ago."""
        due = [name for name in found if monotonic - self._since.get(name, monotonic) >= SWEEP]
        self._since = {name: self._since.get(name, monotonic) for name in found if name not in due}
        return due
