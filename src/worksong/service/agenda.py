"""The periodic jobs of an application: when they fire, how the last firing went, and what may be ordered about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments
from worksong.engine.firings import last_firing
from worksong.engine.pauses import INSTEAD_OF_PAUSES, Standing, check_can_pause, standing_of, standings, stopped
from worksong.ports.backend import Backend
from worksong.ports.clock import Clock
from worksong.registry import Periodic, Registry
from worksong.service.acts import Act, on_periodic
from worksong.service.fields import without
from worksong.service.firings import bare_spec, entry_fields, fired_fields, ticks
from worksong.service.redaction import redacted

FIRINGS = 3
"""Times to come that are told of each."""
ORDERS = "run", "pause", "resume"


class Agenda:
    """One for a console."""

    def __init__(
        self,
        backend: Callable[[], Backend],
        clock: Clock,
        registry: Registry | None,
        hidden: Callable[[str], tuple[str, ...]],
    ) -> None:
        """`registry`: of the application, if one is known; `hidden`: the arguments that a job type does not show."""
        self._backend, self._clock, self._registry, self._hidden = backend, clock, registry, hidden

    @property
    def lacking_pauses(self) -> str:
        """Why no pause is offered, and what to do instead; empty when it is."""
        possible = Capability.NOTES in self._backend().capabilities
        return "" if possible else f"Periodic jobs cannot be paused here: {INSTEAD_OF_PAUSES}."

    async def entries(self) -> list[dict[str, Any]] | None:
        """The next to fire first; None without an application."""
        if self._registry is None:
            return None
        known = await standings(self._backend())
        rows = [await self._entry(entry, standing_of(entry, known)) for entry in self._registry.periodic]
        return sorted(rows, key=lambda row: row["next"][0]["unix"] if row["next"] else float("inf"))

    async def _entry(self, entry: Periodic, standing: Standing) -> dict[str, Any]:
        return entry_fields(entry, ticks(entry.schedule, self._clock.now(), FIRINGS), standing) | {
            "expression": bare_spec(entry.schedule),
            "args": redacted(without(entry.args, self._hidden(entry.handler))),
            "last": await self._last(entry),
        }

    async def _last(self, entry: Periodic) -> dict[str, Any] | None:
        if Capability.NOTES not in self._backend().capabilities:
            return None
        found = await last_firing(self._backend(), entry.handler, entry.schedule.spec)
        return fired_fields(found) if found else None

    async def stopped(self) -> list[Standing]:
        """The schedules that are paused, of whichever application."""
        return await stopped(self._backend())

    async def order(self, handler: str, spec: str, act: str) -> Act:
        """Run a periodic job of the application now, or pause its schedule, or resume it."""
        if act not in ORDERS:
            raise InvalidArguments(f"periodic jobs cannot be told to {act!r}: there is {', '.join(ORDERS)}")
        if act != "run":
            check_can_pause(self._backend())
        for entry in self._registry.periodic if self._registry else ():
            if (entry.handler, entry.schedule.spec) == (handler, spec):
                standing = standing_of(entry, await standings(self._backend()))
                return on_periodic(act, entry, paused=standing.paused)
        raise InvalidArguments(f"no job {handler!r} fires by {spec!r} here: nothing was done")
