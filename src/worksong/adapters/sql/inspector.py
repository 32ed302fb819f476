"""Looking without touching: the programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from worksong.adapters.sql.rows import view
from worksong.adapters.sql.steps import Program, Row, Space
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.ports.backend import BusyView, Listing, Pool, PoolView, QueueView, Trace, Window


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is over, as the history remembers it."""

    id: str
    handler: str
    queue: str
    attempt: int
    outcome: str
    """``done`` or ``discarded``."""
    args: bytes | None
    """JSON."""
    enqueued_at: float
    started_at: float
    ended_at: float


class SqlInspector:
    """Programs that read one namespace."""

    def __init__(self, space: Space, *, own_clock: bool) -> None:
        self._space, self._own_clock = space, own_clock

    def queues(self, now: float) -> Program[list[QueueView]]:
        """Queues with jobs waiting or running, and paused ones."""
        paused = {queue for (queue,) in (yield from self._space.ask("paused"))}
        found = {
            (queue, state): (count, place) for queue, state, count, place in (yield from self._space.ask("queues"))
        }
        names = sorted(paused | {queue for queue, _ in found})
        return [_queue_view(name, found, now, paused=name in paused) for name in names]

    def counts(self) -> Program[dict[State, int]]:
        """How many jobs there are in each state."""
        found: dict[State, int] = {state: 0 for state in State if state is not State.GONE}
        for state, count in (yield from self._space.ask("counts")):
            found[State(state)] = count
        return found

    def jobs(self, state: State, window: Window) -> Program[Listing]:
        """By time; waiting ones by their place, as they will be lent."""
        total = (yield from self._space.ask("count", state=str(state)))[0][0]
        if state is State.QUEUED:
            rows = yield from self._waiting(window)
        elif state is State.RUNNING:
            rows = yield from self._space.ask("under_way", most=window.limit, offset=window.offset)
        else:
            rows = yield from self._space.ask("timed", state=str(state), most=window.limit, offset=window.offset)
        return Listing(tuple(view(row) for row in rows), total)

    def _waiting(self, window: Window) -> Program[list[Row]]:
        """The index has each queue of each type in order: merging their beginnings sorts no more than is shown."""
        lines = yield from self._space.ask("all_lines")
        if not lines:
            return []
        end = window.offset + window.limit
        places = yield from self._beginnings(lines, end)
        rows = yield from self._space.ask("by_seq", [(seq,) for _, seq, *_ in sorted(places)[window.offset : end]])
        return sorted(rows, key=_by_place)

    def _beginnings(self, lines: Sequence[Row], end: int) -> Program[Sequence[Row]]:
        """Places among which are the first `end` of all: of each line twice its share, and more where that is too
        few, since most of those that go first are in one line."""
        most = min(end, 2 * -(-end // len(lines)))
        while True:
            places = yield from self._space.ask("places", lines, most=most)
            if most == end or _reaches(places, most, end):
                return places
            most = min(end, 4 * most)

    def job(self, job_id: str) -> Program[JobView | None]:
        """The job wherever it is."""
        rows = yield from self._space.ask("by_id", id=job_id)
        return view(rows[0], whole=True) if rows else None

    def risks(self) -> Program[list[str]]:
        """Settings with which the database forgets what it has acknowledged, when the power fails."""
        return [setting for (setting,) in (yield from self._space.ask("risks")) if setting]

    def trace(self, job_id: str) -> Program[Trace]:
        """All that is known of an id."""
        taken_in = bool((yield from self._space.ask("taken_once", [(job_id,)])))
        now = (yield from self._space.ask("clock_of_server"))[0][0] if self._own_clock else None
        found = yield from self.job(job_id)
        if found is None:
            return Trace(taken_in=taken_in, server_now=now)
        job = found.job
        pool, cancelled, crashes, place, seq = (yield from self._space.ask("traced", id=job_id))[0]
        ahead = None
        if found.state is State.QUEUED:
            ahead = (yield from self._space.ask("ahead", queue=job.queue, place=place, seq=seq))[0][0]
        limit = yield from self._space.ask("limit_of", handler=job.handler)
        running = (yield from self._space.ask("running", [(job.handler,)])) if limit else []
        paused = {queue for (queue,) in (yield from self._space.ask("paused"))}
        return Trace(
            job=found,
            ahead=ahead,
            paused=job.queue in paused,
            limit=limit[0][0] if limit else 0,
            running=running[0][1] if running else 0,
            pool=pool or "",
            cancelled=bool(cancelled),
            taken_in=taken_in,
            crashes=crashes,
            server_now=now,
        )

    def pools(self) -> Program[list[PoolView]]:
        """Registered pools, by id."""
        rows = yield from self._space.ask("pools")
        return [_pool_view(pool, beat_at, word or "") for pool, beat_at, _, word in rows]

    def busy(self) -> Program[list[BusyView]]:
        """What the pools said at their last beat."""
        found: list[BusyView] = []
        for _, _, busy, _ in (yield from self._space.ask("pools")):
            found += msgspec.json.decode(busy, type=list[BusyView])
        return found

    def history(self, window: Window) -> Program[tuple[Sequence[Finished], int]]:
        """Finished jobs, the last first, and how many are remembered."""
        names = Finished.__struct_fields__
        rows = yield from self._space.ask("history", most=window.limit, offset=window.offset)
        total = (yield from self._space.ask("count_history"))[0][0]
        return [Finished(**dict(zip(names, row, strict=True))) for row in rows], total


def _reaches(places: Sequence[Row], most: int, end: int) -> bool:
    """Whether the first `end` are among them, when at most so many of each line were asked for."""
    counts = Counter((handler, queue) for _, _, handler, queue in places)
    cut = {line for line, count in counts.items() if count == most}
    if not cut:
        return True
    last = {(handler, queue): (place, seq) for place, seq, handler, queue in sorted(places)}
    until = min(last[line] for line in cut)
    return sum((place, seq) <= until for place, seq, *_ in places) >= end


def _by_place(row: Row) -> tuple[int, int]:
    return row[5], row[0]


def _queue_view(name: str, found: dict[tuple[str, str], tuple[int, int]], now: float, *, paused: bool) -> QueueView:
    count, place = found.get((name, str(State.QUEUED)), (0, 0))
    return QueueView(
        name=name,
        count=count,
        latency=max(0.0, now - place / 1e6) if count else 0.0,
        paused=paused,
        running=found.get((name, str(State.RUNNING)), (0, 0))[0],
    )


def _pool_view(stored: bytes, beat_at: float, told: str) -> PoolView:
    pool = msgspec.json.decode(stored, type=Pool)
    return PoolView(
        id=pool.id,
        heartbeat_at=beat_at,
        started_at=pool.started_at,
        handlers=tuple(sorted(pool.handlers)),
        concurrency=pool.concurrency,
        host=pool.host,
        pid=pool.pid,
        worker_ids=pool.worker_ids,
        told=told,
    )
