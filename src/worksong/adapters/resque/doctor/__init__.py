"""The doctor of a Resque namespace: its server, its keys, its workers of all kinds, its jobs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from worksong.adapters import rounds
from worksong.adapters.base import BaseBackend
from worksong.adapters.redis.doctor import bedside
from worksong.adapters.redis.doctor.vitals import REFUSALS
from worksong.adapters.resque.doctor import ward
from worksong.adapters.resque.doctor.tracer import Tracer
from worksong.adapters.resque.doctor.ward import Ward
from worksong.adapters.resque.reaper import Reaper
from worksong.adapters.resque.space import Space
from worksong.adapters.resque.views import Views
from worksong.adapters.rounds import LOST_AFTER, ORPHANS, SILENT, alive
from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments
from worksong.domain.finding import Finding, Severity, some
from worksong.domain.lifecycle import State
from worksong.ports.backend import Listing, PoolView, QueueView, Window

__all__ = ["AILMENTS", "ResqueDoctor", "Tracer"]

AILMENTS = ward.AILMENTS


class ResqueDoctor:
    """Examines and mends."""

    def __init__(self, space: Space, views: Views, reaper: Reaper) -> None:
        self._space, self._views, self._reaper = space, views, reaper
        self._remedies: dict[str, Callable[[float], Awaitable[str]]] = {
            SILENT.id: self._reap_silent,
            ORPHANS.id: self._adopt_orphans,
            **{finding: self._by(remedy) for finding, remedy in ward.REMEDIES.items()},
        }

    async def admit(self) -> list[Finding]:
        return await bedside.admit(self._space)

    async def examine(self, capabilities: frozenset[Capability], now: float) -> list[Finding]:
        found, server_now = await bedside.examine_server(self._space, now)
        place = self._ward()
        found += await bedside.make(ward.CHECKS, place)
        try:
            listings = await rounds.visit(_Ours(self._views), capabilities, server_now)
            others = await place.foreigners()
        except REFUSALS as refusal:
            return [*found, bedside.refused("listings", refusal)]
        return found + [_milder(finding, len(others)) for finding in listings]

    async def fix(self, finding_id: str, now: float) -> str:
        remedy = self._remedies.get(finding_id)
        if remedy is None:
            raise InvalidArguments(
                f"the doctor cannot mend {finding_id!r} itself; it can: {', '.join(sorted(self._remedies))}"
            )
        return await remedy(now)

    def _ward(self) -> Ward:
        return Ward(self._space, self._reaper)

    def _by(self, remedy: Callable[[Ward], Awaitable[str]]) -> Callable[[float], Awaitable[str]]:
        return lambda _: remedy(self._ward())

    async def _reap_silent(self, now: float) -> str:
        seconds, _ = await self._space.call("TIME")
        gone = [pool.id for pool in await self._views.pools() if not alive(pool, int(seconds), LOST_AFTER)]
        if not gone:
            return "no pool was struck off"
        reaped = await self._reaper.reap(now, time.monotonic(), gone)
        return f"struck off {some(reaped.pools)}: {reaped.recovered} jobs queued again, {reaped.crashed} buried"

    async def _adopt_orphans(self, now: float) -> str:
        recovered, crashed = await self._reaper.bury(await self._reaper.unregistered(), now)
        return f"{recovered} jobs queued again, {crashed} buried"


def _milder(finding: Finding, others: int) -> Finding:
    """Which classes workers of other libraries know is told nowhere."""
    if finding.id != rounds.UNSERVED.id or not others:
        return finding
    detail = f"{finding.detail}; {others} workers of other libraries are registered, and may know them"
    return replace(finding, severity=Severity.INFO, detail=detail)


class _Ours(BaseBackend):
    """What the rounds look at: pools are worksong's own, since others beat in other ways or not at all."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def queues(self, now: float) -> list[QueueView]:
        return await self._views.queues(now)

    async def jobs(self, state: State, window: Window) -> Listing:
        return await self._views.jobs(state, window)

    async def pools(self) -> list[PoolView]:
        return await self._views.pools()
