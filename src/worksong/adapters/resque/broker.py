"""Jobs in, jobs lent, jobs settled."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from worksong.adapters.redis.client import Arg, NoAnswer
from worksong.adapters.redis.lookout import Lookout
from worksong.adapters.redis.outbox import Document, Outbox, portions
from worksong.adapters.redis.store import MEND, text
from worksong.adapters.resque import patterns
from worksong.adapters.resque.space import ALL, FETCH, HEAVY, MOST, PUSH, Item, Lent, Receipt, Space, too_large
from worksong.domain.errors import (
    BackendUnavailable,
    EnqueueOutcomeUnknown,
    InvalidArguments,
    PayloadTooLarge,
    WorksongError,
)
from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Settlement, Snoozed
from worksong.domain.poison import Poison
from worksong.ports.backend import ONCE_KEPT, Want
from worksong.wire import gojson, resque, resque_failure

WRITTEN = resque.LIMIT - 1024
"""The largest payload that is enqueued: it can still be read when a failure has added to it."""
COUNTED = 86400
"""Seconds for which a count of retries outlives the time of the next try."""
log = logging.getLogger("worksong")


class ResqueBroker:
    """Pushes, lends and settles over the scripts of the namespace."""

    def __init__(self, space: Space, lookout: Lookout) -> None:
        self._space, self._lookout = space, lookout
        self._outbox = Outbox(self._push_plain)
        self._known: list[str] = []
        self._complained: set[str] = set()

    # push

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool) -> list[bool]:
        ready = [(job, self._document(job)) for job in jobs]
        found: list[bool] = []
        for portion in portions(ready):
            try:
                if once:
                    found += await self._send(portion, now, once=True)
                else:
                    await self._outbox.put(portion, now)
                    found += [True] * len(portion)
            except BackendUnavailable as away:
                if found:  # a part of them is there
                    raise EnqueueOutcomeUnknown([job.id for job, _ in ready], str(away)) from away
                raise
        return found

    def _document(self, job: Job) -> bytes:
        """What is stored of a job; refuses what the format cannot carry."""
        if not job.handler or not job.queue:
            raise InvalidArguments(f"job {job.handler!r} needs a name and a queue: Resque has no place without them")
        raw = resque.encode(job, plain=self._space.plain, delayed=bool(job.run_at))
        if len(raw) > WRITTEN:
            raise PayloadTooLarge(
                f"job {job.handler!r} takes {len(raw)} bytes, {WRITTEN} are allowed: "
                "store the data elsewhere and pass its id"
            )
        return raw

    async def _push_plain(self, jobs: Sequence[Document], now: float) -> None:
        await self._send(jobs, now, once=False)

    async def _send(self, jobs: Sequence[Document], now: float, *, once: bool) -> list[bool]:
        k = self._space.keys
        latest = max((job.run_at for job, _ in jobs), default=0.0)
        args: list[Arg] = [k.prefix, max(ONCE_KEPT, math.ceil(latest - now) + ONCE_KEPT)]
        numbered = "" if self._space.plain else "1"
        for job, raw in jobs:
            due: Arg = second(job.run_at) if job.run_at else ""
            args += (job.queue, raw, due, numbered, k.enqueued(job.id) if once else "")
        try:
            answers: list[int] = await self._space.run(PUSH, (k.queues, k.order, k.schedule), args)
        except NoAnswer as lost:
            raise EnqueueOutcomeUnknown(tuple(job.id for job, _ in jobs), str(lost)) from lost
        self.ring()
        return [answer == 1 for answer in answers]

    # fetch

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        time = asyncio.get_running_loop().time
        begun = time()
        names = list(want.queues or self._known)
        while True:
            waited = time() - begun
            if want.wait == 0 or not self._lookout.silent(names):
                found = await self._take(want, now + waited)
                if found:
                    self._lookout.found()
                    return found
            if waited >= want.wait:
                return []
            names = await self._names(want)
            await self._lookout.wait(names, want.wait - waited)

    async def _names(self, want: Want) -> list[str]:
        """The queues that could give something, and the set of their names where a new one could."""
        if want.queues is not None and not patterns.any_in(want.queues):
            return list(want.queues)
        self._known = [*await self._space.queues(), ALL]
        return self._known

    def ring(self) -> None:
        """Something was enqueued here: a waiting fetch need not sleep on."""
        self._lookout.ring()

    async def _take(self, want: Want, now: float) -> list[Delivery]:
        k, queues = self._space.keys, want.queues or ()
        if patterns.any_in(queues):
            queues = patterns.chosen(queues, await self._space.queues())
            if not queues:
                return []
        args: list[Arg] = [k.prefix, k.paused(""), min(want.limit, MOST), resque.LIMIT, HEAVY, len(queues), *queues]
        for name, quota in want.handlers:
            args += (name, min(quota, MOST))
        keys = (k.queues, k.fence, k.lent(want.pool), k.pause_all)
        while True:
            first, parts, wrong = await self._space.run(FETCH, keys, args)
            if wrong:
                self._complain(map(text, wrong))
            found = await self._read(want.pool, int(first), parts, now)
            if found or not parts:  # poison alone is gone now, and says nothing of what lies behind it
                return found

    async def _read(self, pool: str, fence: int, parts: Sequence[Any], now: float) -> list[Delivery]:
        """The lent bytes as deliveries, fenced one by one; what is no job goes to the failures at once."""
        found: list[Delivery] = []
        poison: list[Item] = []
        for place in range(0, len(parts), 2):
            queue = text(parts[place])
            for raw in parts[place + 1]:
                try:
                    if isinstance(raw, int):
                        raise too_large(raw)
                    found.append(Delivery(resque.decode(raw, queue=queue), Receipt(pool, queue, raw), fence))
                except Poison as wrong:
                    lent = Lent(fence, queue, b"", raw) if isinstance(raw, int) else Lent(fence, queue, raw, len(raw))
                    poison.append(self._space.buried(lent, wrong, pool, now, "queue"))
                    log.error("poison in the queue %s went to the failures: %s", queue, wrong)
                fence += 1
        if poison:
            try:
                await self._space.settle(pool, poison, now)
            except WorksongError as failed:
                if not found:
                    raise
                log.error("%d pieces of poison are not yet among the failures: %s", len(poison), failed)
        return await self._counted(found)

    async def _counted(self, found: list[Delivery]) -> list[Delivery]:
        """Foreign jobs with the tries that resque-retry, node or we ourselves counted: their payloads tell none."""
        bare = [place for place, one in enumerate(found) if resque.is_bare(one.job)]
        if not bare:
            return found
        keys = [self._space.keys.retry(resque.identity(found[place].job)) for place in bare]
        try:
            counts = await self._space.try_all([("GET", key) for key in keys])
        except WorksongError as failed:  # what is lent is not thrown away for it
            log.error("the tries of %d foreign jobs could not be read: %s", len(bare), failed)
            return found
        for place, count in zip(bare, counts, strict=True):
            tries = int(count) if isinstance(count, bytes) and count[:9].isdigit() and len(count) < 10 else -1
            if tries >= 0:
                job = replace(found[place].job, attempt=tries + 2)
                found[place] = Delivery(job, found[place].receipt, found[place].fence)
        return found

    def _complain(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._complained:
                self._complained.add(name)
                key = self._space.keys.queue(name)
                log.error("queue %s is passed over: its key %s holds what is no list; %s", name, key, MEND)

    # settle

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        places: dict[str, list[int]] = defaultdict(list)
        items: dict[str, list[Item]] = defaultdict(list)
        for place, (delivery, outcome) in enumerate([(one.delivery, one.outcome) for one in batch]):
            pool = delivery.receipt.pool
            places[pool].append(place)
            items[pool].append(self._item(delivery, outcome, now))
        held = [False] * len(batch)
        for pool, listed in items.items():
            for start, part in _parts(listed):
                answers = await self._space.settle(pool, part, now)
                for place, answer in zip(places[pool][start : start + len(part)], answers, strict=True):
                    held[place] = answer
        return held

    def _item(self, delivery: Delivery, outcome: Outcome, now: float) -> Item:
        job, receipt, fence = delivery.job, delivery.receipt, delivery.fence
        if isinstance(outcome, (Snoozed, Released)):
            return self._unfinished(delivery, outcome)
        counter = self._space.keys.retry(resque.identity(job)) if job.attempt > 1 else ""
        if isinstance(outcome, Done):
            return Item("done", fence, id=job.id, counter=counter)
        if isinstance(outcome, Discarded):
            return Item("DROPPED" if outcome.failure else "dropped", fence, id=job.id, counter=counter)
        if isinstance(outcome, Buried):
            document = self._failed(delivery, outcome, now)
            return Item("BURY", fence, receipt.queue, document, id=job.id, counter=counter)
        return self._again(delivery, outcome, now)

    def _unfinished(self, delivery: Delivery, outcome: Snoozed | Released) -> Item:
        job, receipt = delivery.job, delivery.receipt
        if isinstance(outcome, Released):
            return Item("front", delivery.fence, receipt.queue, id=job.id)
        new = resque.rewrite(receipt.raw, job, queue=receipt.queue)
        return Item("snooze", delivery.fence, receipt.queue, new, second(outcome.run_at), job.id)

    def _again(self, delivery: Delivery, outcome: Retried, now: float) -> Item:
        job, receipt = delivery.job, delivery.receipt
        changes = {"attempt": job.attempt + 1, "failed_at": int(now)}
        new = self._rewritten(receipt, job, {**changes, "error": gojson.carried(outcome.error)})
        if len(new) > resque.LIMIT:  # of the error what leaves it readable
            new = self._rewritten(receipt, job, {**changes, "error": gojson.carried(f"{outcome.error:.100}…")})
        counter = self._space.keys.retry(resque.identity(job))
        kept = max(1, math.ceil(outcome.run_at - now)) + COUNTED
        value = f"{job.attempt - 1} {kept}"
        return Item("RETRY", delivery.fence, receipt.queue, new, second(outcome.run_at), job.id, counter, value)

    def _rewritten(self, receipt: Receipt, job: Job, changes: dict[str, Any]) -> bytes:
        return resque.rewrite(receipt.raw, job, queue=receipt.queue, plain=self._space.plain, **changes)

    def _failed(self, delivery: Delivery, outcome: Buried, now: float) -> bytes:
        receipt = delivery.receipt
        return resque_failure.encode(
            receipt.raw,
            outcome.error,
            failure=outcome.failure,
            worker=self._space.who(receipt.pool),
            queue=receipt.queue,
            now=now,
        )


def _parts(items: Sequence[Item]) -> Iterable[tuple[int, Sequence[Item]]]:
    """(place of the first, items) of as many as one command should carry."""
    first = size = 0
    for place, item in enumerate(items):
        size += len(item.new)
        if place > first and (place - first == MOST // 2 or size > HEAVY):
            yield first, items[first:place]
            first, size = place, len(item.new)
    if first < len(items):
        yield first, items[first:]


def second(run_at: float) -> int:
    """A run time as the format has it, in whole seconds. Rounded up: never early."""
    return math.ceil(run_at)
