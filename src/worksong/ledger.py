"""The ledger of the job service: typed records over a store, and the steps in which they change.

A step reads the records it is about, says what becomes of them, and writes all of them or none; if somebody else
changed one meanwhile, it begins anew. So two workers, or a worker and a caller, never undo one another's changes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from worksong.adapters.awaited import Awaited
from worksong.adapters.bells import Bells
from worksong.domain import record as rules
from worksong.domain.errors import BackendUnavailable
from worksong.domain.record import Document, JobRecord, KeyRecord, PipelineRecord, ResultRecord, Status
from worksong.domain.result import Result
from worksong.ports.clock import Clock
from worksong.ports.records import After, Change, Kind, Record, RecordStore, Ref
from worksong.wire.record import decode, encode, ref_of

RETENTION = 7 * 86400.0
"""Seconds that records of what has ended, results and used keys are kept."""
ATTEMPTS = 100
"""How often a step begins anew."""
CHUNK = 500
"""Records asked for together."""

D = TypeVar("D", bound=Document)


class Edit(msgspec.Struct, frozen=True):
    """What somebody wants to be called otherwise; None: as it was."""

    name: str | None = None
    description: str | None = None


class Found(NamedTuple):
    """A record, and what is in it."""

    record: Record
    document: Any


Known: TypeAlias = dict[Ref, Found | None]
"""What is there of the records that were asked for."""
Decide: TypeAlias = Callable[[Known], Sequence[Change]]
"""From what is there to what shall be; raises `_More` if it has to know more."""


class _More(Exception):
    """Which other records have to be read before anything can be decided."""

    def __init__(self, refs: Sequence[Ref]) -> None:
        self.refs = refs


class Ledger:
    """Belongs to the event loop of its first use, like its store; `sibling` makes one for another loop."""

    def __init__(
        self, store: RecordStore, clock: Clock, *, retention: float = RETENTION, bells: Bells | None = None
    ) -> None:
        self.store, self.clock, self.retention = store, clock, retention
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
        used = await self._get(KeyRecord, key.id) if key else None
        if used is None:
            raise BackendUnavailable(f"{self.name} did not take in {sent}: one of its ids is there already")
        return used

    async def sent(self, refs: Sequence[Ref]) -> None:
        """They are in the queue."""

        def decide(known: Known) -> list[Change]:
            waiting = [found.record for found in known.values() if found and found.record.unsent_since]
            return [Change(one.ref, one.version, _next(one, unsent_since=0.0)) for one in waiting]

        await self._step(refs, decide)

    async def unsent(self, since: float, most: int = CHUNK) -> list[Document]:
        """Jobs and pipelines that were to be in the queue by then, and may not be; the oldest first."""
        return [_read(record) for record in await self.store.unsent(since, most)]

    # what is asked

    async def job(self, job_id: str) -> JobRecord | None:
        return await self._get(JobRecord, job_id)

    async def pipeline(self, pipeline_id: str) -> PipelineRecord | None:
        return await self._get(PipelineRecord, pipeline_id)

    async def key(self, key_id: str) -> KeyRecord | None:
        return await self._get(KeyRecord, key_id)

    async def kept_result(self, job_id: str) -> Result | None:
        """The result of a job, until somebody deletes it."""
        found = await self._get(ResultRecord, job_id)
        return found.result if found else None

    async def jobs_of(self, pipeline: PipelineRecord) -> list[JobRecord]:
        """The jobs of a pipeline, in order."""
        known = await self._known([ref_of(JobRecord, job_id) for job_id in pipeline.job_ids])
        return [found.document for found in known.values() if found]

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

    # what callers change

    async def edit(self, kind: type[JobRecord] | type[PipelineRecord], record_id: str, edit: Edit) -> bool:
        """Call it otherwise; False: there is none."""
        ref = ref_of(kind, record_id)
        given = {name: text for name, text in msgspec.structs.asdict(edit).items() if text is not None}

        def decide(known: Known) -> list[Change]:
            found = known[ref]
            return [_changed(found, replace(found.document, **given))] if found and given else []

        return (await self._step([ref], decide))[ref] is not None

    async def remove_job(self, job_id: str) -> bool:
        """Forget a job and its result; False: there is none."""
        return await self._remove(ref_of(JobRecord, job_id), ref_of(ResultRecord, job_id))

    async def remove_pipeline(self, pipeline: PipelineRecord) -> bool:
        """Forget a pipeline, its jobs and their results; False: there is none."""
        jobs = [ref_of(kind, job_id) for kind in (JobRecord, ResultRecord) for job_id in pipeline.job_ids]
        return await self._remove(ref_of(PipelineRecord, pipeline.id), *jobs)

    async def remove_result(self, job_id: str) -> bool:
        """Forget a job's result; False: there is none."""
        return await self._remove(ref_of(ResultRecord, job_id))

    async def _remove(self, ref: Ref, *others: Ref) -> bool:
        known = await self._step([ref, *others], _all_gone)
        return known[ref] is not None

    # what becomes of jobs

    async def begin(self, job_id: str) -> tuple[JobRecord | None, Result | None]:
        """It runs: its record, None if it was deleted; and its result, if it is through already."""
        now = self.clock.now()
        ref, kept = ref_of(JobRecord, job_id), ref_of(ResultRecord, job_id)

        def decide(known: Known) -> list[Change]:
            found = known[ref]
            if found is None or _through(found, known[kept]):
                return []
            return [_changed(found, rules.begun(found.document, now), unsent_since=0.0, until=0.0)]

        known = await self._moved([ref, kept], decide)
        job, result = known[ref], known[kept]
        through = job and result and _through(job, result)
        return job.document if job else None, result.document.result if through and result else None

    async def put_off(self, job_id: str, reason: str) -> None:
        """It will run again; `reason`: why it failed, if it did."""
        now, ref = self.clock.now(), ref_of(JobRecord, job_id)

        def decide(known: Known) -> list[Change]:
            found = known[ref]
            return [_changed(found, rules.put_off(found.document, reason, now))] if found else []

        await self._moved([ref], decide)

    async def put(self, results: Sequence[Result]) -> None:
        """Keep results, and note in the records that the jobs have ended; of several for one job the last counts."""
        latest = {result.job_id: result for result in results}
        for job_id, result in latest.items():
            await self._end(job_id, result)
        if latest:
            self._bells.ring()

    async def _end(self, job_id: str, result: Result) -> None:
        ref, kept = ref_of(JobRecord, job_id), ref_of(ResultRecord, job_id)
        until = result.at + self.retention

        def decide(known: Known) -> list[Change]:
            job, changes = known[ref], [_put(known[kept], ResultRecord(id=job_id, result=result), until=until)]
            if job:
                changes.append(_changed(job, rules.ended(job.document, result), unsent_since=0.0, until=until))
            return changes

        await self._moved([ref, kept], decide)

    async def result(self, job_id: str) -> Result | None:
        return (await self._look([job_id])).get(job_id)

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        return await self._awaited.wait(job_id, seconds)

    async def _look(self, job_ids: Sequence[str]) -> dict[str, Result]:
        known = await self._known([ref_of(ResultRecord, job_id) for job_id in job_ids])
        return {ref.id: found.document.result for ref, found in known.items() if found}

    async def prune(self) -> int:
        """Forget what was kept long enough; answers how many records went."""
        pruned = 0
        while dropped := await self.store.prune(self.clock.now()):
            pruned += dropped
        return pruned

    # steps

    async def _moved(self, refs: Sequence[Ref], decide: Decide) -> Known:
        """A step that changes a job, and with it the pipeline that the job belongs to."""

        def together(known: Known) -> list[Change]:
            changes = list(decide(known))
            for job in [_after(change).document for change in changes]:
                if isinstance(job, JobRecord) and job.pipeline_id:
                    changes += self._of_pipeline(known, job)
            return changes

        return await self._step(refs, together)

    def _of_pipeline(self, known: Known, job: JobRecord) -> list[Change]:
        """What becomes of its pipeline; of one that ends, also when its other jobs may be forgotten."""
        (found,) = _asked(known, [ref_of(PipelineRecord, job.pipeline_id)])
        if found is None:
            return []
        after = rules.followed(found.document, job)
        if not after.status.ended:
            return [_changed(found, after, until=0.0, unsent_since=0.0)] if after != found.document else []
        until = after.completed_at + self.retention
        others = _asked(known, [ref_of(JobRecord, job_id) for job_id in after.job_ids if job_id != job.id])
        return [
            _changed(found, after, until=until, unsent_since=0.0),
            *(_changed(other, other.document, until=until) for other in others if other),
        ]

    async def _get(self, kind: type[D], record_id: str) -> D | None:
        (record,) = await self.store.read([ref_of(kind, record_id)])
        return decode(record, kind) if record else None

    async def _known(self, refs: Sequence[Ref]) -> Known:
        known: Known = {}
        for start in range(0, len(refs), CHUNK):
            some = refs[start : start + CHUNK]
            records = await self.store.read(some)
            known |= {
                ref: Found(record, _read(record)) if record else None for ref, record in zip(some, records, strict=True)
            }
        return known

    async def _step(self, refs: Sequence[Ref], decide: Decide) -> Known:
        """Change what is there; answers what was there, and where it was changed, what is there now."""
        for _ in range(ATTEMPTS):
            known = await self._known(refs)
            try:
                changes = decide(known)
            except _More as more:
                refs = [*refs, *more.refs]
                continue
            if not changes:
                return known
            if await self.store.write(changes):
                return known | {change.ref: _after(change) for change in changes if change.record}
        raise BackendUnavailable(f"{self.name}: others changed {refs[0].id} {ATTEMPTS} times in a row")


