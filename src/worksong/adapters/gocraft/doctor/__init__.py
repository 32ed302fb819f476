"""The doctor of a gocraft/work namespace: its server, its keys, its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from worksong.adapters import rounds
from worksong.adapters.gocraft.doctor import ward
from worksong.adapters.gocraft.doctor.remedies import REMEDIES
from worksong.adapters.gocraft.doctor.tracer import Tracer
from worksong.adapters.gocraft.doctor.ward import Ward
from worksong.adapters.gocraft.reaper import Reaper
from worksong.adapters.gocraft.space import Space
from worksong.adapters.gocraft.views import Views
from worksong.adapters.redis.doctor import bedside, server
from worksong.adapters.redis.doctor.vitals import REFUSALS
from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments
from worksong.domain.finding import Finding
from worksong.ports.backend import PoolView

__all__ = ["AILMENTS", "GocraftDoctor", "Tracer"]

AILMENTS = (*server.AILMENTS, *bedside.AILMENTS, *ward.AILMENTS, *rounds.AILMENTS)


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

    async def admit(self) -> list[Finding]:
        return await bedside.admit(self._space)

    async def examine(
        self, inspector: rounds.Patient, capabilities: frozenset[Capability], now: float
    ) -> list[Finding]:
        found, server_now = await bedside.examine_server(self._space, now)
        found += await bedside.make(ward.CHECKS, await self._ward(server_now))
        try:
            found += await rounds.visit(inspector, capabilities, server_now)
        except REFUSALS as refusal:
            found.append(bedside.refused("listings", refusal))
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
        except REFUSALS:
            return []
