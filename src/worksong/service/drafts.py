"""From a request to what is kept of it: records of jobs and pipelines that nobody has kept or queued yet."""

from __future__ import annotations

from typing import Any

from worksong.domain.capability import INSTEAD, Capability
from worksong.domain.errors import InvalidArguments, Unsupported
from worksong.domain.job import new_uuid
from worksong.domain.pipeline import MOST, PREVIOUS, step_id
from worksong.domain.record import JobRecord, PipelineRecord
from worksong.domain.verdict import LONGEST_WAIT
from worksong.registry import JobSpec
from worksong.service import refusals
from worksong.service.forms import BatchForm, JobForm, PipelineForm, moment
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

    def pipeline(self, form: PipelineForm) -> tuple[PipelineRecord, list[JobRecord]]:
        """A pipeline and its jobs, in order; raises `Invalid`."""
        now, pipeline_id, forms = self._worker.clock.now(), new_uuid(), form.jobs or ()
        if len(forms) > MOST:
            raise Invalid(f"pipeline should have at most {MOST} jobs, {len(forms)} given")
        due = moment(form.run_at) if forms else None
        ids = [step_id(pipeline_id, number, 0) for number in range(len(forms))]
        jobs = [
            self._job(job, job_id, None if number else due, now, pipeline_id=pipeline_id, next_id=next_id)
            for number, (job, job_id, next_id) in enumerate(zip(forms, ids, [*ids, ""][1:], strict=True))
        ]
        form.check()
        record = PipelineRecord(
            id=pipeline_id,
            job_ids=tuple(ids),
            name=form.name or "",
            description=form.description or "",
            run_at=due.text if due else "",
            due=due.at if due else 0.0,
            created_at=now,
        )
        return record, jobs

    def _job(
        self,
        form: JobForm,
        job_id: str,
        due: Moment | None,
        now: float,
        *,
        pipeline_id: str = "",
        next_id: str = "",
    ) -> JobRecord:
        form.check()
        spec = self._worker.registry.find(form.task_name or "")
        if spec is None:
            raise refusals.unknown_task(form.task_name or "", sorted(self._worker.registry.names()))
        if due:
            self._check_wait(due, now)
        previous = bool(pipeline_id and form.use_previous_results)
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
            pipeline_id=pipeline_id,
            next_id=next_id,
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
