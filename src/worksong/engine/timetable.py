"""Periodic jobs put on the schedule ahead of time, under ids that every process computes alike."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from worksong.domain.errors import InvalidArguments
from worksong.domain.firing import firing_id, tick_of
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.engine.pauses import Standing, Standings, check_can_pause, ordered, standing_of, standings
from worksong.ports.backend import Backend, Window
from worksong.registry import Periodic

log = logging.getLogger("worksong")

HORIZON = 240.0
"""Seconds ahead, as gocraft/work: each tick is put on the schedule several times over before it is due."""
PERIOD = 60.0
"""Seconds between two runs."""
PAGE, PAGES = 1000, 10
"""How many of the next jobs are looked through for firings that a pause left there."""
LATELY = 3600.0
"""Seconds after an order for which each round looks for what was left: who should have taken it back may be dead."""


async def schedule_ahead(backend: Backend, entries: Sequence[Periodic], now: float) -> int:
    """Push every firing within the horizon, once in the whole cluster however many processes do this.

    A firing is a job with an id made of name, spec and tick, pushed `once`: the second push of an id is refused by the
    backend, also after the first one has run. Ticks that passed while no process was alive are not made up for, nor
    those of a schedule that was paused.
    """
    if not entries:
        return 0
    before = await standings(backend)
    return await _put_all(backend, entries, before, now, since=before)


async def pause(backend: Backend, entry: Periodic, now: float) -> Standing:
    """Have no process put its firings on the schedule, and take back those that are there. Raises `Unsupported`.

    It is ordered first: whoever puts firings there all the same looks again afterwards, and takes them back himself.
    What is left where one of both is cut off, the next round of any process takes back.
    """
    check_can_pause(backend)
    standing = await ordered(backend, entry, now, paused=True)
    await _take_back(backend, entry, standing, now)
    return standing


async def resume(backend: Backend, entry: Periodic, now: float) -> Standing:
    """Have it fire again from its next tick on: nothing is made up for. Raises `Unsupported`.

    What a pause that was cut off has left is taken back, lest it fire beside the firings of this turn; so are these, if
    somebody pauses it meanwhile.
    """
    check_can_pause(backend)
    before = await standings(backend)
    standing = await ordered(backend, entry, now, paused=False)
    await _put_all(backend, [entry], {standing.key: standing}, now, since=before)
    return standing


async def _put_all(
    backend: Backend, entries: Sequence[Periodic], known: Standings, now: float, *, since: Standings
) -> int:
    """Push for those that are not paused, as far as is known; then look what was ordered `since`."""
    try:
        new = sum([await _put(backend, entry, standing_of(entry, known), now) for entry in entries])
    except Exception:  # what came before is there; of the last ones perhaps only the answer is lost
        await _look_again(backend, entries, since, now)
        raise
    await _look_again(backend, entries, since, now)
    return new


async def _put(backend: Backend, entry: Periodic, standing: Standing, now: float) -> int:
    if standing.paused:
        return 0
    firings = [_firing(entry, tick, standing.turn) for tick in entry.schedule.ticks(now, now + HORIZON)]
    try:
        return sum(await backend.push(firings, now, once=True)) if firings else 0
    except InvalidArguments as wrong:  # the others fire none the less
        log.error("periodic job %s cannot be enqueued: %s", entry.handler, wrong)
        return 0


async def _look_again(backend: Backend, entries: Sequence[Periodic], before: Standings, now: float) -> None:
    """Take back the firings of schedules about which something was ordered meanwhile, and what was left lately."""
    after, lately = await standings(backend), list[tuple[Periodic, Standing]]()
    for entry in entries:
        standing = standing_of(entry, after)
        if standing.orders > standing_of(entry, before).orders:
            await _take_back(backend, entry, standing, now)
        elif standing.over and now - standing.at < LATELY:
            lately.append((entry, standing))
    if lately:
        there = await _there(backend, now + HORIZON + PERIOD)
        left = [job_id for entry, standing in lately for job_id in _left(entry, standing, there)]
        if left:
            await backend.delete(State.SCHEDULED, left)


async def _take_back(backend: Backend, entry: Periodic, standing: Standing, now: float) -> None:
    """The firings of turns that are over: those to come, also of a process whose clock is somewhat ahead, and those
    overdue, since no worker lives."""
    ticks, (handler, spec) = entry.schedule.ticks(now, now + HORIZON + PERIOD), standing.key
    ids = [firing_id(handler, spec, tick, turn) for tick in ticks for turn in standing.over]
    ids += _left(entry, standing, await _there(backend, now))
    if ids:
        await backend.delete(State.SCHEDULED, ids)


def _left(entry: Periodic, standing: Standing, ids: Iterable[str]) -> list[str]:
    """Which of these are firings of its turns that are over."""
    handler, spec = entry.handler, entry.schedule.spec
    ticks = ((job_id, tick_of(job_id, handler, spec)) for job_id in ids)
    return [
        job_id
        for job_id, tick in ticks
        if tick is not None and job_id in {firing_id(handler, spec, tick, turn) for turn in standing.over}
    ]


async def _there(backend: Backend, until: float) -> list[str]:
    """The ids of what is on the schedule and due until then, as far as one looks."""
    found: list[str] = []
    for page in range(PAGES):
        listing = await backend.jobs(State.SCHEDULED, Window(PAGE, page * PAGE))
        due = [view.id for view in listing if view.at <= until]
        found += due
        if len(due) < PAGE:
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
