"""Which schedules of periodic jobs stand still: told to the store by operators, asked by whoever fires them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from worksong.domain.capability import Capability
from worksong.domain.errors import Unsupported
from worksong.ports.backend import Backend
from worksong.ports.notebook import FOR_GOOD, Line, Notebook
from worksong.registry import Periodic

PAGE = "schedules"
MOST = 20
"""Lines on it. Each has all that those before it had, so as many operators may order something at the same moment."""
INSTEAD_OF_PAUSES = "take the schedule out of the application, or keep the jobs in Redis or a database"

OVER = 3
"""Turns in which there may be a firing left: nobody is so slow that he puts there some of an earlier one."""

Key = tuple[str, str]
"""A job type and an expression: no application has a pair twice."""


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """What was ordered about a schedule. It is told by a number that only grows: of two that say something else of the
    same schedule the greater one holds, in whichever order they were written."""

    handler: str
    spec: str
    orders: int = 0
    """How many pauses and resumptions there were, in turn."""
    at: float = 0.0
    """When the last of them was ordered."""

    @property
    def key(self) -> Key:
        return self.handler, self.spec

    @property
    def paused(self) -> bool:
        return self.orders % 2 == 1

    @property
    def turn(self) -> int:
        """How often it was resumed. The firings of each turn have ids of their own, since those that were taken back
        before are refused by the store for days."""
        return self.orders // 2

    @property
    def over(self) -> range:
        """The last turns that a pause has ended."""
        pauses = (self.orders + 1) // 2
        return range(max(0, pauses - OVER), pauses)


Standings = Mapping[Key, Standing]
"""What was ordered about schedules."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Standing]).decode


def standing_of(entry: Periodic, known: Standings) -> Standing:
    """That of a schedule of which none is known is that of one about which nothing was ordered."""
    key = entry.handler, entry.schedule.spec
    return known.get(key) or Standing(*key)


def check_can_pause(backend: Backend) -> None:
    """Raises `Unsupported` for a store that has no place that all processes see."""
    if Capability.NOTES not in backend.capabilities:
        raise Unsupported("pause periodic jobs", backend.name, INSTEAD_OF_PAUSES)


async def standings(backend: Backend) -> Standings:
    """Of all schedules about which something was ever ordered; none where the store cannot pause any."""
    return await _read(backend) if Capability.NOTES in backend.capabilities else {}


async def stopped(backend: Backend) -> list[Standing]:
    """Of the schedules that are paused, by job type."""
    known = (await standings(backend)).values()
    return sorted((standing for standing in known if standing.paused), key=lambda standing: standing.key)


async def ordered(notebook: Notebook, entry: Periodic, now: float, *, paused: bool) -> Standing:
    """Have the schedule stand still, or go on; how it stands then. Nothing is written where it stands so already."""
    return await ordered_of((entry.handler, entry.schedule.spec), notebook, now, paused=paused)


async def ordered_of(key: Key, notebook: Notebook, now: float, *, paused: bool) -> Standing:
    """The same of a schedule that this application may not have. Its firings are the business of those that have it."""
    known = await _read(notebook)
    standing = known.get(key) or Standing(*key)
    if standing.paused is paused:
        return standing
    standing = msgspec.structs.replace(standing, orders=standing.orders + 1, at=now)
    await _write(notebook, {**known, standing.key: standing}, now)
    return standing


async def carry_over(source: Notebook, target: Notebook, now: float) -> int:
    """Have schedules stand at the target as at the source, where more was ordered about them; how many these are."""
    known, there = await _read(source), await _read(target)
    ahead = {key: one for key, one in known.items() if one.orders > (there.get(key) or Standing(*key)).orders}
    if ahead:
        await _write(target, there | ahead, now)
    return len(ahead)


async def _write(notebook: Notebook, known: Mapping[Key, Standing], now: float) -> None:
    text = _encode(list(known.values())).decode()
    await notebook.jot([Line(PAGE, text, MOST, FOR_GOOD)], now)


async def _read(notebook: Notebook) -> dict[Key, Standing]:
    found: dict[Key, Standing] = {}
    for standing in _told(await notebook.lines(PAGE)):
        known = found.get(standing.key)
        if known is None or standing.orders > known.orders:
            found[standing.key] = standing
    return found


def _told(lines: Iterable[str]) -> Iterable[Standing]:
    for line in lines:
        try:
            yield from _decode(line)
        except msgspec.MsgspecError:  # another version wrote it, or somebody else did
            continue
