"""The chain of a pipeline: its records and its jobs, each as it follows from the other; pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import cast

from msgspec.structs import replace

from worksong.domain import pipeline
from worksong.domain.job import Job
from worksong.domain.pipeline import Step, Way, step_id
from worksong.domain.record import MARK, JobRecord, PipelineRecord, Status, args_of


def records_of(
    pipeline_id: str,
    name: str,
    stages: Sequence[Sequence[Step]],
    now: float,
    *,
    due: float = 0.0,
    run_at: str = "",
) -> tuple[PipelineRecord, list[JobRecord]]:
    """The records of a pipeline that a program sends now, and of its jobs, in order.

    `due`: when it begins, 0: at once; `run_at`: the same in RFC 3339.
    """
    record = PipelineRecord(id=pipeline_id, job_ids=(), name=name, run_at=run_at, due=due, created_at=now)
    return laid_out(record, [list(map(_job, stage)) for stage in stages])


def laid_out(record: PipelineRecord, stages: Sequence[Sequence[JobRecord]]) -> tuple[PipelineRecord, list[JobRecord]]:
    """A pipeline that has no jobs yet with those of its stages, which have no place yet, each in its own."""
    ids = [[step_id(record.id, number, member) for member in range(len(stage))] for number, stage in enumerate(stages)]
    behind = [*(first for first, *_ in ids[1:]), ""]
    jobs = [
        replace(job, id=job_id, pipeline_id=record.id, next_id=next_id, created_at=record.created_at)
        for stage, stage_ids, next_id in zip(stages, ids, behind, strict=True)
        for job, job_id in zip(stage, stage_ids, strict=True)
    ]
    first, widths = len(stages[0]), tuple(map(len, stages))
    jobs[:first] = [replace(job, due=record.due, run_at=record.run_at) for job in jobs[:first]]
    ids_in_order = tuple(job.id for job in jobs)
    return replace(record, job_ids=ids_in_order, widths=widths if max(widths) > 1 else ()), jobs


def _job(step: Step) -> JobRecord:
    """A step as a record, which has no place in a pipeline yet."""
    named = step.args if isinstance(step.args, dict) else None
    params = named["params"] if named and named.keys() == {"params"} else None
    whole = isinstance(params, dict)
    return JobRecord(
        id="",
        task=step.handler,
        name=step.handler,
        params=cast("dict[str, object]", params) if whole else named,
        whole=whole,
        positional=step.args if isinstance(step.args, list) else None,
        queue=step.queue,
        previous=step.previous,
        alone=step.alone,
    )


def marked(stages: Sequence[Sequence[Step]]) -> list[list[Step]]:
    """The same steps, of whose jobs a record is kept."""
    return [[replace(step, meta={**step.meta, **MARK}) for step in stage] for stage in stages]


def first_of(record: PipelineRecord, jobs: Sequence[JobRecord]) -> list[Job]:
    """The jobs that a pipeline begins with, as they are enqueued; they carry the others."""
    return [replace(job, run_at=record.due) for job in pipeline.first(record.id, "", _steps(record, jobs))]


def stage_of(record: PipelineRecord, number: int) -> range:
    """Which of its jobs run side by side with this one, all counted from 0."""
    end = 0
    for width in record.widths:
        end += width
        if number < end:
            return range(end - width, end)
    return range(number, number + 1)


def under_way(record: PipelineRecord, jobs: Sequence[JobRecord]) -> list[JobRecord]:
    """Those of its jobs that it has come to and that have not ended; the ones behind them are not in the queue yet.

    One whose record is gone counts as through: nobody can tell, and it is not to hide what waits behind it.
    """
    ahead = {job.id for job in jobs if job.status is not Status.COMPLETED}
    at = next((number for number, job_id in enumerate(record.job_ids) if job_id in ahead), None)
    if at is None:
        return []
    here = {record.job_ids[number] for number in stage_of(record, at)}
    return [job for job in jobs if job.id in here and not job.status.ended]


def again(record: PipelineRecord, jobs: Sequence[JobRecord], number: int, previous: object) -> Job:
    """One of the jobs of a pipeline, as those before it enqueued it; it carries those behind it."""
    here, steps = stage_of(record, number), _steps(record, jobs)
    if here.start == 0:
        return first_of(record, jobs)[number]
    stage = [0, *accumulate(map(len, steps))].index(here.start)
    way = Way(record.id, stage=stage - 1, stages=len(steps), rest=tuple(map(tuple, steps[stage:])))
    return pipeline.following(way, previous, 0.0)[number - here.start]


def _steps(record: PipelineRecord, jobs: Sequence[JobRecord]) -> list[list[Step]]:
    found: list[list[Step]] = []
    begin = 0
    while begin < len(jobs):
        here = stage_of(record, begin)
        found.append([_step(record.id, len(found), member, jobs[at]) for member, at in enumerate(here)])
        begin = here.stop
    return found


def _step(pipeline_id: str, stage: int, member: int, job: JobRecord) -> Step:
    """The id is said only where it does not follow from the place, as that of a job which came from elsewhere."""
    own = "" if job.id == step_id(pipeline_id, stage, member) else job.id
    return Step(job.task, args_of(job), job.queue, job.previous, dict(MARK), own, job.alone)
