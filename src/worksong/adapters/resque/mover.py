"""Payloads on their way: due ones to their queues, failed ones back, others dropped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, TypeAlias

from worksong.adapters.redis.alarm import Alarm
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.store import MEND, common_start
from worksong.adapters.resque.schedule import Schedule
from worksong.adapters.resque.space import MOVE, Space, id_of
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.poison import Poison, Reason
from worksong.wire import resque, resque_failure

ELSEWHERE = -2
"""The move script's answer when another scheduler holds a lock."""
WRONG_QUEUE = -1
CHUNK = 500
STUCK = 10_000
"""Due jobs that cannot be queued, from which on those behind them are not looked for."""

log = logging.getLogger("worksong")


class Move(NamedTuple):
    """One payload's way."""

    due: int | None
    """The second under which it lies; None: it is a failure."""
    raw: bytes
    action: str
    queue: str = ""
    new: bytes = b""
    id: str = ""


Decide: TypeAlias = Callable[[int | None, bytes], Move | None]


class Mover:
    """Decides here, moves in one script: what somebody else moved meanwhile is left alone."""

    def __init__(self, space: Space, schedule: Schedule) -> None:
        self._space, self._schedule = space, schedule
        self._alarm = Alarm(space.redis, (space.keys.schedule,))
        self._yields = False

    async def close(self) -> None:
        """Let go of the connection that waits for what is due."""
        await self._alarm.close()

    # what is due

    async def until_due(self, now: float, seconds: float) -> None:
        if self._yields:  # the one who holds the lock looks every few seconds, and so do we
            await asyncio.sleep(min(seconds, 1.0))
            return
        await self._alarm.until_due(now, seconds)

    async def promote(self, now: float, limit: int) -> int:
        """Nothing, while a scheduler of another kind holds a lock: both together would move a job twice."""
        moved = stuck = 0
        while moved < limit and stuck < STUCK:
            found = await self._schedule.due(now, limit - moved, past=stuck)
            if not found:
                break
            answers = await self._move([self._promoted(due, raw, now) for due, raw in found], obeying=True)
            self._tell(answers)
            moved += answers.count(1)
            if WRONG_QUEUE not in answers:
                break
            stuck += answers.count(WRONG_QUEUE)  # they stay in front of those that are read next
        if stuck:
            log.error("%d due jobs cannot be queued: the keys of their queues hold what is no list; %s", stuck, MEND)
        return moved

    def _tell(self, answers: Sequence[int]) -> None:
        yields = ELSEWHERE in answers
        if yields and not self._yields:
            log.info("another scheduler moves the delayed jobs of this namespace: its lock is obeyed")
        self._yields = yields

    def _promoted(self, due: int, raw: bytes, now: float) -> Move:
        try:
            document, meta = resque.parse(raw)
            if not document.queue:
                raise Poison(Reason.BAD_FIELD_TYPE, "a delayed job names no queue")
            job = resque.job_of(document, meta)
        except Poison as poison:
            log.error("poison among the delayed jobs went to the failures: %s", poison)
            new = self._space.poisoned(raw, poison, new_id(), where="schedule", queue="", now=now)
            return Move(due, raw, "bury", new=new)
        return Move(due, raw, "queue", job.queue, resque.queued(raw, job, now), job.id)

    async def _move(self, moves: Sequence[Move], *, obeying: bool = False) -> list[int]:
        k = self._space.keys
        args: list[Arg] = [k.prefix, "1" if obeying else ""]
        for move in moves:
            numbered = "1" if move.action == "queue" and resque.is_numbered(move.new) else ""
            due: Arg = "" if move.due is None else move.due
            args += (due, move.raw, move.action, move.queue, move.new, numbered, move.id)
        keys = (k.queues, k.order, k.schedule, k.retries, k.failed, k.cancelled, k.ruby_scheduler, k.node_scheduler)
        answers: list[int] = await self._space.run(MOVE, keys, args)
        return answers

    # an operator's hand

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        """To the queue at once."""
        return await self._each(state, job_ids, lambda due, raw: self._requeued(due, raw, now))

    def _requeued(self, due: int | None, raw: bytes, now: float) -> Move | None:
        if due is not None:
            move = self._promoted(due, raw, now)
            return move if move.action == "queue" else None
        found = resque_failure.decode(raw)
        if not found.payload:
            if found.reason and found.raw and found.queue:  # poison, which somebody wants looked at once more
                return Move(None, raw, "queue", found.queue, found.raw)
            return None
        return Move(None, raw, "queue", found.job.queue, resque.revived(found.payload, found.job, now), found.job.id)

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        """Dropped, with what lies apart for it."""
        return await self._each(state, job_ids, lambda due, raw: Move(due, raw, "drop"))

    async def _each(self, state: State, job_ids: Sequence[str] | None, decide: Decide) -> int:
        wanted = None if job_ids is None else set(job_ids)
        if wanted is not None and not wanted:
            return 0
        moved, moves = 0, list[Move]()
        async for due, raw in self.found(state, wanted):
            move = decide(due, raw)
            if move is not None:
                moves.append(move)
        for start in range(0, len(moves), CHUNK):
            part = moves[start : start + CHUNK]
            answers = await self._move(part)
            moved += answers.count(1)
            await self._tidy([move for move, answer in zip(part, answers, strict=True) if answer == 1])
        return moved

    async def _tidy(self, moved: Sequence[Move]) -> None:
        """The bytes of poison that lay under keys of their own."""
        apart = [
            key
            for move in moved
            if move.due is None and b'"poison"' in move.raw and (key := resque_failure.decode(move.raw).key)
        ]
        own = [key for key in apart if key.startswith(self._space.keys.poison(""))]
        if own:
            await self._space.call("UNLINK", *own)

    async def found(self, state: State, ids: set[str] | None) -> AsyncIterator[tuple[int | None, bytes]]:
        """(second or None, bytes) of the entries of a state, of these ids or of any."""
        if state is State.DEAD:
            async for raw in self._failures():
                if ids is None or resque_failure.decode(raw).job.id in ids:
                    yield None, raw
            return
        foreign = any(job_id.startswith(resque.FOREIGN) for job_id in ids or ())
        mark = b"" if foreign else common_start(ids or ()).encode("utf-8", "surrogatepass")
        async for entry in self._schedule.entries():
            if entry.state is state and mark in entry.raw and (ids is None or id_of(entry.raw) in ids):
                yield entry.due, entry.raw

    async def _failures(self) -> AsyncIterator[bytes]:
        at = 0
        while True:
            raws: list[bytes] = await self._space.call("LRANGE", self._space.keys.failed, at, at + CHUNK - 1)
            for raw in raws:
                yield raw
            if len(raws) < CHUNK:
                return
            at += len(raws)
