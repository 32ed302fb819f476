"""The ledger of the job service: what is kept of jobs and pipelines, and each way in which that changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from worksong.adapters.awaited import Awaited
from worksong.adapters.bells import Bells
from worksong.domain import record as rules
from worksong.domain.errors import BackendUnavailable
from worksong.domain.record import Document, JobRecord, KeyRecord, PipelineRecord, ResultRecord, Status
from worksong.domain.result import Result
from worksong.entries import CHUNK, Draft, Entries, read
from worksong.ports.clock import Clock
from worksong.ports.records import After, Change, Kind, RecordStore, Ref
from worksong.wire.record import decode, encode, ref_of

RETENTION = 7 * 86400.0
"""Seconds that records of what has ended, results and used keys are kept."""

Sendable: TypeAlias = JobRecord | PipelineRecord
"""What gets into the queue as a whole."""


class Edit(msgspec.Struct, frozen=True):
    """What somebody wants to be called otherwise; None: as it was."""

    name: str | None = None
    description: str | None = None


class Ledger:
    """Belongs to the event loop of its first use, like its store; `sibling` makes one for another loop."""

    def __init__(
        self, store: RecordStore, clock: Clock, *, retention: float = RETENTION, bells: Bells | None = None
    ) -> None:
        self.store, self.clock, self.retention = store, clock, retention
        self.entries = Entries(store)
        self._bells = bells or Bells()
        self._awaited = Awaited(self._look, self._bells)

    def sibling(self) -> Ledger:
        return Ledger(self.store.sibling(), self.clock, retention=self.retention, bells=self._bells)

    @property
    def name(self) -> str:
        return self.store.name

    async def close(self) -> None:
        await self._awaited.close()
        await self.store.close()

    # what is created

    async def open_job(self, job: JobRecord, key: KeyRecord | None = None) -> KeyRecord | None:
        """Keep a new job, which is not in the queue yet; its key too, and if that was used before, only say so."""
        return await self._open([job], job.id, key)

    async def open_pipeline(
        self, pipeline: PipelineRecord, jobs: Sequence[JobRecord], key: KeyRecord | None = None
    ) -> KeyRecord | None:
        """Keep a new pipeline and its jobs; the rest as for `open_job`."""
        return await self._open([pipeline, *jobs], pipeline.id, key)

    async def _open(self, documents: Sequence[Document], sent: str, key: KeyRecord | None) -> KeyRecord | None:
        now = self.clock.now()
        records = [encode(one, unsent_since=now if one.id == sent else 0.0) for one in documents]
        if key:
            records.append(encode(key, until=now + self.retention))
        if await self.store.write([Change(record.ref, None, record) for record in records]):
            return None
        used = await self.entries.get(KeyRecord, key.id) if key else None
        if used is None:
            raise BackendUnavailable(f"{self.name} did not take in {sent}: one of its ids is there already")
        return used

    async def withdraw(self, document: Sendable, key: KeyRecord | None = None) -> bool:
        """Forget what the queue refused, and its key; False: it has got there meanwhile, or is gone."""
        refs = [ref_of(type(document), document.id), *_parts(document)]
        withdrawn = False

        def decide(draft: Draft) -> None:
            nonlocal withdrawn
            record = draft.record(refs[0])
            withdrawn = record is not None and record.unsent_since > 0
            for ref in [*refs, *keys] if withdrawn else ():
                draft.drop(ref)

        keys = [ref_of(KeyRecord, key.id)] if key else []
        await self.entries.step([*refs, *keys], decide)
        return withdrawn

    async def sent(self, refs: Sequence[Ref]) -> None:
        """They are in the queue."""

        def decide(draft: Draft) -> None:
            for ref in refs:
                draft.mark(ref, unsent_since=0.0)

        await self.entries.step(refs, decide)

    async def take_unsent(self, since: float, most: int = CHUNK) -> list[Sendable]:
        """Jobs and pipelines that were to be in the queue by then, and may not be; the oldest first.

        Whoever takes them is to send them: they count as missing from now on, so that nobody else takes them as well.
        """
        now = self.clock.now()
        refs = [record.ref for record in await self.store.unsent(since, most)]
        taken: list[Sendable] = []

        def decide(draft: Draft) -> None:
            taken.clear()
            for record in filter(None, map(draft.record, refs)):
                if 0 < record.unsent_since <= since:
                    taken.append(read(record))
                    draft.mark(record.ref, unsent_since=now)

        await self.entries.step(refs, decide)
        return taken

    async def miss(self, since: float) -> int:
        """The queue is empty: all that has not ended is missing there since then; answers how much that is."""
        missed = 0
        for status in (Status.PENDING, Status.SCHEDULED, Status.IN_PROGRESS):
            async for job in self.all_jobs(status):
                if not job.pipeline_id:
                    missed += await self._miss(ref_of(JobRecord, job.id), since)
            async for pipeline in self.all_pipelines(status):
                missed += await self._miss(ref_of(PipelineRecord, pipeline.id), since)
        return missed

    async def _miss(self, ref: Ref, since: float) -> bool:
        draft = await self.entries.step([ref], lambda draft: draft.mark(ref, unsent_since=since))
        return draft.record(ref) is not None

    # what is asked

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
        return await self._remove([ref_of(PipelineRecord, pipeline.id), *_parts(pipeline)])

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

    # what becomes of jobs

    async def begin(self, job_id: str) -> tuple[JobRecord | None, Result | None]:
        """It runs: its record, None if it was deleted; and its result, if it is through already."""
        now = self.clock.now()
        through: Result | None = None

        def decide(draft: Draft) -> None:
            nonlocal through
            job, kept = draft.get(JobRecord, job_id), draft.get(ResultRecord, job_id)
            through = kept.result if kept and job and job.status is Status.COMPLETED else None
            if job and through is None:
                _move(draft, rules.begun(job, now), unsent_since=0.0, until=0.0)

        draft = await self.entries.step([ref_of(JobRecord, job_id), ref_of(ResultRecord, job_id)], decide)
        return draft.get(JobRecord, job_id), through

    async def put_off(self, job_id: str, reason: str) -> None:
        """It will run again; `reason`: why it failed, if it did."""
        now = self.clock.now()

        def decide(draft: Draft) -> None:
            if job := draft.get(JobRecord, job_id):
                _move(draft, rules.put_off(job, reason, now))

        await self.entries.step([ref_of(JobRecord, job_id)], decide)

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
        """The last job of a pipeline says for how long the whole of it is kept."""
        until = result.at + self.retention
        draft.put(ResultRecord(id=result.job_id, result=result), until=until)
        job = draft.get(JobRecord, result.job_id)
        if job:
            ended = rules.ended(job, result)
            goes_on = ended.status is Status.COMPLETED and ended.next_id
            _move(draft, ended, unsent_since=0.0, until=0.0 if goes_on else until)

    async def result(self, job_id: str) -> Result | None:
        return await self.kept_result(job_id)

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        return await self._awaited.wait(job_id, seconds)

    async def _look(self, job_ids: Sequence[str]) -> dict[str, Result]:
        return {found.id: found.result for found in await self.entries.all(ResultRecord, job_ids) if found}

    async def prune(self) -> int:
        """Forget what was kept long enough; answers how many records went."""
        pruned = 0
        while dropped := await self.store.prune(self.clock.now()):
            pruned += dropped
        return pruned


def _parts(document: Sendable) -> list[Ref]:
    """What goes when it goes."""
    jobs = document.job_ids if isinstance(document, PipelineRecord) else ()
    results = jobs or (document.id,)
    return [*(ref_of(JobRecord, job_id) for job_id in jobs), *(ref_of(ResultRecord, job_id) for job_id in results)]


def _move(draft: Draft, job: JobRecord, **marks: float) -> None:
    """A job changes, and with it the pipeline that it belongs to: that is kept, or may be forgotten, as a whole."""
    draft.put(job, **marks)
    pipeline = draft.get(PipelineRecord, job.pipeline_id) if job.pipeline_id else None
    if pipeline is None:
        return
    followed = rules.followed(pipeline, job)
    until = marks.get("until", 0.0) if followed.status.ended else 0.0
    draft.put(followed, unsent_since=0.0, until=until)
    if followed.status.ended or pipeline.status.ended:
        for other in draft.all(JobRecord, pipeline.job_ids):
            if other:
                draft.mark(ref_of(JobRecord, other.id), until=until)
