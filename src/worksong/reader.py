"""Reading results: waits for one, and turns it into what the handler's annotation promises."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from worksong.blocking import Background
from worksong.domain.errors import JobFailed, ResultLost, ResultTimeout
from worksong.domain.job import Job
from worksong.domain.names import one_line
from worksong.domain.result import Result
from worksong.enqueueing import Delay, seconds_of
from worksong.ports.results import Results
from worksong.registry import Registry

ROUND = 30.0
"""Seconds asked of a store at a time."""


class Owner(Protocol):
    """The worker, as far as its results go."""

    results: Callable[[], Results]
    background: Background
    registry: Registry


class ResultReader:
    """Belongs to a worker, like its admin."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def read(self, job: Job, patience: Delay | None) -> object:
        """Wait for the job's result; blocking."""
        return self._owner.background.call(self.aread(job, patience))

    async def aread(self, job: Job, patience: Delay | None) -> object:
        """Wait for the job's result, at most so long; None: for ever."""
        limit = math.inf if patience is None else seconds_of(patience, f"job {job.handler!r}: a timeout")
        results, end = self._owner.results(), time.monotonic() + limit
        while True:
            left = max(0.0, end - time.monotonic())
            found = await results.wait_result(job.id, min(left, ROUND))
            if found:
                return self._value(job, found)
            if left <= ROUND:
                raise ResultTimeout(
                    f"{_named(job)} has no result after {limit:g} s: it still waits or runs, or ended so long ago "
                    f"that its result is not kept any more; `worksong why {one_line(job.id)}` says more"
                )

    def _value(self, job: Job, result: Result) -> object:
        if result.failure:
            failure = result.failure
            what = f"{failure.type}: {failure.message}" if failure.type and failure.message else str(failure.message)
            raise JobFailed(f"{_named(job)} failed: {what or failure.type}", type=failure.type, trace=failure.trace)
        if result.lost:
            raise ResultLost(f"{_named(job)} succeeded, but its result could not be kept: {result.lost}")
        try:
            value: object = msgspec.json.decode(result.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
            raise ResultLost(f"{_named(job)} succeeded, but what is stored of it cannot be read: {wrong}") from wrong
        spec = self._owner.registry.find(job.handler)
        try:
            return spec.signature.returned(value) if spec else value
        except msgspec.ValidationError as wrong:
            raise ResultLost(
                f"{_named(job)} succeeded, but what it returned is not what it promises: {wrong}"
            ) from wrong


def _named(job: Job) -> str:
    return f"job {one_line(job.id)} ({one_line(job.handler)})" if job.handler else f"job {one_line(job.id)}"
