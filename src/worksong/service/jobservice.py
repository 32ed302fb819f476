"""The use-cases of the job service: its faces translate to them, and decide nothing themselves."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Generator
from contextlib import contextmanager

from worksong.domain.chain import under_way
from worksong.domain.errors import (
    BackendFull,
    BackendUnavailable,
    ConfigError,
    InvalidArguments,
    PayloadTooLarge,
    Unsupported,
)
from worksong.domain.record import JobRecord, KeyRecord, PipelineRecord, Status
from worksong.domain.result import Result
from worksong.ledger import Edit, Ledger
from worksong.ports.records import After
from worksong.service import closing, keys, refusals
from worksong.service.drafts import Drafts, ids_of
from worksong.service.following import Event, Follower
from worksong.service.forms import BatchForm, JobForm, PipelineForm, StagedForm
from worksong.service.health import Health, examine
from worksong.service.lookup import Part, Sought, find_jobs, find_pipelines
from worksong.service.outbox import Outbox
from worksong.service.progress import Advance
from worksong.service.refusals import Busy, Conflict, Invalid, Refusal, TooLarge
from worksong.worker import Worker

_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class JobService:
    """Jobs, pipelines and results of a worker that keeps records. Belongs to the event loop it is used in.

    All raise `Refusal` for what cannot be done, `BackendUnavailable` while the store or the queue is away, and
    `Unsupported` for what the backend cannot do.
    """

    def __init__(self, worker: Worker, unit: float = 1.0) -> None:
        """`unit`: seconds per unit of a timeout."""
        if worker.ledgers is None:
            raise ConfigError("the job service needs a worker that keeps records: Worker(url, records=url)")
        if not 0 < unit < float("inf"):
            raise ConfigError(f"the unit of timeouts is a number of seconds above 0, not {unit!r}")
        self.worker, self.unit, self._ledgers = worker, unit, worker.ledgers
        self._drafts, self._outbox, self._follower = Drafts(worker, unit), Outbox(worker), Follower(worker)
        self._sweeping: asyncio.Task[None] | None = None

    # life

    async def start(self) -> None:
        """Send what is kept and not in the queue, from now on. Creating works without it."""
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.get_running_loop().create_task(self._outbox.run())

    async def stop(self) -> None:
        """End that; what is left is sent after the next start, here or elsewhere."""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping:
            sweeping.cancel()
            await asyncio.wait([sweeping])
        await self._outbox.close()

    async def health(self) -> Health:
        """Whether it can do its work; raises nothing."""
        return await examine(self.worker)

    def tasks(self) -> list[str]:
        """The names of the tasks that jobs can be created for."""
        return sorted(self.worker.registry.names())

    @property
    def _ledger(self) -> Ledger:
        return self._ledgers.here()

    # jobs

    async def create_job(self, form: JobForm, key: str | None = None) -> JobRecord:
        """Keep a job and enqueue it. `key`: whoever gave the same one before is answered the job of that time."""
        job = self._drafts.job(form)
        asked = keys.record(key, form, job.id, job.created_at) if key is not None else None
        with _refused():
            used = await self._outbox.post_jobs([job], asked)
        return await self._created_before(asked, used) if asked and used else job

    async def _created_before(self, asked: KeyRecord, used: KeyRecord) -> JobRecord:
        keys.check_same(asked, used)
        job = await self._ledger.job(used.created_id)
        if job is None:
            raise keys.outlived(used)
        await self._sent_too(self._outbox.send_jobs_too([job]))
        return job

    async def _sent_too(self, sending: Awaitable[bool]) -> None:
        """Whoever kept it first may die before it is sent, or be refused and withdraw it: nobody relies on that one."""
        with _refused():
            if not await sending:
                raise Busy(refusals.WITHDRAWN)

    async def create_jobs(self, form: BatchForm, key: str | None = None) -> list[JobRecord]:
        """Keep several jobs in one step, and enqueue them. `key`: as for one job."""
        batch_id, jobs = self._drafts.batch(form)
        asked = keys.record(key, form, batch_id, jobs[0].created_at) if key is not None else None
        with _refused():
            used = await self._outbox.post_jobs(jobs, asked)
        return await self._batched_before(asked, used, form) if asked and used else jobs

    async def _batched_before(self, asked: KeyRecord, used: KeyRecord, form: BatchForm) -> list[JobRecord]:
        keys.check_same(asked, used)
        found = [job for one in ids_of(used.created_id, form) if (job := await self._ledger.job(one))]
        if not found:
            raise keys.outlived(used)
        await self._sent_too(self._outbox.send_jobs_too(found))
        return found

    async def job(self, job_id: str) -> JobRecord:
        """A job."""
        found = await self._ledger.job(job_id) if _is_id(job_id) else None
        if found is None:
            raise refusals.no_job(job_id)
        return found

    async def jobs(self, status: Status | None = None) -> list[JobRecord]:
        """All of a status, the oldest first; None: of any."""
        return [job async for job in self._ledger.all_jobs(status)]

    async def find_jobs(self, sought: Sought, after: After | None, most: int) -> Part[JobRecord]:
        """Some of the jobs that are sought, behind `after`, the oldest first."""
        return await find_jobs(self._ledger, sought, after, most)

    def follow(self, job_id: str, seen: str = "") -> AsyncGenerator[Event | None]:
        """What becomes of a job, behind the event that was `seen`; None now and then, while nothing is new."""
        if not _is_id(job_id):
            raise refusals.no_job(job_id)
        return self._follower.follow(job_id, seen)

    async def edit_job(self, job_id: str, edit: Edit) -> None:
        """Call a job otherwise."""
        if not (_is_id(job_id) and await self._ledger.edit(JobRecord, job_id, edit)):
            raise refusals.no_job(job_id)

    async def delete_job(self, job_id: str) -> None:
        """Forget a job and its result, and take it from the queue; raises `Conflict` for one of a pipeline."""
        job = await self.job(job_id)
        if job.pipeline_id:
            raise refusals.of_a_pipeline(job_id)
        if not await self._ledger.remove_job(job_id):
            raise refusals.no_job(job_id)
        await self._take_back(job)

    async def cancel_job(self, job_id: str) -> JobRecord:
        """Drop a job that waits, or stop one that runs; answers it as it is by then."""
        job = await self.job(job_id)
        cancelled = not job.status.ended and await self.worker.admin.acancel(job_id)
        found = await self.job(job_id)
        if not cancelled:
            raise Conflict(f"job with ID: {job_id} has ended: it is {found.status.name}")
        return found

    async def retry_job(self, job_id: str) -> JobRecord:
        """Run a job that failed once more, with what follows it; answers it as it is by then."""
        job = await self.job(job_id)
        if job.status is not Status.FAILED:
            raise Conflict(f"job with ID: {job_id} is {job.status.name}: only one that FAILED can be retried")
        if not await self.worker.admin.aretry_dead(job_id):
            raise await self._undead(job_id)
        return await self.job(job_id)

    async def _undead(self, job_id: str) -> Refusal:
        """Why a job that failed is not among the dead ones."""
        with contextlib.suppress(Unsupported):
            if await self.worker.admin.ajob(job_id):
                return Busy(f"job with ID: {job_id} is on its way to the dead jobs, or back - try again later")
        return Conflict(f"job with ID: {job_id} is not among the dead jobs any more: create it again")

    async def _take_back(self, job: JobRecord) -> None:
        """From the queue; where that cannot be done, it ends there when its turn has come."""
        if not job.status.ended:
            with contextlib.suppress(BackendUnavailable, Unsupported):
                await self.worker.backend().cancel(job.id, self.worker.clock.now())

    # pipelines

    async def create_pipeline(
        self, form: PipelineForm | StagedForm, key: str | None = None
    ) -> tuple[PipelineRecord, list[JobRecord]]:
        """Keep a pipeline and enqueue what it begins with. `key`: as for a job."""
        pipeline, jobs = self._drafts.pipeline(form)
        asked = keys.record(key, form, pipeline.id, pipeline.created_at) if key is not None else None
        with _refused():
            used = await self._outbox.post_pipeline(pipeline, jobs, asked)
        return await self._piped_before(asked, used) if asked and used else (pipeline, jobs)

    async def _piped_before(self, asked: KeyRecord, used: KeyRecord) -> tuple[PipelineRecord, list[JobRecord]]:
        keys.check_same(asked, used)
        pipeline = await self._ledger.pipeline(used.created_id)
        if pipeline is None:
            raise keys.outlived(used)
        jobs = await self._ledger.jobs_of(pipeline)
        if len(jobs) < len(pipeline.job_ids):
            raise keys.outlived(used)
        await self._sent_too(self._outbox.send_pipeline_too(pipeline, jobs))
        return pipeline, jobs

    async def pipeline(self, pipeline_id: str) -> PipelineRecord:
        """A pipeline."""
        found = await self._ledger.pipeline(pipeline_id) if _is_id(pipeline_id) else None
        if found is None:
            raise refusals.no_pipeline(pipeline_id)
        return found

    async def pipelines(self, status: Status | None = None) -> list[PipelineRecord]:
        """All of a status, the oldest first; None: of any."""
        return [pipeline async for pipeline in self._ledger.all_pipelines(status)]

    async def find_pipelines(self, status: Status | None, after: After | None, most: int) -> Part[PipelineRecord]:
        """Some pipelines behind `after`, the oldest first."""
        return await find_pipelines(self._ledger, status, after, most)

    async def pipeline_jobs(self, pipeline_id: str) -> list[JobRecord]:
        """The jobs of a pipeline, in order."""
        return await self._ledger.jobs_of(await self.pipeline(pipeline_id))

    def follow_pipeline(self, pipeline_id: str, seen: str = "") -> AsyncGenerator[Advance | None]:
        """What becomes of a pipeline and its jobs, as `follow` tells it of one."""
        if not _is_id(pipeline_id):
            raise refusals.no_pipeline(pipeline_id)
        return self._follower.follow_pipeline(pipeline_id, seen)

    async def edit_pipeline(self, pipeline_id: str, edit: Edit) -> None:
        """Call a pipeline otherwise."""
        if not (_is_id(pipeline_id) and await self._ledger.edit(PipelineRecord, pipeline_id, edit)):
            raise refusals.no_pipeline(pipeline_id)

    async def delete_pipeline(self, pipeline_id: str) -> None:
        """Forget a pipeline, its jobs and their results, and take what is left of it from the queue."""
        pipeline = await self.pipeline(pipeline_id)
        jobs = await self._ledger.jobs_of(pipeline)
        if not await self._ledger.remove_pipeline(pipeline):
            raise refusals.no_pipeline(pipeline_id)
        for job in under_way(pipeline, jobs):
            await self._take_back(job)

    async def cancel_pipeline(self, pipeline_id: str) -> PipelineRecord:
        """Cancel the jobs that it has come to; those behind them never run."""
        cancelled = False
        while not cancelled:  # what ends while it is looked for may have sent the next ones on
            pipeline = await self.pipeline(pipeline_id)
            jobs = under_way(pipeline, await self._ledger.jobs_of(pipeline))
            if not jobs:
                raise await self._out_of_reach(pipeline_id)
            cancelled = any([await self.worker.admin.acancel(job.id) for job in jobs])
        return await self.pipeline(pipeline_id)

    async def _out_of_reach(self, pipeline_id: str) -> Conflict:
        """Why nothing of a pipeline can be cancelled."""
        status = (await self.pipeline(pipeline_id)).status  # it may have ended since its jobs were looked for
        if status.ended:
            return Conflict(f"pipeline with ID: {pipeline_id} has ended: it is {status.name}")
        return Conflict(
            f"pipeline with ID: {pipeline_id} is {status.name}, but none of its jobs waits or runs: "
            "delete it, if that stays so"
        )

    # results

    async def result(self, job_id: str, wait: float = 0.0) -> Result:
        """What a job returned, or why it failed; waits `wait` seconds at most for a job that goes on.

        Raises `Missing` for one that has none yet, and `Gone` for one whose result was deleted.
        """
        job = await self._ledger.job(job_id) if _is_id(job_id) else None
        found = await self._ledger.wait_result(job_id, 0.0 if job.status.ended else wait) if job else None
        if found is None:
            again = await self._ledger.job(job_id) if job and job.status.ended else None
            # One that was retried meanwhile goes on, and will have a result.
            is_gone = again is not None and job == again
            raise refusals.no_result_any_more(job_id) if is_gone else refusals.no_result(job_id)
        return found

    async def pipeline_result(self, pipeline_id: str, wait: float = 0.0) -> Result:
        """What the last job of a pipeline returned, a list for several, or why one failed; waits as `result` does."""
        return await closing.result_of(self._ledger, await self.pipeline(pipeline_id), wait)

    async def delete_result(self, job_id: str) -> None:
        """Forget a result."""
        if not (_is_id(job_id) and await self._ledger.remove_result(job_id)):
            raise refusals.no_result(job_id)


def status_of(text: str) -> Status | None:
    """The status that a filter names, in any case; None: all. Raises `Invalid`."""
    name = text.upper()
    if name and name not in Status.__members__:
        raise refusals.bad_status(name)
    return Status[name] if name else None


@contextmanager
def _refused() -> Generator[None]:
    """The refusals of a queue as those of the service; of what was refused, nothing is kept."""
    try:
        yield
    except BackendFull as full:
        raise Busy(refusals.FULL) from full
    except PayloadTooLarge as large:
        raise TooLarge(str(large)) from large
    except InvalidArguments as wrong:
        raise Invalid(str(wrong)) from wrong


def _is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None
