"""The periodic jobs of an application: when they fire, how the last firing went, and what may be ordered about them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments, WorksongError
from worksong.domain.names import one_line
from worksong.engine.firings import Firing, last_firing
from worksong.engine.pauses import INSTEAD_OF_PAUSES, Key, Standing, check_can_pause, standing_of, standings, stopped
from worksong.ports.backend import Backend
from worksong.ports.clock import Clock
from worksong.registry import Periodic, Registry
from worksong.service.acts import Act, on_paused, on_periodic
from worksong.service.fields import without
from worksong.service.firings import bare_spec, entry_fields, fired_fields, ticks
from worksong.service.redaction import redacted, without_logins

FIRINGS = 3
"""Times to come that are told of each."""
ORDERS = "run", "pause", "resume"


class Plan(NamedTuple):
    """What a console tells of periodic jobs."""

    entries: list[dict[str, Any]] | None
    """Those of the application, the next to fire first; None without one."""
    strangers: Sequence[Standing]
    """Schedules that are paused, and that the application does not have."""
    unknown: str
    """Why it is not known what is paused; empty when it is."""


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

    async def plan(self) -> Plan:
        """What there is to tell, also while the store is away: an application knows by itself when its jobs fire."""
        try:
            known, fired = await self._known()
        except WorksongError as away:
            why = one_line(without_logins(str(away)))
            return Plan(
                self._rows(None, {}), [], f"Which of them are paused, and how they fired last, is not known: {why}"
            )
        own = {_key(entry) for entry in self._own}
        strangers = [standing for standing in known.values() if standing.paused and standing.key not in own]
        return Plan(self._rows(known, fired), sorted(strangers, key=lambda standing: standing.key), "")

    @property
    def _own(self) -> Sequence[Periodic]:
        return self._registry.periodic if self._registry else ()

    async def _known(self) -> tuple[Mapping[Key, Standing], Mapping[Key, Firing | None]]:
        """What was ordered about schedules, and how those of the application fired last; asked at once."""
        backend = self._backend()
        if Capability.NOTES not in backend.capabilities:
            return {}, {}
        keys = [_key(entry) for entry in self._own]
        reading = asyncio.gather(*(last_firing(backend, *key) for key in keys))
        known, fired = await asyncio.gather(standings(backend), reading)
        return known, dict(zip(keys, fired, strict=True))

    def _rows(
        self, known: Mapping[Key, Standing] | None, fired: Mapping[Key, Firing | None]
    ) -> list[dict[str, Any]] | None:
        if self._registry is None:
            return None
        rows = [
            self._row(entry, None if known is None else standing_of(entry, known), fired.get(_key(entry)))
            for entry in self._own
        ]
        return sorted(rows, key=lambda row: row["next"][0]["unix"] if row["next"] else math.inf)

    def _row(self, entry: Periodic, standing: Standing | None, last: Firing | None) -> dict[str, Any]:
        return entry_fields(entry, ticks(entry.schedule, self._clock.now(), FIRINGS), standing) | {
            "expression": bare_spec(entry.schedule),
            "args": redacted(without(entry.args, self._hidden(entry.handler))),
            "last": fired_fields(last) if last else None,
        }

    async def stopped(self) -> list[Standing]:
        """The schedules that are paused, of whichever application."""
        return await stopped(self._backend())

    async def order(self, handler: str, spec: str, act: str) -> Act:
        """Run a periodic job of the application now, or pause its schedule, or resume any that is paused."""
        if act not in ORDERS:
            raise InvalidArguments(f"periodic jobs cannot be told to {act!r}: there is {', '.join(ORDERS)}")
        if act != "run":
            check_can_pause(self._backend())
        known, key = await standings(self._backend()), (handler, spec)
        entry = next((entry for entry in self._own if _key(entry) == key), None)
        standing = known.get(key) or Standing(*key)
        if entry:
            return on_periodic(act, entry, paused=standing.paused)
        if act == "resume" and standing.paused:
            return on_paused(standing, None)
        raise InvalidArguments(f"no job {handler!r} fires by {spec!r} here: nothing was done")


def _key(entry: Periodic) -> Key:
    return entry.handler, entry.schedule.spec
