"""Which pools stand still: their beats are looked at again and again, and nobody's wall clock is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from worksong.adapters.redis.store import Store, whole
from worksong.domain.errors import BackendUnavailable
from worksong.ports.backend import SILENT_FOR, Reaped

STANDING_FOR = 3.0
"""Seconds for which a reaper itself must have seen a beat stand still that is too old by the server's clock: three
beats, so that a jump of that clock kills nobody."""
ELECTED_FOR = 3200
"""Milliseconds; somewhat more than two looks of a living reaper take, which keep it in office."""


class Undertaker(Protocol):
    """What a format does about pools that died. It counts (queued again, buried)."""

    async def silent(self, now: float, monotonic: float) -> list[str]:
        """The pools whose beats have stood still for longer than they may."""
        ...

    async def bury(self, pools: Sequence[str], now: float) -> tuple[int, int]:
        """Give back all that they held, then strike them off."""
        ...

    async def sweep(self, now: float, monotonic: float) -> tuple[int, int]:
        """Give back what belongs to no pool at all, and mend what is easily wrong, now and then."""
        ...


class Watch:
    """What one reaper has seen of all pools, by its own monotonic clock."""

    def __init__(self, store: Store, office: str, name: str) -> None:
        """`office` is the key that tells which reaper watches now."""
        self._store, self._office, self._name = store, office, name
        self._seen: dict[str, tuple[bytes | None, float]] = {}
        self._sure: float | None = None
        """When the server has been there for so long that everybody who lives has beaten since."""

    async def reap(self, undertaker: Undertaker, now: float, monotonic: float, dead: Sequence[str]) -> Reaped:
        """As `Upkeep.reap`. Pools known to be `dead` are anybody's care; silent ones are that of who is in office."""
        try:
            return await self._reap(undertaker, now, monotonic, dead)
        except BackendUnavailable:
            self.forget()
            raise

    async def _reap(self, undertaker: Undertaker, now: float, monotonic: float, dead: Sequence[str]) -> Reaped:
        self.begin(monotonic)
        if not dead and not await self.elected():
            return Reaped()
        silent = sorted({*dead, *await undertaker.silent(now, monotonic)})
        recovered, crashed = await undertaker.bury(silent, now)
        if not dead:
            again, buried = await undertaker.sweep(now, monotonic)
            recovered, crashed = recovered + again, crashed + buried
        return Reaped(tuple(silent), recovered, crashed)

    async def elected(self) -> bool:
        """Only saves work: the steps are safe to do twice. Who watches goes on, so that its observations last."""
        key, call = self._office, self._store.call
        elected = await call("GET", key)
        if elected == self._name.encode() and await call("PEXPIRE", key, ELECTED_FOR):
            return True
        return elected is None and await call("SET", key, self._name, "NX", "PX", ELECTED_FOR) is not None

    def begin(self, monotonic: float) -> None:
        """The server answers."""
        self._sure = monotonic + SILENT_FOR if self._sure is None else self._sure

    def forget(self) -> None:
        """While the server was away nobody could beat: that was no silence."""
        self._seen.clear()
        self._sure = None

    def strike(self, pool: str) -> None:
        """It was reaped."""
        self._seen.pop(pool, None)

    def standing(self, beats: Mapping[str, bytes | None], monotonic: float) -> dict[str, float]:
        """How long the beats of all pools have stood still, where that is long enough to be looked into."""
        seen: dict[str, tuple[bytes | None, float]] = {}
        for pool, beat in beats.items():
            before = self._seen.get(pool)
            seen[pool] = before if before and before[0] == beat else (beat, monotonic)
        self._seen = seen
        return {pool: monotonic - since for pool, (_, since) in seen.items() if monotonic - since >= STANDING_FOR}

    def patience(self, pool: str, now: float, monotonic: float) -> float:
        """How long a beat of ours must stand still here.

        Beats and `now` are of the server's clock, so who takes office need not wait again for what others saw begin.
        """
        sure = self._sure is not None and monotonic >= self._sure
        old = (beat := self._seen[pool][0]) is not None and now - whole(beat) > SILENT_FOR + 1.0  # in whole seconds
        return STANDING_FOR if sure and old else SILENT_FOR
