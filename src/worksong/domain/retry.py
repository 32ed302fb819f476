"""Backoff policies: how long a failed job waits before its next try."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from worksong.domain.job import Job

Backoff: TypeAlias = Callable[[Job], float]
"""(job after the failure, so `job.fails` >= 1) -> seconds until the next try."""


def gocraft(draw: Callable[[], float]) -> Backoff:
    """fails^4 + 15 + r*(fails + 1) seconds, r an integer from 0 to 29: gocraft/work's formula, after Sidekiq's.

    `draw` returns a number in [0, 1).
    """

    def delay(job: Job) -> float:
        return job.fails**4 + 15 + int(draw() * 30) * (job.fails + 1)

    return delay


def exponential(base: float = 1.0, *, factor: float = 2.0, limit: float = 3600.0) -> Backoff:
    """base, base*factor, base*factor^2 ... seconds, never more than `limit`."""

    def delay(job: Job) -> float:
        try:
            return min(limit, base * factor ** (job.fails - 1))
        except OverflowError:
            return limit

    return delay


def fixed(seconds: float) -> Backoff:
    """The same wait after every failure."""
    return lambda _: seconds
