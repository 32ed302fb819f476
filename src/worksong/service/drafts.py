"""From a request to what is kept of it: records of jobs and pipelines that nobody has kept or queued yet."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from worksong.domain.capability import INSTEAD, Capability
from worksong.domain.chain import laid_out
from worksong.domain.errors import InvalidArguments, Unsupported
from worksong.domain.job import new_uuid
from worksong.domain.pipeline import MOST, PREVIOUS, step_id
from worksong.domain.record import JobRecord, PipelineRecord
from worksong.domain.verdict import LONGEST_WAIT
from worksong.pipeline import check_groups
from worksong.registry import JobSpec
from worksong.service import refusals
from worksong.service.forms import BatchForm, JobForm, PipelineForm, StagedForm, moment
from worksong.service.refusals import Invalid
from worksong.wire.gotime import Moment
from worksong.worker import Worker


class Drafts:
    """Writes them for one worker."""

    def __init__(self, worker: Worker, unit: float) -> None:
        """`unit`: seconds per unit of a timeout."""
        self._worker, self._unit = worker, unit

    def job(self, form: JobForm) -> JobRecord:
        """A job that belongs to no pipeline; raises `Invalid`."""
        due, now = moment(form.run_at), self._worker.clock.now()
        return self._job(form, new_uuid(), due, now)

    def batch(self, form: BatchForm) -> tuple[str, list[JobRecord]]:
        """The id of a batch, and its jobs, whose ids follow from it; raises `Invalid`, which says which one it is."""
        form.check()
        batch_id, now, jobs = new_uuid(), self._worker.clock.now(), list[JobRecord]()
        for number, (job, job_id) in enumerate(zip(form.jobs or (), ids_of(batch_id, form), strict=True)):
            try:
                jobs.append(self._job(job, job_id, moment(job.run_at), now))
            except Invalid as wrong:
                raise Invalid(f"jobs[{number}]: {wrong}") from None
        return batch_id, jobs

    def pipeline(self, form: PipelineForm | StagedForm) -> tuple[PipelineRecord, list[JobRecord]]:
        """A pipeline and its jobs, in order; raises `Invalid`, and `Unsupported` for groups where none can be."""
        now, count = self._worker.clock.now(), sum(map(len, form.stages))
        if count > MOST:
            raise Invalid(f"pipeline should have at most {MOST} jobs, {count} given")
        due = moment(form.run_at) if form.stages else None
        jobs = [
            [self._step(form, job, (number, member), due, now) for member, job in enumerate(stage)]
            for number, stage in enumerate(form.stages)
        ]
        form.check()
        check_groups(form.stages, self._worker)
        record = PipelineRecord(
            id=new_uuid(),
            job_ids=(),
            name=form.name or "",
            description=form.description or "",
            run_at=due.text if due else "",
            due=due.at if due else 0.0,
            created_at=now,
        )
        return laid_out(record, jobs)

    def _step(
        self, pipeline: PipelineForm | StagedForm, form: JobForm, at: tuple[int, int], due: Moment | None, now: float
    ) -> JobRecord:
        """A job of a pipeline, which has no place there yet; `at`: where it will be."""
        try:
            job = self._job(form, "", None if at[0] else due, now, previous=bool(form.use_previous_results))
        except Invalid as wrong:
            raise Invalid(f"{pipeline.place(*at)}{wrong}") from None
        return replace(job, alone=True) if pipeline.is_alone(at[0]) else job

    def _job(self, form: JobForm, job_id: str, due: Moment | None, now: float, *, previous: bool = False) -> JobRecord:
        form.check()
        spec = self._worker.registry.find(form.task_name or "")
        if spec is None:
            raise refusals.unknown_task(form.task_name or "", sorted(self._worker.registry.names()))
        if due:
            self._check_wait(due, now)
        whole = spec.signature.of_valets_form
        _check_arguments(spec, form.task_params or {}, whole=whole, previous=previous)
        return JobRecord(
            id=job_id,
            task=form.task_name or "",
            name=form.name or "",
            description=form.description or "",
            params=form.task_params or None,
            whole=whole,
            queue=spec.options.queue,
            timeout=(form.timeout or 0) * self._unit,
            previous=previous,
            run_at=due.text if due else "",
            due=due.at if due else 0.0,
            created_at=now,
        )

    def _check_wait(self, due: Moment, now: float) -> None:
        """Refuse times for which no backend would wait, or this one would not."""
        if due.at - now > LONGEST_WAIT:
            most = LONGEST_WAIT / 86400
            raise Invalid(f"run_at {due.text} is more than {most:.0f} days ahead; is the year right?")
        if due.at > now and Capability.DELAY not in self._worker.capabilities:
            name = self._worker.backend().name
            raise Unsupported(f"promise that {Capability.DELAY.value}", name, INSTEAD[Capability.DELAY])


def ids_of(batch_id: str, form: BatchForm) -> list[str]:
    """The ids of its jobs: whoever knows the form and the batch knows them."""
    return [step_id(batch_id, 0, number) for number in range(len(form.jobs or ()))]


def _check_arguments(spec: JobSpec, params: dict[str, Any], *, whole: bool, previous: bool) -> None:
    """Refuse what its function would not take, as a typed enqueue does."""
    args = {"params": params} if whole else params
    try:
        spec.signature.check(args, later=PREVIOUS if previous else "")
    except InvalidArguments as wrong:
        raise Invalid(f"task_params of {spec.name}: {wrong}") from None
