"""What keeps the jobs moving: pools, their beats and their deaths, due jobs, and what is kept for a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import msgspec

from worksong.adapters.sql.broker import buried
from worksong.adapters.sql.places import Numbers
from worksong.adapters.sql.rows import Light
from worksong.adapters.sql.steps import CHUNK, Program, Row, Space
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import shown
from worksong.domain.lifecycle import State
from worksong.domain.names import one_line
from worksong.ports.backend import (
    CRASHES_ALLOWED,
    CRASHES_KEPT,
    SILENT_FOR,
    Beat,
    BusyView,
    Direction,
    Orders,
    Pool,
    Running,
)
from worksong.wire import gojson

DEAD_KEPT = 180 * 86400.0
DEAD_MOST = 1_000_000

log = logging.getLogger("worksong")


class Keep(NamedTuple):
    """How long finished jobs are remembered; nothing at all unless an age is given."""

    seconds: float = 0.0
    most: int = 1_000_000


class Look(NamedTuple):
    """What a pool did not hold at its last beat, though it was lent to it; and the fetch whose answer was awaited."""

    missing: frozenset[int] = frozenset()
    unowned: frozenset[int] = frozenset()
    fetch: int = 0


class SqlUpkeep:
    """Programs of upkeep; what they have observed belongs to this object, not to the store."""

    def __init__(self, space: Space, places: Numbers, keep: Keep, *, own_clock: bool) -> None:
        self._space, self._places, self._keep, self._own_clock = space, places, keep, own_clock
        self._looks: dict[str, Look] = {}
        self._seen: dict[str, tuple[int, float]] = {}

    def forget_silence(self) -> None:
        """While the server was away nobody could beat: that was no silence."""
        self._seen.clear()

    # pools

    def enlist(self, pool: Pool, now: float) -> Program[None]:
        """The pool's limits hold from now on; types it runs without one have none."""
        yield from self._space.do("enlist", id=pool.id, pool=msgspec.json.encode(pool), busy=b"[]", now=now)
        yield from self._space.do("set_limit", sorted(pool.limits.items()))
        yield from self._space.do("drop_limit", [(name,) for name in pool.handlers if name not in pool.limits])

    def beat(self, beat: Beat, now: float) -> Program[Orders]:
        """Compares what the pool holds with what it was lent, by fence."""
        pool = beat.pool
        busy = msgspec.json.encode([busy_view(pool, running) for running in beat.running])
        touched = yield from self._space.do("beat", id=pool.id, busy=busy, now=now)
        known = yield from self._space.ask("beaten", id=pool.id)
        server_now = (yield from self._clock(known)) if self._own_clock else None
        if not touched:
            self._looks.pop(pool.id, None)
            return Orders(evicted=True, lost=beat.held, server_now=server_now)
        rows = yield from self._space.ask("lent", [(name,) for name in pool.handlers], pool=pool.id)
        lent = {light.fence: light for light in (Light(*row) for row in rows)}
        back, gone = self._unheld(beat, frozenset(lent))
        yield from self._return([lent[fence] for fence in back])
        return Orders(
            cancel=frozenset(light.id for light in lent.values() if light.cancelled),
            lost=tuple(held for held in beat.held if held.fence in gone),
            server_now=server_now,
            quiet=known[0][1] == Direction.QUIET,
            stop=known[0][1] == Direction.STOP,
        )

    def _clock(self, known: Sequence[Row]) -> Program[float]:
        """The time that the beat was given, so that both tell of the same second; of a pool struck off, that of now."""
        now: float = (known or (yield from self._space.ask("clock_of_server")))[0][0]
        return now

    def _unheld(self, beat: Beat, lent: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
        """(lent and not held: to be given back, held and not lent: lost), each seen at two beats in a row.

        Twice, since an ending may be under way; and what the answer to one and the same fetch may hold is not missed.
        """
        held = frozenset(delivery.fence for delivery in beat.held)
        now = Look(lent - held, held - lent, beat.fetch)
        before = self._looks.get(beat.pool.id, Look())
        waits = bool(beat.fetch) and beat.fetch == before.fetch
        back = frozenset[int]() if waits else now.missing & before.missing
        self._looks[beat.pool.id] = now._replace(missing=now.missing - back)
        return back, now.unowned & before.unowned

    def _return(self, rows: Sequence[Light]) -> Program[int]:
        """Where they were in their queues; cancelled ones are dropped. Answers how many wait again."""
        yield from self._space.do("drop", [(light.seq, light.fence) for light in rows if light.cancelled])
        back = [light.moved(State.QUEUED, at=light.enqueued_at) for light in rows if not light.cancelled]
        return (yield from self._space.do("move", back))

    def leave(self, pool: Pool) -> Program[int]:
        """Hand back what the pool holds, then strike it off."""
        back = 0
        while rows := (yield from self._space.ask("holdings", pool=pool.id)):
            back += yield from self._return([Light(*row) for row in rows])
        yield from self._space.do("strike", id=pool.id)
        yield from self._space.do("untell", id=pool.id)
        self._looks.pop(pool.id, None)
        return back

    # pools that died

    def watch(self, monotonic: float) -> Program[list[tuple[str, int]]]:
        """(pool, beat) of pools whose beat stands still for too long; -1 for one that owns jobs and is unknown."""
        beats = dict((yield from self._space.ask("watch")))
        beats.update({pool: -1 for (pool,) in (yield from self._space.ask("orphans"))})
        seen: dict[str, tuple[int, float]] = {}
        for pool, beat in beats.items():
            before = self._seen.get(pool)
            seen[pool] = before if before and before[0] == beat else (beat, monotonic)
        self._seen = seen
        return [(pool, beat) for pool, (beat, since) in seen.items() if monotonic - since >= SILENT_FOR]

    def bury_pool(self, pool: str, seen: int | None, now: float) -> Program[tuple[bool, int, int]]:
        """(whether it was registered and is struck off, jobs queued again, jobs buried).

        `seen`: only if its beat is still this one; None: whatever it says.
        """
        if seen is None or seen < 0:
            struck = yield from self._space.do("strike", id=pool)
        else:
            struck = yield from self._space.do("strike_silent", id=pool, seen=seen)
            if not struck:
                return False, 0, 0
        yield from self._space.do("untell", id=pool)
        self._seen.pop(pool, None)
        recovered = crashed = 0
        while rows := (yield from self._space.ask("holdings", pool=pool)):
            again, buried_now = yield from self._recover([Light(*row) for row in rows], now)
            recovered, crashed = recovered + again, crashed + buried_now
        return bool(struck), recovered, crashed

    def _recover(self, rows: Sequence[Light], now: float) -> Program[tuple[int, int]]:
        """Behind their queues, so that a job that kills its workers starves nobody; dead when it killed too many."""
        moves: list[Row] = []
        crashed = 0
        yield from self._space.do("drop", [(light.seq, light.fence) for light in rows if light.cancelled])
        alive = [light for light in rows if not light.cancelled]
        for light, place in zip(alive, self._places.take(len(alive), now), strict=True):
            old = now - light.crashed_at > CRASHES_KEPT
            lost = light._replace(crashes=1 if old else light.crashes + 1, crashed_at=now if old else light.crashed_at)
            if lost.crashes > CRASHES_ALLOWED:
                error = f"worker_crashed: lost {lost.crashes} workers within 72 hours"
                log.error("job %s is dead: %s", one_line(light.id), error)
                moves.append(buried(lost, error, now))
                crashed += 1
            else:
                moves.append(lost.moved(State.QUEUED, place=place, at=light.enqueued_at))
        yield from self._space.do("move", moves)
        return len(moves) - crashed, crashed

    # moved

    def promote(self, now: float, limit: int) -> Program[int]:
        """Queue what is due, the soonest first."""
        found: list[Light] = []
        for state in (State.RETRY, State.SCHEDULED):
            rows = yield from self._space.ask("due", state=str(state), now=now, most=limit)
            found += [Light(*row) for row in rows]
        found.sort(key=attrgetter("at", "seq"))
        due = found[:limit]
        moves = [
            light.moved(State.QUEUED, place=place, at=now, enqueued_at=now)
            for light, place in zip(due, self._places.take(len(due), now), strict=True)
        ]
        for start in range(0, len(moves), CHUNK):
            yield from self._space.do("move", moves[start : start + CHUNK])
        return len(due)

    # kept for a time

    def prune_ids(self, now: float) -> Program[int]:
        """Forget ids that may be pushed again."""
        return (yield from self._space.do("prune_once", now=now))

    def prune_told(self) -> Program[int]:
        """Forget what pools were told that are gone."""
        return (yield from self._space.do("prune_told"))

    def prune_dead(self, now: float) -> Program[int]:
        """Drop dead jobs too old or too many; a chunk of them."""
        kept = yield from self._space.ask("last_dead_kept", most=DEAD_MOST - 1)
        before = max(now - DEAD_KEPT, kept[0][0] if kept else 0.0)
        rows = yield from self._space.ask("old_dead", before=before, most=CHUNK)
        return (yield from self._space.do("drop", rows))

    def prune_history(self, now: float) -> Program[int]:
        """Forget finished jobs too old or too many."""
        kept = yield from self._space.ask("last_history_kept", most=self._keep.most - 1)
        before = max(now - self._keep.seconds, kept[0][0] if kept else 0.0)
        return (yield from self._space.do("prune_history", before=before))


def busy_view(pool: Pool, running: Running) -> BusyView:
    """What a slot does, as listings show it."""
    job, slot = running.delivery.job, running.slot
    args = shown(job.args, running.hidden)
    try:
        written = gojson.encode(args).decode() if args else ""
    except InvalidArguments:  # readable, yet too much to be written: no reason to miss a beat
        written = "…"
    return BusyView(
        worker_id=pool.worker_ids[slot] if slot < len(pool.worker_ids) else f"{pool.id}:{slot}",
        pool_id=pool.id,
        handler=job.handler,
        job_id=job.id,
        started_at=running.started_at,
        args=written,
        checkin=running.checkin,
        checkin_at=running.checkin_at,
    )
