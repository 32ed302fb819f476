"""The ledger of the job service: what is kept of jobs and pipelines, and each way in which that changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Set
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from worksong.adapters.awaited import Awaited
from worksong.adapters.bells import Bells
from worksong.domain import record as rules
from worksong.domain.errors import BackendUnavailable
from worksong.domain.outcome import Failure
from worksong.domain.record import Document, JobRecord, KeyRecord, PipelineRecord, ResultRecord, Status
from worksong.domain.result import Result
from worksong.entries import CHUNK, Draft, Entries
from worksong.ports.clock import Clock
from worksong.ports.records import After, Change, Kind, RecordStore, Ref
from worksong.together import forget_result, is_unwanted, move, parts_of
from worksong.wire.record import decode, encode, ref_of

RETENTION = 7 * 86400.0
"""Seconds that records of what has ended, results and used keys are kept."""


Write: TypeAlias = Callable[[Sequence[Change]], Awaitable[bool]]
"""Carries out changes of records as `Records.write` does, and takes the jobs they are of in with the same step."""


class Edit(msgspec.Struct, frozen=True):
    """What somebody wants to be called otherwise; None: as it was."""

    name: str | None = None
    description: str | None = None


class Closed(NamedTuple):
    """The end of a pipeline."""

    pipeline: PipelineRecord | None
    """As it is then; None: it was deleted."""


class Ledger:
    """Belongs to the event loop of its first use, like its store; `sibling` makes one for another loop."""

    def __init__(
        self, store: RecordStore, clock: Clock, *, retention: float = RETENTION, bells: Bells | None = None
    ) -> None:
        self.store, self.clock, self.retention = store, clock, retention
        self.entries = Entries(store)
        self._bells = bells or Bells()
        self._awaited = Awaited(self._look, self._bells)
        self._closing = Awaited(self._closed, self._bells)

    def sibling(self) -> Ledger:
        return Ledger(self.store.sibling(), self.clock, retention=self.retention, bells=self._bells)

    @property
    def name(self) -> str:
        return self.store.name

    async def close(self) -> None:
        await self._awaited.close()
        await self._closing.close()
        await self.store.close()

    # what is created

    async def open_job(
        self, job: JobRecord, key: KeyRecord | None = None, *, write: Write | None = None
    ) -> KeyRecord | None:
        """Keep a new job; its key too, and if that was used before, only say so. None for `write`: it is missing in
        the queue until it is `sent`."""
        return await self.open_jobs([job], key, write=write)

    async def open_jobs(
        self, jobs: Sequence[JobRecord], key: KeyRecord | None = None, *, write: Write | None = None
    ) -> KeyRecord | None:
        """Several of them in one step; a key stands for all."""
        return await self._open(jobs, {job.id for job in jobs}, key, write)

    async def open_pipeline(
        self,
        pipeline: PipelineRecord,
        jobs: Sequence[JobRecord],
        key: KeyRecord | None = None,
        *,
        write: Write | None = None,
    ) -> KeyRecord | None:
        """Keep a new pipeline and its jobs; the rest as for `open_job`."""
        return await self._open([pipeline, *jobs], {pipeline.id}, key, write)

    async def _open(
        self, documents: Sequence[Document], sent: Set[str], key: KeyRecord | None, write: Write | None
    ) -> KeyRecord | None:
        now = self.clock.now()
        missing = set[str]() if write else sent
        records = [encode(one, unsent_since=now if one.id in missing else 0.0) for one in documents]
        if key:
            records.append(encode(key, until=now + self.retention))
        if await (write or self.store.write)([Change(record.ref, None, record) for record in records]):
            return None
        used = await self.entries.get(KeyRecord, key.id) if key else None
        if used is None:
            raise BackendUnavailable(f"{self.name} did not take in {documents[0].id}: one of its ids is there already")
        return used

    async def sent(self, refs: Sequence[Ref]) -> bool:
        """They are in the queue; False: somebody has withdrawn one of them meanwhile, or deleted it."""

        def decide(draft: Draft) -> None:
            for ref in refs:
                draft.mark(ref, unsent_since=0.0)

        draft = await self.entries.step(refs, decide)
        return all(draft.record(ref) for ref in refs)

    # what is asked

    async def unsent(self, refs: Sequence[Ref]) -> list[Ref]:
        """Those of them that may be missing in the queue."""
        return [record.ref for record in await self.store.read(refs) if record and record.unsent_since]

    async def job(self, job_id: str) -> JobRecord | None:
        return await self.entries.get(JobRecord, job_id)

    async def pipeline(self, pipeline_id: str) -> PipelineRecord | None:
        return await self.entries.get(PipelineRecord, pipeline_id)

    async def key(self, key_id: str) -> KeyRecord | None:
        return await self.entries.get(KeyRecord, key_id)

    async def kept_result(self, job_id: str) -> Result | None:
        """The result of a job, until somebody deletes it."""
        found = await self.entries.get(ResultRecord, job_id)
        return found.result if found else None

    async def jobs_of(self, pipeline: PipelineRecord) -> list[JobRecord]:
        """The jobs of a pipeline, in order."""
        return [job for job in await self.entries.all(JobRecord, pipeline.job_ids) if job]

    async def jobs(
        self, status: Status | None = None, *, after: After | None = None, most: int = CHUNK
    ) -> list[JobRecord]:
        """A page of jobs, the oldest first."""
        found = await self.store.listed(Kind.JOB, status=status, after=after, most=most)
        return [decode(record, JobRecord) for record in found]

    async def pipelines(
        self, status: Status | None = None, *, after: After | None = None, most: int = CHUNK
    ) -> list[PipelineRecord]:
        """A page of pipelines, the oldest first."""
        found = await self.store.listed(Kind.PIPELINE, status=status, after=after, most=most)
        return [decode(record, PipelineRecord) for record in found]

    async def all_jobs(self, status: Status | None = None) -> AsyncIterator[JobRecord]:
        """Every job, the oldest first."""
        after: After | None = None
        while page := await self.jobs(status, after=after):
            for job in page:
                yield job
            after = After(page[-1].created_at, page[-1].id)

    async def all_pipelines(self, status: Status | None = None) -> AsyncIterator[PipelineRecord]:
        """Every pipeline, the oldest first."""
        after: After | None = None
        while page := await self.pipelines(status, after=after):
            for pipeline in page:
                yield pipeline
            after = After(page[-1].created_at, page[-1].id)

    # what callers change

    async def edit(self, kind: type[JobRecord] | type[PipelineRecord], record_id: str, edit: Edit) -> bool:
        """Call it otherwise; False: there is none."""
        ref = ref_of(kind, record_id)
        given = {name: text for name, text in msgspec.structs.asdict(edit).items() if text is not None}

        def decide(draft: Draft) -> None:
            if found := draft.get(kind, record_id):
                draft.put(replace(found, **given))

        return (await self.entries.step([ref], decide)).record(ref) is not None

    async def remove_job(self, job_id: str) -> bool:
        """Forget a job and its result; False: there is none."""
        return await self._remove([ref_of(JobRecord, job_id), ref_of(ResultRecord, job_id)])

    async def remove_pipeline(self, pipeline: PipelineRecord) -> bool:
        """Forget a pipeline, its jobs and their results; False: there is none."""
        return await self._remove([ref_of(PipelineRecord, pipeline.id), *parts_of(pipeline)])

    async def remove_result(self, job_id: str) -> bool:
        """Forget a job's result; False: there is none."""
        return await self._remove([ref_of(ResultRecord, job_id)])

    async def _remove(self, refs: Sequence[Ref]) -> bool:
        """All of them; whether the first was there."""
        there = False

        def decide(draft: Draft) -> None:
            nonlocal there
            there = draft.record(refs[0]) is not None
            for ref in refs:
                draft.drop(ref)

        await self.entries.step(refs, decide)
        return there

    async def cancel(self, job_id: str) -> bool:
        """Let it begin no more; one that waits has failed by that, one that runs is to be stopped by the queue.

        The queue may still have it: whoever is given it there drops it. False: it has ended, or there is none.
        """
        now, open_still = self.clock.now(), False

        def decide(draft: Draft) -> None:
            nonlocal open_still
            job = draft.get(JobRecord, job_id)
            open_still = job is not None and not job.status.ended
            if job and open_still:
                self._change(draft, rules.cancelled(job, now))

        await self.entries.step([ref_of(JobRecord, job_id), ref_of(ResultRecord, job_id)], decide)
        if open_still:
            self._bells.ring()
        return open_still

    # what becomes of jobs

    async def begin(self, job_id: str, message: str = "") -> JobRecord | None:
        """It runs, if it may: its record as it is by then, None if it was deleted. `message`: which one brings it."""
        now = self.clock.now()

        def decide(draft: Draft) -> None:
            job = draft.get(JobRecord, job_id)
            if job and is_unwanted(draft, job):
                draft.put(replace(job, cancelled=True))
            elif job and rules.may_begin(job, message):
                forget_result(draft, job)
                move(draft, rules.begun(job, message, now), unsent_since=0.0, until=0.0)

        return (await self.entries.step([ref_of(JobRecord, job_id)], decide)).get(JobRecord, job_id)

    async def reopen(self, failed: JobRecord) -> None:
        """The queue has this job again that had failed; nothing, if it has begun meanwhile, whatever came of that."""
        now = self.clock.now()

        def decide(draft: Draft) -> None:
            job = draft.get(JobRecord, failed.id)
            if job and rules.is_the_same_failure(failed, job) and not job.cancelled:
                forget_result(draft, job)
                move(draft, rules.reopened(job, now), unsent_since=0.0, until=0.0)

        await self.entries.step([ref_of(JobRecord, failed.id), ref_of(ResultRecord, failed.id)], decide)

    async def renew(self, job_id: str) -> None:
        """The message that it began with is lost: the next one will do."""

        def decide(draft: Draft) -> None:
            if job := draft.get(JobRecord, job_id):
                draft.put(replace(job, message=""))

        await self.entries.step([ref_of(JobRecord, job_id)], decide)

    async def put_off(self, job_id: str, reason: str) -> None:
        """It will run again; `reason`: why it failed, if it did."""
        now = self.clock.now()

        def decide(draft: Draft) -> None:
            job = draft.get(JobRecord, job_id)
            if job and not job.status.ended:  # it has, where a worker says so that was given up meanwhile
                self._change(draft, rules.put_off(job, reason, now))

        await self.entries.step([ref_of(JobRecord, job_id), ref_of(ResultRecord, job_id)], decide)

    def _change(self, draft: Draft, job: JobRecord) -> None:
        """It waits or runs on; or that it was cancelled has ended it."""
        if not job.status.ended:
            move(draft, job)
            return
        until = job.completed_at + self.retention
        result = Result(job.id, job.completed_at, failure=Failure("Discarded", job.failure_reason))
        draft.put(ResultRecord(id=job.id, result=result), until=until)
        move(draft, job, unsent_since=0.0, until=until)

    async def put(self, results: Sequence[Result]) -> None:
        """Keep results, and note in the records that the jobs have ended; of several for one job the last counts."""
        latest = {result.job_id: result for result in results}

        def decide(draft: Draft) -> None:
            for result in latest.values():
                self._end(draft, result)

        if latest:
            refs = [ref_of(kind, job_id) for job_id in latest for kind in (JobRecord, ResultRecord)]
            await self.entries.step(refs, decide)
            self._bells.ring()

    def _end(self, draft: Draft, result: Result) -> None:
        """A run ends once: what comes after that is of a worker that was given up, or of a job that never began.

        The last job of a pipeline says for how long the whole of it is kept.
        """
        until = result.at + self.retention
        job = draft.get(JobRecord, result.job_id)
        if job and job.status.ended:
            if job.status is Status.FAILED:  # its pipeline may have come to it just now
                move(draft, job, until=until)
            return
        if job and job.cancelled and not result.failure:
            self._change(draft, rules.ended(job, result))
            return
        if job:
            until = move(draft, rules.ended(job, result), unsent_since=0.0, until=until)
        draft.put(ResultRecord(id=result.job_id, result=result), until=until)

    async def result(self, job_id: str) -> Result | None:
        return await self.kept_result(job_id)

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        return await self._awaited.wait(job_id, seconds)

    async def _look(self, job_ids: Sequence[str]) -> dict[str, Result]:
        return {found.id: found.result for found in await self.entries.all(ResultRecord, job_ids) if found}

    async def wait_pipeline(self, pipeline_id: str, seconds: float) -> Closed | None:
        """The end of a pipeline, waited for so long at most; None: it goes on. Its results are there by then."""
        return await self._closing.wait(pipeline_id, seconds)

    async def _closed(self, pipeline_ids: Sequence[str]) -> dict[str, Closed]:
        found = zip(pipeline_ids, await self.entries.all(PipelineRecord, pipeline_ids), strict=True)
        return {
            pipeline_id: Closed(pipeline)
            for pipeline_id, pipeline in found
            if pipeline is None or pipeline.status.ended
        }

    async def prune(self) -> int:
        """Forget what was kept long enough; answers how many records went."""
        pruned = 0
        while dropped := await self.store.prune(self.clock.now()):
            pruned += dropped
        return pruned
