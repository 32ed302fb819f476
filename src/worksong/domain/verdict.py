"""What a handler returned or raised, turned into an ending."""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from worksong.domain.job import Job
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Retried, Snoozed
from worksong.domain.retry import Backoff

ERROR_KEPT = 8 * 1024
"""Bytes of an error's text that are stored."""
LONGEST_WAIT = 10 * 365 * 86400.0
"""Seconds; a longer wait is a mistake in a unit."""


class Verdict(Exception):
    """An ending that a handler chooses: return it or raise it."""


class Retry(Verdict):
    """Count a failure and try again after `delay` seconds (None: the job type's backoff)."""

    def __init__(self, delay: float | timedelta | None = None) -> None:
        super().__init__("asked for a retry")
        self.delay = None if delay is None else _sound(delay)


class Snooze(Verdict):
    """Run again after `delay` seconds; no failure is counted."""

    def __init__(self, delay: float | timedelta) -> None:
        super().__init__(f"snoozes for {delay} s")
        self.delay = _sound(delay)


class Discard(Verdict):
    """End here and keep nothing."""

    def __init__(self, reason: str = "discarded by its handler") -> None:
        super().__init__(reason)
        self.reason = reason


class WorkerCrashed(Exception):
    """The process that ran the handler died; what it says (``worker_crashed:SIGSEGV``) is the whole reason."""

    max_attempts = 3
    """Then the job is dead, whatever its type allows: what kills a process may harm more than its own job."""


class Policy(msgspec.Struct, frozen=True):
    """What a job type does with failures."""

    backoff: Backoff
    max_fails: int = 4
    skip_dead: bool = False
    retry_for: tuple[type[BaseException], ...] = (BaseException,)
    """Other failures are final at once."""
    discard_on: tuple[type[BaseException], ...] = ()
    usual: bool = False
    """Nobody chose the backoff: it is the usual one."""


DONE = Done()


def of_value(job: Job, value: object, policy: Policy, now: float) -> Outcome:
    """The ending of a run that returned; what stands around its handler may have chosen one already."""
    if value is None:
        return DONE
    if isinstance(value, Verdict):
        return of_failure(job, value, policy, now)
    return value if type(value) is Done else Done(value)


def of_failure(job: Job, failure: BaseException, policy: Policy, now: float) -> Outcome:
    """The ending of a run that raised, or returned a verdict."""
    if isinstance(failure, Snooze):
        return Snoozed(now + failure.delay)
    if isinstance(failure, (Discard, *policy.discard_on)):
        return Discarded(error_text(failure))
    error = error_text(failure)
    allowed = min(policy.max_fails, failure.max_attempts) if isinstance(failure, WorkerCrashed) else policy.max_fails
    if job.attempt >= allowed or not isinstance(failure, (Retry, *policy.retry_for)):
        return Discarded(error) if policy.skip_dead else Buried(error)
    if isinstance(failure, Retry) and failure.delay is not None:
        return Retried(now + failure.delay, error)
    return _retried(replace(job, attempt=job.attempt + 1, error=error, failed_at=now), policy, now)


def _retried(failed: Job, policy: Policy, now: float) -> Retried:
    """By the backoff of the job type; one that fails itself must not cost the job its retry, nor go unseen."""
    try:
        return Retried(now + _sound(policy.backoff(failed)), failed.error, policy.usual)
    except Exception as broken:
        told = f"{failed.error} (its backoff failed, so it waits 60 s: {error_text(broken)})"
        return Retried(now + 60.0, _shortened(told))


def error_text(failure: BaseException) -> str:
    """Class and message, whatever the exception's own `__str__` does."""
    message = message_of(failure)
    if isinstance(failure, (Verdict, WorkerCrashed)):
        return _shortened(message)
    return _shortened(f"{type(failure).__name__}: {message}" if message else type(failure).__name__)


def message_of(failure: BaseException) -> str:
    """What the exception says, shortened, whatever its own `__str__` does."""
    try:
        return _shortened(str(failure))
    except BaseException:
        return "(its message cannot be printed)"


def _shortened(text: str) -> str:
    start = text[:ERROR_KEPT].encode(errors="replace")
    if len(text) <= ERROR_KEPT and len(start) <= ERROR_KEPT:
        return text
    return start[: ERROR_KEPT - 3].decode(errors="ignore") + "…"


def _sound(delay: float | timedelta) -> float:
    """The delay in seconds, if it can be one."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if math.isnan(seconds) or seconds < 0 or seconds > LONGEST_WAIT:
        raise ValueError(f"a delay must be between 0 and {LONGEST_WAIT:.0f} seconds, not {delay!r}")
    return seconds
