"""Jobs in: each as the document that is stored of it."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from msgspec.structs import replace

from worksong.adapters.gocraft.space import LOCK_KEPT, PUSH, PUSH_GUARDED, Space, misnamed
from worksong.adapters.redis.client import Arg, NoAnswer, Script
from worksong.adapters.redis.lookout import Lookout
from worksong.adapters.redis.outbox import Document, Outbox, portions
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown, InvalidArguments, PayloadTooLarge
from worksong.domain.job import Job
from worksong.ports.backend import ONCE_KEPT
from worksong.wire import gocraft

KNOWN_FOR = 300.0
"""Seconds for which a name need not be told again to known_jobs."""
WRITTEN = gocraft.LIMIT - 1024
"""The largest document that is enqueued: it can still be read when a failure has added to it."""


class GocraftIntake:
    """Pushes over the scripts of the namespace; whoever waits for jobs here hears of it."""

    def __init__(self, space: Space, lookout: Lookout) -> None:
        self._space, self._lookout = space, lookout
        self._told: dict[str, float] = {}
        """Names that known_jobs has been told, and until when that holds."""
        self._outbox = Outbox(self._push_plain)

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool) -> list[bool]:
        ready = [self.ready(job) for job in jobs]
        if once or any(job.unique for job, _ in ready):
            return await self._push_all_guarded(ready, now, once=once)
        begun = False
        for portion in portions(ready):
            try:
                await self._outbox.put(portion, now)
            except BackendUnavailable as away:
                if begun:  # a part of them is there
                    raise EnqueueOutcomeUnknown([job.id for job, _ in ready], str(away)) from away
                raise
            begun = True
        return [True] * len(ready)

    def ready(self, job: Job) -> tuple[Job, bytes]:
        """The job as it will be stored, and its document; refuses what the format cannot carry."""
        if job.unique:
            key = job.args if job.unique_by is None else job.unique_by
            root = "args" if job.unique_by is None else "unique_by"
            mode = "until_start" if job.unique is True else job.unique
            lock = gocraft.unique_key(self._space.keys.unique_prefix, job.handler, _mapping(key), root=root)
            job = replace(job, unique=mode, unique_key=lock)
        return job, document(job)

    async def _push_plain(self, jobs: Sequence[Document], now: float) -> None:
        k = self._space.keys
        queued: dict[str, list[Arg]] = defaultdict(list)
        scheduled: list[Arg] = []
        for job, raw in jobs:
            if job.run_at:
                scheduled += (score(job.run_at), raw)
            else:
                queued[job.handler].append(raw)
        names = {job.handler for job, _ in jobs}
        new = [name for name in names if self._told.get(name, 0.0) <= now]
        keys: list[Arg] = [k.known_jobs, k.scheduled, *map(k.jobs, queued)]
        args: list[Arg] = [len(new), *new]
        if scheduled:
            args += (2, len(scheduled) // 2, *scheduled)
        for place, documents in enumerate(queued.values(), start=3):
            args += (place, len(documents), *documents)
        await self.sent(PUSH, keys, args, [job for job, _ in jobs])
        self._told.update(dict.fromkeys(new, now + KNOWN_FOR))
        self._lookout.ring()

    async def _push_all_guarded(self, ready: Sequence[Document], now: float, *, once: bool) -> list[bool]:
        """One after the other in the server, without waiting for the answers in between.

        But for the first: behind it all others find a connection and the script, and keep their order.
        """
        (job, raw), *others = ready
        found = [await self._push_guarded(job, raw, now, once=once)]
        for portion in portions(others):
            pushes = [self._push_guarded(job, raw, now, once=once) for job, raw in portion]
            answers = await asyncio.gather(*pushes, return_exceptions=True)
            failures = [answer for answer in answers if isinstance(answer, BaseException)]
            for failure in failures:
                if isinstance(failure, BackendUnavailable):  # some of them are there
                    cause = failure.__cause__ or failure
                    raise EnqueueOutcomeUnknown([job.id for job, _ in ready], str(cause)) from cause
            for failure in failures:
                raise failure
            found += cast("list[bool]", answers)
        return found

    async def _push_guarded(self, job: Job, raw: bytes, now: float, *, once: bool) -> bool:
        new = bool(await self.sent(PUSH_GUARDED, *self.guarded(job, raw, now, once=once), [job]))
        self._lookout.ring()
        return new

    def guarded(self, job: Job, raw: bytes, now: float, *, once: bool) -> tuple[list[Arg], list[Arg]]:
        """The keys and arguments of the script `push_guarded`."""
        k = self._space.keys
        at = score(job.run_at) if job.run_at else ""
        value: Arg = raw if job.unique and job.unique_by is not None else "1"
        kept = max(LOCK_KEPT, math.ceil(job.run_at - now) + LOCK_KEPT)
        keys: list[Arg] = [
            k.known_jobs,
            k.scheduled if job.run_at else k.jobs(job.handler),
            k.enqueued(job.id) if once else k.known_jobs,
            job.unique_key or k.known_jobs,
            self._space.held(job) or k.known_jobs,
        ]
        return keys, [job.handler, raw, at, job.id, max(ONCE_KEPT, kept + LOCK_KEPT), value, kept]

    async def sent(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg], jobs: Sequence[Job]) -> Any:
        """What a script answers that takes these jobs in."""
        try:
            return await self._space.run(script, keys, args)
        except NoAnswer as lost:
            raise EnqueueOutcomeUnknown(tuple(job.id for job in jobs), str(lost)) from lost


def document(job: Job) -> bytes:
    """What is stored of a job; refuses what the format cannot carry."""
    if wrong := misnamed(job.handler):
        raise InvalidArguments(wrong)
    raw = gocraft.encode(job)
    if len(raw) > WRITTEN:
        raise PayloadTooLarge(
            f"job {job.handler!r} takes {len(raw)} bytes, {WRITTEN} are allowed: "
            "store the data elsewhere and pass its id"
        )
    return raw


def score(run_at: float) -> int:
    """A run time as the format has it, in whole seconds: Go cannot read others. Rounded up: never early."""
    return math.ceil(run_at)


def _mapping(value: object) -> Mapping[str, Any] | None:
    """Arguments as the unique key takes them; a list was refused before it came here, or is by encoding the job."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None
