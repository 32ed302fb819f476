"""Periodic jobs put on the schedule ahead of time, under ids that every process computes alike."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from worksong.domain.errors import InvalidArguments
from worksong.domain.firing import firing_id, tick_of
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.engine.pauses import Key, Standing, check_can_pause, ordered, standing_of, standings
from worksong.ports.backend import Backend, Window
from worksong.registry import Periodic

log = logging.getLogger("worksong")

HORIZON = 240.0
"""Seconds ahead, as gocraft/work: each tick is put on the schedule several times over before it is due."""
PERIOD = 60.0
"""Seconds between two runs."""
PAGE, PAGES = 1000, 10
"""How many overdue jobs are looked through for firings that a pause takes back."""


async def schedule_ahead(backend: Backend, entries: Sequence[Periodic], now: float) -> int:
    """Push every firing within the horizon, once in the whole cluster however many processes do this.

    A firing is a job with an id made of name, spec and tick, pushed `once`: the second push of an id is refused by the
    backend, also after the first one has run. Ticks that passed while no process was alive are not made up for, nor
    those of a schedule that was paused.
    """
    if not entries:
        return 0
    before = await standings(backend)
    new = 0
    for entry in entries:
        standing = standing_of(entry, before)
        new += 0 if standing.paused else await _put(backend, entry, standing, now)
    if new:
        await _take_back_overtaken(backend, entries, before, now)
    return new


async def pause(backend: Backend, entry: Periodic, now: float) -> Standing:
    """Have no process put its firings on the schedule, and take back those that are there. Raises `Unsupported`.

    It is ordered first: whoever puts firings there all the same looks again afterwards, and takes them back himself.
    """
    check_can_pause(backend)
    standing = await ordered(backend, entry, now, paused=True)
    await _take_back(backend, entry, standing, now)
    return standing


async def resume(backend: Backend, entry: Periodic, now: float) -> Standing:
    """Have it fire again from its next tick on: nothing is made up for. Raises `Unsupported`.

    What a pause that was cut off has left is taken back, lest it fire beside the firings of this turn.
    """
    check_can_pause(backend)
    before = standing_of(entry, await standings(backend))
    if before.paused:
        await _take_back(backend, entry, before, now)
    standing = await ordered(backend, entry, now, paused=False)
    await _put(backend, entry, standing, now)
    return standing


async def _put(backend: Backend, entry: Periodic, standing: Standing, now: float) -> int:
    firings = [_firing(entry, tick, standing.turn) for tick in entry.schedule.ticks(now, now + HORIZON)]
    try:
        return sum(await backend.push(firings, now, once=True)) if firings else 0
    except InvalidArguments as wrong:  # the others fire none the less
        log.error("periodic job %s cannot be enqueued: %s", entry.handler, wrong)
        return 0


async def _take_back_overtaken(
    backend: Backend, entries: Sequence[Periodic], before: Mapping[Key, Standing], now: float
) -> None:
    """Those of schedules that were paused while they were put there."""
    after = await standings(backend)
    for entry in entries:
        then = standing_of(entry, before)
        if not then.paused and standing_of(entry, after).orders > then.orders:
            await _take_back(backend, entry, then, now)


async def _take_back(backend: Backend, entry: Periodic, standing: Standing, now: float) -> None:
    """The firings of its turn: those to come, also of a process whose clock is somewhat ahead, and those overdue."""
    ticks = [*entry.schedule.ticks(now, now + HORIZON + PERIOD), *await _overdue(backend, entry, now)]
    if ticks:
        ids = [firing_id(entry.handler, entry.schedule.spec, tick, standing.turn) for tick in ticks]
        await backend.delete(State.SCHEDULED, ids)


async def _overdue(backend: Backend, entry: Periodic, now: float) -> list[float]:
    """What is past and still on the schedule, since no worker lives; as far as one looks."""
    found: list[float] = []
    for page in range(PAGES):
        listing = await backend.jobs(State.SCHEDULED, Window(PAGE, page * PAGE))
        past = [view for view in listing if view.at <= now]
        ticks = (tick_of(view.id, entry.handler, entry.schedule.spec) for view in past)
        found += [tick for tick in ticks if tick is not None]
        if len(past) < PAGE:
            break
    return found


def _firing(entry: Periodic, tick: float, turn: int) -> Job:
    """The job of one firing; gocraft/work's pools make the same bytes of it, until its schedule was resumed."""
    return Job(
        handler=entry.handler,
        args=entry.args,
        queue=entry.queue,
        id=firing_id(entry.handler, entry.schedule.spec, tick, turn),
        enqueued_at=tick,
        run_at=tick,
    )
