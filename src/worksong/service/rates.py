"""How often somebody may ask: token buckets, pure."""

from __future__ import annotations

from typing import NamedTuple

from worksong.domain.errors import ConfigError

MOST = 10_000
"""Callers of whom it is remembered how often they have asked."""


class Rate(NamedTuple):
    """So many a second in the long run, and so many at once."""

    per_second: float
    burst: int


WRONG_TOKENS = Rate(10 / 60, 10)
"""Wrong tokens that are compared, from each address."""


class Buckets:
    """One bucket for each caller; full when it is first seen. Times are readings of one monotonic clock."""

    def __init__(self, rate: Rate) -> None:
        if not (rate.per_second > 0 and rate.burst >= 1):
            raise ConfigError(f"a rate is more than 0 a second, and 1 at once at least, not {rate}")
        self._rate = rate
        self._levels: dict[str, tuple[float, float]] = {}
        """Caller -> what was left, and when."""

    def wait(self, caller: str, now: float) -> float:
        """Take one; answers the seconds until there is one, and 0 when it was taken."""
        left = self._left(caller, now)
        if left < 1:
            return (1 - left) / self._rate.per_second
        self._put(caller, left - 1, now)
        return 0.0

    def give_back(self, caller: str, now: float) -> None:
        """Put one back that was taken for nothing."""
        self._put(caller, min(float(self._rate.burst), self._left(caller, now) + 1), now)

    def is_empty(self, caller: str, now: float) -> bool:
        """Whether there is none left; takes none."""
        return self._left(caller, now) < 1

    def _left(self, caller: str, now: float) -> float:
        level, at = self._levels.get(caller, (float(self._rate.burst), now))
        return min(float(self._rate.burst), level + (now - at) * self._rate.per_second)

    def _put(self, caller: str, left: float, now: float) -> None:
        if len(self._levels) >= MOST and caller not in self._levels:
            self._forget(now)
        self._levels[caller] = left, now

    def _forget(self, now: float) -> None:
        """Those whose buckets are full again; and if none is, those who asked first."""
        full = [caller for caller in self._levels if self._left(caller, now) >= self._rate.burst]
        for caller in full or list(self._levels)[: MOST // 10]:
            del self._levels[caller]
