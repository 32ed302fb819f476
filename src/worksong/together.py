"""Together: what changes as one in the ledger, a job, its result, and the pipeline that both belong to."""

from __future__ import annotations

from typing import TypeAlias

from worksong.domain import record as rules
from worksong.domain.record import JobRecord, PipelineRecord, ResultRecord, Status
from worksong.entries import Draft
from worksong.ports.records import Ref
from worksong.wire.record import ref_of

Sendable: TypeAlias = JobRecord | PipelineRecord
"""What gets into the queue as a whole."""


def parts_of(document: Sendable) -> list[Ref]:
    """What goes when it goes."""
    jobs = document.job_ids if isinstance(document, PipelineRecord) else ()
    results = jobs or (document.id,)
    return [*(ref_of(JobRecord, job_id) for job_id in jobs), *(ref_of(ResultRecord, job_id) for job_id in results)]


def forget_result(draft: Draft, job: JobRecord) -> None:
    """A job that has failed goes on: nobody is to take that failure for what comes of it now."""
    if job.status.ended and draft.get(ResultRecord, job.id):
        draft.drop(ref_of(ResultRecord, job.id))


def is_unwanted(draft: Draft, job: JobRecord) -> bool:
    """Whether the cancellation of a job before it in its pipeline holds for this one."""
    pipeline = draft.get(PipelineRecord, job.pipeline_id) if job.pipeline_id else None
    if pipeline is None or pipeline.status is not Status.FAILED:
        return False
    return rules.is_unwanted(job, [other for other in draft.all(JobRecord, pipeline.job_ids) if other])


def move(draft: Draft, job: JobRecord, **marks: float) -> float:
    """A job changes, and with it the pipeline that it belongs to; answers until when the job is kept, 0: for ever.

    A pipeline is kept, or may be forgotten, as a whole, the results of its jobs included: a step that comes after a
    long time is given what the one before returned.
    """
    draft.put(job, **marks)
    pipeline = draft.get(PipelineRecord, job.pipeline_id) if job.pipeline_id else None
    if pipeline is None:
        return marks.get("until", 0.0)
    others = [other for other in draft.all(JobRecord, rules.beside(pipeline, job)) if other]
    followed = rules.followed(pipeline, job, others)
    until = marks.get("until", 0.0) if followed.status.ended else 0.0
    draft.put(followed, unsent_since=0.0, until=until)
    changed = parts_of(pipeline) if followed.status.ended or pipeline.status.ended else [ref_of(JobRecord, job.id)]
    draft.look_at(changed)
    for ref in changed:
        draft.mark(ref, until=until)
    return until
