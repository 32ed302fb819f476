"""What a run that failed comes to, and what is said about it."""

from __future__ import annotations

import logging

from worksong.domain.job import Job
from worksong.domain.names import one_line
from worksong.domain.outcome import Buried, Outcome, Retried
from worksong.domain.verdict import Policy, of_failure
from worksong.engine.trace import traced

log = logging.getLogger("worksong")


def judged(job: Job, failure: BaseException, policy: Policy, now: float) -> Outcome:
    """The ending of a run that raised; a failure is told of."""
    outcome = traced(of_failure(job, failure, policy, now), failure)
    if isinstance(outcome, Buried):
        about, text = {"job": job}, one_line(outcome.error)
        log.error("job %s (%s) is dead: %s", one_line(job.id), job.handler, text, exc_info=failure, extra=about)
    elif isinstance(outcome, Retried):
        about, text, wait = {"job": job}, one_line(outcome.error), outcome.run_at - now
        log.warning(
            "job %s (%s) failed, tries again in %.0f s: %s", one_line(job.id), job.handler, wait, text, extra=about
        )
    return outcome
