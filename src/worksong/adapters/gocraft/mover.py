"""Members of the sorted sets on their way: due jobs to their queues, dead ones back, others dropped."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from worksong.adapters.gocraft.space import MOVE, Space, kept_apart
from worksong.adapters.redis.alarm import Alarm
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.store import MEND, common_start
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.poison import Poison, Reason
from worksong.wire import gocraft
from worksong.wire.gocraft import rewrite

RETRY, SCHEDULED, DEAD, FIRST_QUEUE = 2, 3, 4, 5
"""Places of the targets among the move script's keys."""
WRONG_QUEUE = -1
"""The move script's answer for a member whose queue is a key of a wrong type."""
UNKNOWN_WAITS = 60
UNKNOWN_TRIES = 10
CHUNK = 100
BURIED_UNKNOWN = "unknown job when requeueing"
"""The error under which a Go pool buries due jobs of a type that it does not serve itself."""
REVIVED_MOST = 1000

log = logging.getLogger("worksong")


class Move(msgspec.Struct, frozen=True):
    """One member's way: to a set by its place, to a queue by its name, or nowhere (None)."""

    target: int | str | None
    member: bytes
    new: bytes = b""
    at: int = 0
    id: str = ""
    lock: str = ""
    held: str = ""


class Mover:
    """Decides here, moves in one script: a member somebody else moved meanwhile is left alone."""

    def __init__(self, space: Space) -> None:
        self._space = space
        k = space.keys
        self._sets = {State.RETRY: k.retry, State.SCHEDULED: k.scheduled, State.DEAD: k.dead}
        self._known: set[str] = set()
        self._alarm = Alarm(space.redis, (k.retry, k.scheduled))

    async def close(self) -> None:
        """Let go of the connection that waits for what is due."""
        await self._alarm.close()

    # what is due

    async def until_due(self, now: float, seconds: float) -> None:
        await self._alarm.until_due(now, seconds)

    async def promote(self, now: float, limit: int) -> int:
        k, due = self._space.keys, int(now)
        found = await self._space.try_all(
            [("ZRANGEBYSCORE", key, "-inf", due, "LIMIT", 0, limit) for key in (k.retry, k.scheduled)]
        )
        retries: list[bytes] = found[0] or []
        scheduled: list[bytes] = found[1] or []
        del scheduled[limit - len(retries) :]
        moved = 0
        for place, key, members in ((RETRY, k.retry, retries), (SCHEDULED, k.scheduled, scheduled)):
            if members:
                await self._learn(members)
                moves = [self._promoted(raw, place, now) for raw in members]
                answers = await self._move(key, moves)
                moved += answers.count(1)
                stuck = [move for move, answer in zip(moves, answers, strict=True) if answer == WRONG_QUEUE]
                if stuck:
                    moved += await self._postpone(key, stuck, place, now)
        return moved

    async def _postpone(self, key: str, stuck: Sequence[Move], place: int, now: float) -> int:
        """Their queues are keys of a wrong type: they wait aside, since all that is due stands behind them."""
        keys = sorted({self._space.keys.jobs(str(move.target)) for move in stuck})
        log.error("due jobs cannot be queued, these keys hold what is no list: %s; %s", ", ".join(keys), MEND)
        later = int(now) + UNKNOWN_WAITS
        return (await self._move(key, [Move(place, move.member, move.member, later) for move in stuck])).count(1)

    async def _learn(self, members: Iterable[bytes]) -> None:
        """Know at least the names that somebody in the namespace knows, when one comes up that we do not."""
        names: set[str] = set()
        for raw in members:
            try:
                names.add(gocraft.decode(raw).handler)
            except Poison:
                continue
        if not names <= self._known:
            self._known = set(await self._space.known())

    def _promoted(self, raw: bytes, place: int, now: float) -> Move:
        try:
            job = gocraft.decode(raw)
        except Poison as poison:
            log.error("poison among the waiting jobs went to the dead ones: %s", poison)
            return Move(DEAD, raw, self._space.buried(raw, "", poison, now, "schedule").new, int(now))
        if job.handler in self._known:
            return Move(job.handler, raw, rewrite(raw, {"t": int(now)}))
        return self._unknown(raw, job, place, now)

    def _unknown(self, raw: bytes, job: Job, place: int, now: float) -> Move:
        """Nobody has ever served this name: somebody may yet, so it has ten minutes before it is dead."""
        tries = job.meta.get("unknown", 0)
        if not isinstance(tries, int) or tries >= UNKNOWN_TRIES:
            error = f"{Reason.UNKNOWN_HANDLER}: nobody serves {job.handler!r}"
            log.error("job %s is dead: %s", job.id, error)
            return Move(DEAD, raw, rewrite(raw, {"err": error, "failed_at": int(now)}, ["unknown"]), int(now))
        return Move(place, raw, rewrite(raw, {"unknown": tries + 1}), int(now) + UNKNOWN_WAITS)

    async def _move(self, key: str, moves: Sequence[Move]) -> list[int]:
        k = self._space.keys
        queues = sorted({move.target for move in moves if isinstance(move.target, str)})
        places = {name: FIRST_QUEUE + i for i, name in enumerate(queues)}
        args: list[Arg] = []
        for move in moves:
            action = places[move.target] if isinstance(move.target, str) else move.target or "drop"
            args += (action, move.member, move.new, move.at, move.id, move.lock, move.held)
        keys = (key, k.retry, k.scheduled, k.dead, *(k.jobs(name) for name in queues), k.cancelled)
        answers: list[int] = await self._space.run(MOVE, keys, args)
        return answers

    async def revive(self, now: float) -> int:
        """Queue again what a Go pool buried only because it did not know the job type, if anybody does."""
        self._known = set(await self._space.known())
        buried = await self._space.call("ZRANGE", self._space.keys.dead, 0, REVIVED_MOST - 1, "REV")
        return await self._moved(self._space.keys.dead, buried, lambda raw: self._revived(raw, now))

    def _revived(self, raw: bytes, now: float) -> Move | None:
        if BURIED_UNKNOWN.encode() not in raw:
            return None
        try:
            job = gocraft.decode(raw)
        except Poison:
            return None
        if job.error != BURIED_UNKNOWN or job.handler not in self._known:
            return None
        return Move(job.handler, raw, rewrite(raw, {"t": int(now)}, ("err", "failed_at")))

    # an operator's hand

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        """To the queue at once; a name that nobody knows stays where it is."""
        self._known = set(await self._space.known())
        return await self._each(state, job_ids, lambda raw: self._requeued(state, raw, now))

    def _requeued(self, state: State, raw: bytes, now: float) -> Move | None:
        try:
            job = gocraft.decode(raw, limit=64 * gocraft.LIMIT)
        except Poison:
            return None
        if job.handler not in self._known or kept_apart(job):
            return None
        original = gocraft.unwrap_poison(job)
        if original is not None:
            return Move(job.handler, raw, original[1])
        dropped: tuple[str, ...] = ("fails", "err", "failed_at") if state is State.DEAD else ()
        if state is State.DEAD and job.fails:
            dropped += ("unique", "unique_key", "unique_until")  # its lock was given back, and may be another's now
        return Move(job.handler, raw, rewrite(raw, {"t": int(now)}, dropped), id=job.id)

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        """Dropped, with the lock that is its own."""
        return await self._each(state, job_ids, lambda raw: self._deleted(state, raw))

    def _deleted(self, state: State, raw: bytes) -> Move:
        try:
            job = gocraft.decode(raw, limit=64 * gocraft.LIMIT)
        except Poison:
            return Move(None, raw)
        key = kept_apart(job)
        if key.startswith(self._space.keys.poison("")):
            return Move(None, raw, id=job.id, lock=key)
        # A job that has run gave its lock back at the start, unless it keeps it until it is done.
        held = self._space.held(job)
        own = held or (state is State.SCHEDULED and not job.fails)
        return Move(None, raw, id=job.id, lock=self._space.lock_of(job) if own else "", held=held)

    async def _each(self, state: State, job_ids: Sequence[str] | None, decide: Callable[[bytes], Move | None]) -> int:
        key = self._sets[state]
        if job_ids is not None:
            return await self._moved(key, await self.find(key, job_ids), decide)
        moved = passed = 0
        total = await self._space.call("ZCARD", key)
        while passed + moved < total:
            members = await self._space.call("ZRANGE", key, passed, passed + CHUNK - 1)
            if not members:
                break
            done = await self._moved(key, members, decide)
            moved, passed = moved + done, passed + len(members) - done
        return moved

    async def _moved(self, key: str, members: Sequence[bytes], decide: Callable[[bytes], Move | None]) -> int:
        moves = [move for move in map(decide, members) if move]
        return (await self._move(key, moves)).count(1) if moves else 0

    async def find(self, key: str, job_ids: Collection[str]) -> list[bytes]:
        """The members of a set that are the jobs of these ids, in that order: one pass, however many they are."""
        places = {job_id: place for place, job_id in enumerate(job_ids)}
        found: dict[bytes, int] = {}
        cursor, pattern = b"0", f"*{landmark(common_start(places))}*"
        while places:
            cursor, members = await self._space.call("ZSCAN", key, cursor, "MATCH", pattern, "COUNT", 1000)
            found |= {raw: places[job_id] for raw in members[::2] if (job_id := id_of(raw)) in places}
            if cursor == b"0":
                break
        return sorted(found, key=found.__getitem__)


def is_job(raw: bytes, job_id: str) -> bool:
    """Whether a document is the job of this id."""
    return id_of(raw) == job_id


def id_of(raw: bytes) -> str | None:
    """The id of the job that a document is; None: it is none."""
    try:
        return gocraft.decode(raw, limit=64 * gocraft.LIMIT).id
    except Poison:
        return None


def landmark(job_id: str) -> str:
    """The longest part of an id that all writers of JSON write alike, and that a pattern takes literally."""
    return max(_PLAIN.findall(job_id), key=len, default="")


_PLAIN = re.compile(r"[A-Za-z0-9_.:@ -]+")
