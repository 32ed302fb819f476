"""Closing: what came of a pipeline as a whole, waited for."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.domain.record import PipelineRecord, Status
from worksong.domain.result import Result
from worksong.ledger import Ledger
from worksong.service import refusals

NOTHING = b"null"


async def result_of(ledger: Ledger, pipeline: PipelineRecord, seconds: float) -> Result:
    """What its last job returned, or a list of what all of the last stage did; or why one failed first.

    Waits so many seconds at most for its end. Raises `Missing` while it goes on, or goes on again, `Gone` for a result
    that was deleted.
    """
    if not pipeline.status.ended:
        pipeline = await _ended(ledger, pipeline.id, seconds)
    if pipeline.status is Status.FAILED:
        failed = [job for job in await ledger.jobs_of(pipeline) if job.status is Status.FAILED]
        return await _kept(ledger, min(failed, key=lambda job: job.completed_at).id if failed else "", pipeline)
    last = [await _kept(ledger, job_id, pipeline) for job_id in _last_stage(pipeline)]
    ending = await ledger.job(pipeline.job_ids[-1])
    return _together(last) if len(last) > 1 or (ending and ending.alone) else last[0]


async def _ended(ledger: Ledger, pipeline_id: str, seconds: float) -> PipelineRecord:
    closed = await ledger.wait_pipeline(pipeline_id, seconds)
    if closed is None:
        raise refusals.no_pipeline_result(pipeline_id)
    if closed.pipeline is None:
        raise refusals.no_pipeline(pipeline_id)
    return closed.pipeline


async def _kept(ledger: Ledger, job_id: str, pipeline: PipelineRecord) -> Result:
    found = await ledger.kept_result(job_id)
    if found is None:
        # One of which a job was retried meanwhile goes on, and will have a result.
        is_gone = await ledger.pipeline(pipeline.id) == pipeline
        raise (refusals.no_pipeline_result_any_more if is_gone else refusals.no_pipeline_result)(pipeline.id)
    return found


def _last_stage(pipeline: PipelineRecord) -> Sequence[str]:
    return pipeline.job_ids[-(pipeline.widths[-1] if pipeline.widths else 1) :]


def _together(results: Sequence[Result]) -> Result:
    """One of all of them; a value that was lost is none."""
    lost = next((result.lost for result in results if result.lost), "")
    values = b",".join(result.value or NOTHING for result in results)
    return Result(results[0].job_id, max(result.at for result in results), b"[%b]" % values, lost=lost)
