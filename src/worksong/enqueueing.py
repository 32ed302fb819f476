"""Enqueueing: a checked job with an id and a time, pushed to a broker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import TypeAlias

from msgspec.structs import replace

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job, new_ids
from worksong.domain.names import wrong_with
from worksong.domain.verdict import LONGEST_WAIT
from worksong.ports.backend import Intake
from worksong.wire import gojson

Delay: TypeAlias = timedelta | float


async def enqueue(broker: Intake, jobs: Sequence[Job], now: float) -> list[Job | None]:
    """Push the jobs; answers each as enqueued, or None for a refused duplicate.

    All of them are checked before the first is pushed. Jobs that came with an id are pushed `once`.
    """
    named = [bool(getattr(job, "id", "")) for job in jobs]  # of those that are no jobs, `_prepared` says so
    ids = [""] * len(jobs) if all(named) else new_ids(now, len(jobs))
    ready = [_prepared(job, job_id, now) for job, job_id in zip(jobs, ids, strict=True)]
    batches = _batches(named)
    if len(batches) > 1:  # what cannot be carried would be found when others are pushed already
        for job in ready:
            gojson.encode([job.args, job.unique_by], root=f"job {job.handler!r}: args")
    kept: list[bool] = []
    for once, first, end in batches:
        kept += await broker.push(ready[first:end], now, once=once)
    return [job if new else None for job, new in zip(ready, kept, strict=True)]


def run_in(job: Job, delay: Delay, now: float) -> Job:
    """The job, to run after `delay`."""
    _check_is_job(job)
    seconds = seconds_of(delay, f"job {job.handler!r}: a delay")
    if seconds < 0:
        raise InvalidArguments(f"job {job.handler!r}: the delay {delay!r} is negative; use perform to run it at once")
    _check_wait(job, seconds)
    return replace(job, run_at=now + seconds)


def seconds_of(delay: Delay, what: str) -> float:
    """A delay in seconds, if it is one; `what` is how the error calls it."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or _is_nan(seconds):
        raise InvalidArguments(f"{what} is a timedelta or a number of seconds, not {delay!r}")
    return seconds


def run_at(job: Job, when: datetime, now: float) -> Job:
    """The job, to run at `when`; at once if that is past."""
    _check_is_job(job)
    if not isinstance(when, datetime):
        raise InvalidArguments(f"job {job.handler!r}: the time to run at must be a datetime, not {when!r}")
    if when.utcoffset() is None:
        raise InvalidArguments(
            f"job {job.handler!r}: {when!r} has no time zone, so it could mean several instants; "
            "use datetime.now(UTC) or add a tzinfo"
        )
    at = when.timestamp()
    _check_wait(job, at - now)
    return replace(job, run_at=at)


def _is_nan(seconds: float) -> bool:
    return isinstance(seconds, float) and math.isnan(seconds)  # an int may be too large to ask


def _check_wait(job: Job, seconds: float) -> None:
    if seconds > LONGEST_WAIT:
        raise InvalidArguments(
            f"job {job.handler!r}: running it in {min(seconds, 1e15) / 86400:.0f} days or more is more than the "
            f"{LONGEST_WAIT / 86400:.0f} days allowed; is the unit right?"
        )


def _batches(named: Sequence[bool]) -> list[tuple[bool, int, int]]:
    """(have an id, first, end) of each run of jobs alike in that."""
    if named and (all(named) or not any(named)):  # as most are
        return [(named[0], 0, len(named))]
    found: list[tuple[bool, int, int]] = []
    first = 0
    for once, run in groupby(named):
        end = first + sum(1 for _ in run)
        found.append((once, first, end))
        first = end
    return found


def _check_is_job(job: object) -> None:
    if not isinstance(job, Job):
        raise InvalidArguments(f"perform takes a Job, not {job!r}: Job(handler='send_email', args={{'user_id': 1}})")


def _prepared(job: Job, new_id: str, now: float) -> Job:
    """The job with id and time, if it is one that can be enqueued."""
    _check_is_job(job)
    if wrong_with(job.handler) or wrong_with(job.queue):
        _refuse_name(job)
    if job.id != "" and (not isinstance(job.id, str) or len(job.id) > 200 or not job.id.isprintable()):
        raise InvalidArguments(
            f"job {job.handler!r}: an id is a text of at most 200 printable characters, not {job.id!r:.250}"
        )
    if job.run_at != 0:
        if not isinstance(job.run_at, (int, float)) or _is_nan(job.run_at):
            raise InvalidArguments(f"job {job.handler!r}: run_at is a number of Unix seconds, not {job.run_at!r:.250}")
        _check_wait(job, job.run_at - now)
    if job.args is not None and not isinstance(job.args, (dict, list)):
        raise InvalidArguments(f"job {job.handler!r}: args must be a dict or a list, not {type(job.args).__name__}")
    if job.unique not in (None, False, True, "until_start", "until_done"):
        raise InvalidArguments(f"job {job.handler!r}: unique must be True, 'until_start' or 'until_done'")
    run_at = job.run_at if job.run_at > now else 0.0
    unique = "until_start" if job.unique is True else job.unique or None
    return replace(job, id=job.id or new_id, enqueued_at=now, run_at=run_at, unique=unique)


def _refuse_name(job: Job) -> None:
    if not job.handler:
        raise InvalidArguments(f"no handler name given: {job!r}")
    if wrong := wrong_with(job.handler):
        raise InvalidArguments(f"handler {wrong}")
    raise InvalidArguments(f"queue {wrong_with(job.queue)}")
