"""Jobs in, jobs lent, jobs settled: the programs."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from worksong.adapters.sql.endings import Endings
from worksong.adapters.sql.front import Places
from worksong.adapters.sql.places import Numbers
from worksong.adapters.sql.rows import Light, Receipt, checked, fresh, inserted, read, written
from worksong.adapters.sql.steps import CHUNK, Program, Row, Space, parts
from worksong.domain.errors import WorksongError
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.names import one_line
from worksong.domain.outcome import (
    Buried,
    Discarded,
    Done,
    Outcome,
    Released,
    Retried,
    Settlement,
    Snoozed,
    following,
)
from worksong.domain.poison import Poison
from worksong.domain.result import Result
from worksong.ports.backend import ONCE_KEPT, Want
from worksong.wire import result as wire

PLENTY = 1 << 30

log = logging.getLogger("worksong")


class Lines:
    """The queues that have something for a fetch, and how much of each type it may take."""

    def __init__(self, want: Want, found: Sequence[Row]) -> None:
        """`found`: (type, queue, place of its first job, its type's limit or None)."""
        self.queues: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        """And where each begins."""
        self.limited = list(dict.fromkeys(handler for handler, _, _, most in found if most is not None))
        for handler, queue, place, _ in found:
            if want.queues is None or queue in want.queues:
                self.queues[handler].append((queue, place))
        self.room: dict[str, int] = {}
        self._order = {name: place for place, name in enumerate(want.queues or ())}

    def sort(self, rows: list[Row]) -> None:
        """Of one type: the queues in the order asked for, the oldest first; of all of them where none was asked for."""
        rows.sort(key=lambda row: (self._order.get(row[3], 0), row[5], row[0]))


class Taken(NamedTuple):
    """What was lent."""

    deliveries: list[Delivery]
    poisoned: list[tuple[Row, int, Poison]]
    """Rows that are no jobs, and the fences under which they were lent."""
    lines: int = 0
    """How many queues had something."""
    took: float = 0.0
    """Seconds of the server until it knew where they begin, if it looked for that."""
    rows: Sequence[Row] = ()
    """All of them, each type's in the order of its lines."""

    @classmethod
    def of(cls, lent: Sequence[tuple[Row, int]], pool: str) -> Taken:
        """Rows and their fences."""
        taken = cls([], [], rows=[row for row, _ in lent])
        for row, fence in lent:
            try:
                taken.deliveries.append(Delivery(read(row), Receipt(row[0], fence, pool), fence))
            except Poison as poison:
                taken.poisoned.append((row, fence, poison))
        return taken


class SqlBroker:
    """Programs over one namespace; `places` and `fences` are shared by all siblings of a process."""

    def __init__(self, space: Space, places: Numbers, fences: Numbers, endings: Endings, *, history: bool) -> None:
        self._space, self.places, self._fences, self._history = space, places, fences, history
        self._endings = endings
        self.limited = False
        """Whether the last fetch met types with a limit."""

    # push

    def rows(self, jobs: Sequence[Job], now: float) -> list[Row]:
        """The jobs as rows; refuses what cannot be carried before anything is written."""
        return [inserted(job, place, now) for job, place in zip(jobs, self.places.take(len(jobs), now), strict=True)]

    def push(self, jobs: Sequence[Job], rows: Sequence[Row], now: float, *, once: bool) -> Program[list[bool]]:
        """Insert them; which are new is told by the place under which the id is there afterwards."""
        taken = (yield from self._take_once(rows, now)) if once else set[int]()
        given = [row for row in rows if row[4] in taken] if once else rows
        if any(row[12] for row in given):  # everybody takes locks in the same order: who waits for whom is no circle
            given = sorted(given, key=lambda row: row[12] or "")  # of two alike the first one still comes first
        touched = 0
        for part in parts(given, 6):
            touched += yield from self._space.do("insert", part)
        if touched == len(rows):
            return [True] * len(rows)
        new = yield from self._there("inserted", given)
        refused = [(job, row) for job, row in zip(jobs, rows, strict=True) if row[4] not in new]
        yield from self._space.do("drop_once", [(row[0],) for _, row in refused if row[4] in taken])
        renewing = [row for job, row in refused if job.unique and job.unique_by is not None and row in given]
        yield from self._space.do("renew", [(row[12], row[6], row[13]) for row in renewing])
        return [row[4] in new for row in rows]

    def fresh(self, jobs: Sequence[Job], now: float) -> list[Row]:
        """The same of jobs that are all fresh, as `push_fresh` takes them."""
        space, places = self._space.namespace, self.places.take(len(jobs), now)
        return [fresh(space, job, place, now) for job, place in zip(jobs, places, strict=True)]

    def push_fresh(self, rows: Sequence[Row]) -> Program[list[bool]]:
        """Insert fresh jobs under ids that were just drawn; the database refuses all if one is there."""
        yield from self._space.do("insert_fresh", rows)
        return [True] * len(rows)

    def push_new(self, rows: Sequence[Row]) -> Program[list[bool]]:
        """The same of jobs without locks."""
        space = self._space.namespace
        yield from self._space.do("insert_new", [(space, *row) for row in rows])
        return [True] * len(rows)

    def push_one(self, row: Row) -> Program[list[bool]]:
        """Insert a job, if neither it nor its lock is there."""
        return [bool((yield from self._space.do("insert", [row])))]

    def _take_once(self, rows: Sequence[Row], now: float) -> Program[set[int]]:
        """The places of those whose ids were never pushed once before."""
        first = {row[0]: row for row in reversed(rows)}
        taking = [(id, max(now, row[5]) + ONCE_KEPT, row[4]) for id, row in sorted(first.items())]
        yield from self._space.do("take_once", taking, now=now)
        return (yield from self._there("taken_once", list(first.values())))

    def _there(self, question: str, rows: Sequence[Row]) -> Program[set[int]]:
        """The places of these rows that are there under their own place."""
        found: set[tuple[str, int]] = set()
        for start in range(0, len(rows), CHUNK):
            ids = list(dict.fromkeys(row[0] for row in rows[start : start + CHUNK]))
            found.update((id, place) for id, place in (yield from self._space.ask(question, [(id,) for id in ids])))
        return {row[4] for row in rows if (row[0], row[4]) in found}

    # fetch

    def take(self, want: Want, now: float, near: Places, *, quotas: bool = True) -> Program[Taken]:
        """The whole fetch in one statement, but for what may only be lent step by step.

        `near`: look only from these places on, if there are any; `quotas`: whether they hold.
        """
        fence = self._fences.take(want.limit, now).start
        asked = [(share.name, min(share.quota, want.limit) if quotas else 0) for share in want.handlers]
        queues = None if want.queues is None else list(want.queues)
        given = {"most": want.limit, "fence": fence, "queues": queues, "pool": want.pool, "now": now}
        if near:
            rows = yield from self._space.ask("take_near", _from_places(asked, near), **given)
        else:
            rows = yield from self._space.ask("take", asked, **given)
        lines, took = rows[0][0], rows[0][1] or 0.0
        self._fences.take(0, now, above=max(row[3] or 0 for row in rows))  # who lent them may have been ahead of time
        lent = [(row[4:], row[3]) for row in rows if row[3] is not None]
        return Taken.of(lent, want.pool)._replace(lines=lines, took=took)

    def fetch(self, want: Want, now: float) -> Program[list[Delivery]]:
        """Each type's quota first, then whatever is left of them."""
        lines = Lines(want, (yield from self._lines([share.name for share in want.handlers])))
        self.limited = bool(lines.limited)
        if not lines.queues or want.limit <= 0:
            return []
        if lines.limited:
            yield from self._limit(lines)
        found: dict[int, Row] = {}
        quotas = {share.name: min(share.quota, want.limit) for share in want.handlers if share.name in lines.queues}
        spare = max(0, want.limit - sum(quotas.values()))  # what falls to types that have nothing
        more = yield from self._pick(want, lines, {name: quota + spare for name, quota in quotas.items()}, found)
        if len(found) < want.limit and more:
            yield from self._pick(want, lines, dict.fromkeys(more, PLENTY), found)
        return (yield from self._lend(list(found.values()), want.pool, now))

    def _lines(self, names: Sequence[str]) -> Program[list[Row]]:
        """(type, queue, place of its first job, its type's limit or None) of all that have some and are not paused.

        The index has the queues of a type in order: hopping from one to the next touches no jobs in between.
        """
        found: list[Row] = []
        asked: list[Row] = [(name, "") for name in names]
        pauses = 0
        while asked:
            hops = yield from self._space.ask("next_queue", asked)
            found += [(name, queue, place, most) for name, queue, place, _, most, _ in hops]
            asked = [(name, queue) for name, queue, _, last, _, _ in hops if queue != last]
            pauses = hops[0][5] if hops else pauses
        if not found or not pauses:
            return found
        paused = {queue for (queue,) in (yield from self._space.ask("paused"))}
        return [line for line in found if line[1] not in paused]

    def _limit(self, lines: Lines) -> Program[None]:
        """How many more of each limited type may run; nobody else lends any until this transaction is over."""
        names = [(name,) for name in sorted(lines.limited)]
        most: dict[str, int] = dict((yield from self._space.ask("lock_limits", names)))
        running: dict[str, int] = dict((yield from self._space.ask("running", names)))
        lines.room = {name: max(0, limit - running.get(name, 0)) for name, limit in most.items()}

    def _pick(self, want: Want, lines: Lines, quotas: dict[str, int], found: dict[int, Row]) -> Program[list[str]]:
        """Add what each type's quota allows; answers the types that may have more: those that had no turn as well."""
        asked: dict[str, int] = {}
        left = want.limit - len(found)
        for name, queues in lines.queues.items():
            had = sum(1 for row in found.values() if row[2] == name)
            # What was picked before is found again: it is not lent yet.
            quota = min(quotas.get(name, 0), left, lines.room.get(name, PLENTY) - had)
            if quota > 0 and queues:
                asked[name] = quota + had
        if not asked:
            return list(lines.queues)
        wanted = [(name, *line, quota) for name, quota in asked.items() for line in lines.queues[name]]
        by_type: defaultdict[str, list[Row]] = defaultdict(list)
        for row in (yield from self._space.ask("pick", wanted)):
            by_type[row[2]].append(row)
        more = [name for name in lines.queues if name not in asked]
        for share in want.handlers:
            rows = by_type[share.name]
            lines.sort(rows)
            quota = asked.get(share.name, 0)
            for row in rows[:quota]:
                if len(found) < want.limit:
                    found[row[0]] = row
            if rows and len(rows) >= quota:
                more.append(share.name)
        return more

    def _lend(self, rows: Sequence[Row], pool: str, now: float) -> Program[list[Delivery]]:
        """Note the lendings; what is no job goes to the dead at once."""
        fences = self._fences.take(len(rows), now, above=max((row[16] for row in rows), default=0))
        taken = Taken.of(list(zip(rows, fences, strict=True)), pool)
        lent = [(row[0], fence) for row, fence in zip(rows, fences, strict=True)]
        yield from self._space.do("lend", lent, pool=pool, now=now, last=not taken.poisoned)
        yield from self.bury(taken.poisoned, now)
        return taken.deliveries

    def bury(self, poisoned: Sequence[tuple[Row, int, Poison]], now: float) -> Program[None]:
        """To the dead, with their bytes as they are."""
        moves: list[Row] = []
        for row, fence, poison in poisoned:
            log.error(
                "job %s (%s) cannot be read and is dead: %s", one_line(str(row[1])), row[2], one_line(str(poison))
            )
            light = Light(row[0], row[1], fence, row[4], 0, row[5], now, row[8], 1, None, now, None, None, 0, 0.0)
            moves.append(light.moved(State.DEAD, reason=poison.reason, error=written(str(poison))))
        yield from self._space.do("move", moves)

    # settle

    def settle(self, batch: Sequence[Settlement], now: float) -> Program[list[bool]]:
        """Carry out the endings of those whose claim still holds, and no others."""
        claims = sorted({settlement.delivery.receipt for settlement in batch})
        held = {row[0]: Light(*row) for row in (yield from self._space.ask("held", claims))}
        answers: list[bool] = []
        dropped: list[Row] = []
        moved: list[Row] = []
        done: list[Row] = []
        results: list[Result] = []
        then: list[Job] = []
        for settlement in batch:
            receipt: Receipt = settlement.delivery.receipt
            light = held.get(receipt.seq)
            if light is None or light.fence != receipt.fence:
                answers.append(False)
                continue
            answers.append(True)
            del held[receipt.seq]
            outcome = Discarded("cancelled") if light.cancelled else settlement.outcome
            if self._endings.seconds and (result := wire.of(light.id, outcome, now)):
                results.append(result)
            then += following(outcome)
            move = ending(light, outcome, now)
            if move is None:
                dropped.append((light.seq, light.fence))
                done.append((light.seq, "done" if isinstance(outcome, Done) else "discarded"))
            else:
                moved.append(move)
        if self._history:
            yield from self._space.do("remember", done, now=now)
        yield from self._endings.keep(results)
        gone = yield from self._space.do("drop", dropped)
        gone += yield from self._space.do("move", moved)
        if then:
            yield from self.follow(then, now)
        if gone != len(dropped) + len(moved):
            raise ClaimsBroken("rows of claimed jobs changed under their lock; nothing was carried out")
        return answers

    def follow(self, then: Sequence[Job], now: float) -> Program[None]:
        """Take in the jobs behind those that are done; whose id was taken in before is there already."""
        ready = [checked(job) for job in then]
        yield from self.push(ready, self.rows(ready, now), now, once=True)

    def seal(self, settlement: Settlement, now: float) -> Program[None]:
        """The ending of a job whose handler has written in the same transaction; raises where neither may stay."""
        held = yield from self._space.ask("held", [settlement.delivery.receipt])
        if not held:
            raise NotHeld
        if Light(*held[0]).cancelled:
            raise Cancelled
        if not all((yield from self.settle([settlement], now))):
            raise NotHeld


def _from_places(asked: Sequence[Row], near: Places) -> list[Row]:
    """The rows of `take_near`: for each type that is asked for, its lines."""
    turns = enumerate(asked, 1)
    return [(*one, turn, queue, place) for turn, one in turns for queue, place in near.get(one[0], {}).items()]


class NotHeld(WorksongError):
    """the job is another worker's by now"""


class Cancelled(WorksongError):
    """the job was cancelled while it ran"""


class ClaimsBroken(WorksongError):
    """claims changed while they were settled"""


def ending(light: Light, outcome: Outcome, now: float) -> Row | None:
    """Where the job goes; None: nowhere, its row is dropped and its lock with it."""
    match outcome:
        case Retried(run_at, error):
            return light.moved(State.RETRY, at=run_at, attempt=light.attempt + 1, error=written(error), failed_at=now)
        case Snoozed(run_at):
            return light.moved(State.SCHEDULED, at=run_at)
        case Buried(error):
            return buried(light._replace(attempt=light.attempt + 1), error, now)
        case Released():
            return light.moved(State.QUEUED, at=light.enqueued_at)
        case _:
            return None


def buried(light: Light, error: str, now: float) -> Row:
    """Among the dead, without its lock."""
    return light.moved(State.DEAD, at=now, error=written(error), failed_at=now, unique_key=None)