def _asked(known: Known, refs: Sequence[Ref]) -> list[Found | None]:
    missing = [ref for ref in refs if ref not in known]
    if missing:
        raise _More(missing)
    return [known[ref] for ref in refs]


def _through(job: Found, result: Found | None) -> bool:
    """Whether nothing is left to be done for it."""
    return job.document.status is Status.COMPLETED and result is not None


def _after(change: Change) -> Found:
    assert change.record is not None
    return Found(change.record, _read(change.record))


_DOCUMENTS: dict[Kind, type[Document]] = {
    Kind.JOB: JobRecord,
    Kind.PIPELINE: PipelineRecord,
    Kind.RESULT: ResultRecord,
    Kind.KEY: KeyRecord,
}


def _read(record: Record) -> Any:
    return decode(record, _DOCUMENTS[record.ref.kind])


def _changed(found: Found, document: Document, **marks: float) -> Change:
    before = found.record
    marks = {"unsent_since": before.unsent_since, "until": before.until} | marks
    return Change(before.ref, before.version, encode(document, version=before.version + 1, **marks))


def _put(found: Found | None, document: Document, *, until: float) -> Change:
    if found:
        return _changed(found, document, until=until)
    record = encode(document, until=until)
    return Change(record.ref, None, record)


def _next(record: Record, **marks: float) -> Record:
    return replace(record, version=record.version + 1, **marks)


def _all_gone(known: Known) -> list[Change]:
    return [Change(ref, found.record.version, None) for ref, found in known.items() if found]
