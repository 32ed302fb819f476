"""The outbox: what was created gets into the queue, whatever fails between the record and the message.

Where both are in one place, nothing is between them. Elsewhere a record is kept first, and says since when its job is
missing in the queue; then the job is pushed under its own id.
Whatever still counts as missing after some seconds is pushed again, by whoever looks first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import NamedTuple

from worksong import enqueueing
from worksong.domain.capability import Capability
from worksong.domain.chain import first_of
from worksong.domain.errors import (
    BackendFull,
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    InvalidArguments,
    WorksongError,
)
from worksong.domain.job import Job, new_id
from worksong.domain.outcome import Failure
from worksong.domain.record import JobRecord, KeyRecord, PipelineRecord, queued, stamped
from worksong.domain.result import Result
from worksong.engine.reminder import Reminder
from worksong.ledger import Ledger, Write
from worksong.ports import chance
from worksong.ports.backend import Intake
from worksong.ports.records import Change, Ref
from worksong.service.audit import Audit
from worksong.service.missing import Missing
from worksong.together import Sendable
from worksong.wire.record import ref_of
from worksong.worker import Worker

MISSING_FOR = 5.0
"""Seconds after which what should be in the queue is pushed again."""
SWEEP_EVERY = 2.0
"""Seconds between two looks, more or less."""
UPKEEP_EVERY = 30.0
"""Seconds between two looks at records that go on for long, and at those kept for long enough."""
NOTE_AFTER = 1.0
"""Seconds until it is noted that a job is in the queue: one that has begun by then needs no note."""
TOGETHER = 100
"""Jobs noted, or pushed again, in one step."""

log = logging.getLogger("worksong")


class _Letter(NamedTuple):
    """What is on its way to the queue, and the record that stays behind."""

    ref: Ref
    jobs: Sequence[Job]
    """One; or those with which a pipeline begins."""


class Swept(NamedTuple):
    """What was missing in the queue."""

    went: int
    """How many jobs and pipelines are there now."""
    refused: int
    """How many are not: nothing can carry them, or the server says no."""


class Outbox:
    """Belongs to an event loop, and may be one of many that look after the same records."""

    def __init__(self, worker: Worker) -> None:
        if worker.ledgers is None:
            raise ConfigError("there is nowhere to keep what was created: give the worker records=URL")
        self._worker, self._ledgers, self._clock = worker, worker.ledgers, worker.clock
        self._reminder = Reminder(worker.clock)
        self._sent: set[Ref] = set()
        self._noting: asyncio.Task[None] | None = None

    # what was just created

    async def post_jobs(self, jobs: Sequence[JobRecord], key: KeyRecord | None = None) -> KeyRecord | None:
        """Keep new jobs with their key, and enqueue them; of a key that was used before, only say so.

        Where records and queue are in one place, both are one step: what raises has left nothing, but for an
        `EnqueueOutcomeUnknown`. Elsewhere the records are kept first, and what comes then is as for `send_jobs`.
        """
        ledger, letters = self._ledger, list(map(_letter, jobs))
        if write := self._one_step(ledger, letters):
            return await ledger.open_jobs(jobs, key, write=write)
        used = await ledger.open_jobs(jobs, key)
        if used is None:
            await self._send(jobs, letters, key)
        return used

    async def post_pipeline(
        self, pipeline: PipelineRecord, jobs: Sequence[JobRecord], key: KeyRecord | None = None
    ) -> KeyRecord | None:
        """The same for a pipeline, of which the first jobs are enqueued."""
        ledger, letters = self._ledger, [_first(pipeline, jobs)]
        if write := self._one_step(ledger, letters):
            return await ledger.open_pipeline(pipeline, jobs, key, write=write)
        used = await ledger.open_pipeline(pipeline, jobs, key)
        if used is None:
            await self._send([pipeline], letters, key)
        return used

    def _one_step(self, ledger: Ledger, letters: Sequence[_Letter]) -> Write | None:
        """How their records are written together with them; None: that cannot be done in one step."""
        beside = self._worker.beside(ledger)
        if beside is None:
            return None

        async def write(changes: Sequence[Change]) -> bool:
            return all(await self._push(letters, beside(changes)))

        return write

    async def send_job(self, job: JobRecord, key: KeyRecord | None = None) -> None:
        """Push a job whose record is kept already, together with its key.

        It returns when the job will run: because it is in the queue, or because the queue is away and gets it later.
        It raises what the queue says that will not have it, and then nothing is kept of it.
        """
        await self.send_jobs([job], key)

    async def send_jobs(self, jobs: Sequence[JobRecord], key: KeyRecord | None = None) -> None:
        """The same for several, in one push."""
        await self._send(jobs, list(map(_letter, jobs)), key)

    async def send_pipeline(
        self, pipeline: PipelineRecord, jobs: Sequence[JobRecord], key: KeyRecord | None = None
    ) -> None:
        """The same for a pipeline, of which the first job is pushed."""
        await self._send([pipeline], [_first(pipeline, jobs)], key)

    async def send_jobs_too(self, jobs: Sequence[JobRecord]) -> bool:
        """Push those of them that another request has kept and perhaps not pushed, under the same ids.

        What the queue says that will not have them is raised, and to withdraw them is left to that other request, which
        may have been luckier. False: it has withdrawn them.
        """
        return await self._send_too(list(map(_letter, jobs)))

    async def send_pipeline_too(self, pipeline: PipelineRecord, jobs: Sequence[JobRecord]) -> bool:
        """The same for a pipeline."""
        return await self._send_too([_first(pipeline, jobs)])

    async def _send_too(self, letters: Sequence[_Letter]) -> bool:
        unsent = set(await self._ledger.unsent([letter.ref for letter in letters]))
        missing = [letter for letter in letters if letter.ref in unsent]
        if not missing:
            return True
        try:
            await self._push(missing)
        except BackendFull:
            raise
        except BackendUnavailable:
            return True  # as for whoever kept them: the sweeper pushes them
        return await self._ledger.sent([letter.ref for letter in missing])

    async def _send(self, documents: Sequence[Sendable], letters: Sequence[_Letter], key: KeyRecord | None) -> None:
        try:
            await self._push(letters)
        except (InvalidArguments, BackendRefused, BackendFull):
            if await Missing(self._ledger).withdraw(documents, key):
                raise
        except BackendUnavailable:
            return  # perhaps it is there, perhaps not: the sweeper pushes it again
        for letter in letters:
            self._note(letter.ref)

    async def _push(self, letters: Sequence[_Letter], into: Intake | None = None) -> list[Job | None]:
        messages = [stamped(job, new_id()) for letter in letters for job in letter.jobs]
        return await enqueueing.enqueue(into or self._worker.broker(), messages, self._clock.now())

    @property
    def _ledger(self) -> Ledger:
        return self._ledgers.here()

    # what got there

    def _note(self, ref: Ref) -> None:
        """Nobody waits for the note: without it the job is pushed again, and taken in once."""
        self._sent.add(ref)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.get_running_loop().create_task(self._note_later())

    async def _note_later(self) -> None:
        while self._sent:
            await self._clock.sleep(NOTE_AFTER)
            with contextlib.suppress(BackendUnavailable):  # the store tells of it, and the next turn tries again
                await self.flush()

    async def flush(self) -> None:
        """Note at once what got into the queue; most of it has begun by then."""
        while refs := list(self._sent)[:TOGETHER]:
            if unsent := await self._ledger.unsent(refs):
                await self._ledger.sent(unsent)
            self._sent.difference_update(refs)

    # what is missing

    async def run(self) -> None:
        """Look after the records until cancelled: push what is missing in the queue, forget what was kept long enough.

        Stores and queues that are away are waited for.
        """
        audit, revived, upkeep_at = Audit(self._worker, self._ledger), False, self._clock.monotonic()
        try:
            while True:
                try:
                    revived = revived or await self.revive()
                    await self.sweep()
                    if self._clock.monotonic() >= upkeep_at:
                        upkeep_at = self._clock.monotonic() + UPKEEP_EVERY
                        await self._ledger.prune()
                        await audit.look()
                except BackendUnavailable:
                    pass  # told by the adapter, once for each outage
                except Exception as trouble:
                    self._tell(trouble)
                await self._clock.sleep(SWEEP_EVERY * chance.uniform(0.5, 1.5))
        finally:
            await self.close()

    async def close(self) -> None:
        """Note what is in the queue, if that can be done now."""
        if self._noting:
            self._noting.cancel()
            await asyncio.wait([self._noting])
        with contextlib.suppress(WorksongError):
            await self.flush()

    async def revive(self) -> bool:
        """After a start: a queue that ended with its process has lost everything that has not ended."""
        if Capability.DURABLE not in self._worker.capabilities:
            await Missing(self._ledger).note_all(self._clock.now() - MISSING_FOR)
        return True

    async def sweep(self) -> int:
        """Push everything that is missing in the queue for some seconds; answers how many went there.

        Raises `BackendUnavailable` while the store or the queue is away.
        """
        return (await self.swept()).went

    async def swept(self) -> Swept:
        """The same; answers also how many did not."""
        went, refused, before = 0, 0, self._clock.now() - MISSING_FOR
        while missing := await Missing(self._ledger).take(before, TOGETHER):
            letters = [letter for document in missing if (letter := await self._letter(document))]
            gone = await self._send_again(letters)
            went, refused = went + gone, refused + len(missing) - gone
        return Swept(went, refused)

    async def _letter(self, document: Sendable) -> _Letter | None:
        if isinstance(document, JobRecord):
            return _letter(document)
        try:
            jobs = await self._ledger.jobs_of(document)
        except BackendRefused as unreadable:
            log.error("pipeline %s cannot run: %s", document.id, unreadable)
            await self._ledger.sent([ref_of(PipelineRecord, document.id)])
            return None
        if len(jobs) == len(document.job_ids):
            return _first(document, jobs)
        log.error("pipeline %s cannot run and is dropped: records of its jobs are gone", document.id)
        await self._ledger.remove_pipeline(document)
        return None

    async def _send_again(self, letters: Sequence[_Letter]) -> int:
        """Together; each by itself where one is refused. Answers how many went."""
        try:
            await self._push(letters)
        except (InvalidArguments, BackendRefused) as refusal:
            if len(letters) > 1:
                return sum([await self._send_again([letter]) for letter in letters])
            await self._refused(letters[0], refusal)
            return 0
        await self._ledger.sent([letter.ref for letter in letters])
        return len(letters)

    async def _refused(self, letter: _Letter, refusal: WorksongError) -> None:
        """What no queue of this kind can carry has failed; a server that says no may say yes another time."""
        if not isinstance(refusal, InvalidArguments):
            self._tell(refusal)
            return
        failure = Failure(type(refusal).__name__, str(refusal))
        await self._ledger.put([Result(job.id, self._clock.now(), failure=failure) for job in letter.jobs])

    def _tell(self, trouble: Exception) -> None:
        if self._reminder.due(str(trouble)):
            unexpected = None if isinstance(trouble, WorksongError) else trouble
            log.error("created jobs are missing in the queue, trying again: %s", trouble, exc_info=unexpected)


def _letter(job: JobRecord) -> _Letter:
    return _Letter(ref_of(JobRecord, job.id), [queued(job)])


def _first(pipeline: PipelineRecord, jobs: Sequence[JobRecord]) -> _Letter:
    return _Letter(ref_of(PipelineRecord, pipeline.id), first_of(pipeline, jobs))
