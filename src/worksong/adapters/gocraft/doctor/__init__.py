"""The doctor of a gocraft/work namespace: its server, its keys, its jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from worksong.adapters import rounds
from worksong.adapters.gocraft.doctor import ward
from worksong.adapters.gocraft.doctor.remedies import REMEDIES
from worksong.adapters.gocraft.doctor.tracer import Tracer
from worksong.adapters.gocraft.doctor.ward import Ward
from worksong.adapters.gocraft.reaper import Reaper
from worksong.adapters.gocraft.space import Space
from worksong.adapters.gocraft.views import Views
from worksong.adapters.redis.doctor import server, vitals
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError, InvalidArguments
from worksong.domain.finding import Finding
from worksong.ports.backend import PoolView

__all__ = ["AILMENTS", "GocraftDoctor", "Tracer"]

AILMENTS = (*server.AILMENTS, *ward.AILMENTS, *rounds.AILMENTS)


class GocraftDoctor:
    """Examines and mends; `sleep` lies between two looks."""

    def __init__(
        self,
        space: Space,
        views: Views,
        reaper: Reaper,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._space, self._views, self._reaper, self._sleep = space, views, reaper, sleep
        self._address = space.redis.address

    async def admit(self) -> list[Finding]:
        found = await vitals.at_the_door(self._space.redis, eviction_allowed=self._address.eviction)
        for finding in server.eviction(found):
            if not self._address.eviction:
                raise ConfigError(
                    f"{self._address.shown} may drop jobs: {finding.detail}; {finding.mend}; "
                    "where jobs may be lost, say ?eviction=allowed in the URL"
                )
        return list(server.persistence(found))

    async def examine(
        self, inspector: rounds.Patient, capabilities: frozenset[Capability], now: float
    ) -> list[Finding]:
        seen = await vitals.take(self._space.redis, now, time.monotonic, eviction_allowed=self._address.eviction)
        found = server.examine(seen)
        found += await ward.examine(await self._ward(seen.now), _refused)
        try:
            found += await rounds.visit(inspector, capabilities, seen.now)
        except vitals.REFUSALS as refusal:
            found.append(_refused("listings", refusal))
        return found

    async def fix(self, finding_id: str, now: float) -> str:
        remedy = REMEDIES.get(finding_id)
        if remedy is None:
            raise InvalidArguments(
                f"the doctor cannot mend {finding_id!r} itself; it can: {', '.join(sorted(REMEDIES))}"
            )
        seconds, micros = await self._space.call("TIME")
        return await remedy(await self._ward(int(seconds) + int(micros) / 1e6), now)

    async def _ward(self, server_now: float) -> Ward:
        return Ward(self._space, self._reaper, await self._pools(), server_now, sleep=self._sleep)

    async def _pools(self) -> Sequence[PoolView]:
        """None when the key that should name them is of another kind."""
        try:
            return await self._views.pools()
        except vitals.REFUSALS:
            return []


def _refused(check: str, refusal: Exception) -> Finding:
    return server.UNCHECKED.found(f"{check}: {refusal}")
