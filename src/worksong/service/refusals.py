"""What the job service says no to, in Valet's words where it has some.

A store or queue that is away is no refusal: that is `BackendUnavailable`, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from worksong.domain.errors import WorksongError

FULL = "job queue is full - try again later"
WITHDRAWN = "an equal request was refused just now, and what it had created withdrawn - try again"
_OF_A_PIPELINE = (
    "job with ID: {} can not be deleted because it belongs \n\t\t\t\tto a pipeline - try to delete the pipeline instead"
)
"""Valet's text, the break in the middle included."""


class Refusal(WorksongError):
    """the job service refused; nothing was done"""


class Invalid(Refusal):
    """the request cannot be understood, or asks for what there is not; nothing was done"""


class Missing(Refusal):
    """there is no such job, pipeline or result"""


class Gone(Missing):
    """there was such a result; it was deleted"""


class Conflict(Refusal):
    """what is asked does not go together with what is there; nothing was done"""


class Busy(Refusal):
    """there is no room for more just now; nothing was done"""


class TooLarge(Refusal):
    """it is larger than can be carried; nothing was done"""


def required(missing: Sequence[str]) -> Invalid:
    """Some fields are empty."""
    return Invalid(f"{', '.join(missing)} required")


def unknown_task(name: str, known: Sequence[str]) -> Invalid:
    """No task is called so."""
    return Invalid(f"{name} is not a valid task name - valid tasks: [{' '.join(known)}]")


def bad_status(text: str) -> Invalid:
    """No status is called so."""
    return Invalid(f'invalid status: "{text}"')


def lonely(count: int) -> Invalid:
    """A pipeline of one job."""
    return Invalid(f"pipeline shoud have at least 2 jobs, {count} given")


def no_job(job_id: str) -> Missing:
    """There is no such job."""
    return Missing(f"job with ID: {job_id} not found")


def no_result(job_id: str) -> Missing:
    """There is no result of such a job."""
    return Missing(f"job result with ID: {job_id} not found")


def no_result_any_more(job_id: str) -> Gone:
    """The job has ended, and its result is not there any more. The text is that of any other: Valet knows one only."""
    return Gone(str(no_result(job_id)))


def no_pipeline_result(pipeline_id: str) -> Missing:
    """The pipeline has not ended."""
    return Missing(f"pipeline result with ID: {pipeline_id} not found")


def no_pipeline_result_any_more(pipeline_id: str) -> Gone:
    """The pipeline has ended, and what it returned is not there any more."""
    return Gone(str(no_pipeline_result(pipeline_id)))


def no_pipeline(pipeline_id: str) -> Missing:
    """There is no such pipeline."""
    return Missing(f"pipeline with ID: {pipeline_id} not found")


def of_a_pipeline(job_id: str) -> Conflict:
    """A job that goes only with its pipeline."""
    return Conflict(_OF_A_PIPELINE.format(job_id))
