"""Pipelines: jobs one after the other, each a job like any other, and what to do with a pipeline that was sent."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias

from msgspec.structs import replace

from worksong import enqueueing
from worksong.blocking import Background
from worksong.domain import pipeline
from worksong.domain.capability import INSTEAD, Capability
from worksong.domain.chain import marked, records_of
from worksong.domain.errors import BackendUnavailable, InvalidArguments, Unsupported, WorksongError
from worksong.domain.job import Job, new_id, new_uuid
from worksong.domain.names import wrong_with
from worksong.domain.pipeline import MOST, Step
from worksong.domain.record import PipelineRecord, stamped
from worksong.enqueueing import Delay, seconds_of
from worksong.handle import Handle
from worksong.ledger import Ledger, Write
from worksong.perloop import PerLoop
from worksong.ports.backend import Beside, Intake
from worksong.ports.clock import Clock
from worksong.ports.records import Change
from worksong.ports.results import Results
from worksong.wire import gotime
from worksong.wire.record import ref_of


class Canceller(Protocol):
    """Whoever can take a job back."""

    async def acancel(self, job_id: str) -> bool: ...


class Keeper(Protocol):
    """The worker, as far as what it keeps and knows again."""

    url: str

    @property
    def keeps_results(self) -> bool: ...
    @property
    def capabilities(self) -> frozenset[Capability]: ...


class Sender(Keeper, Protocol):
    """The worker, as far as a pipeline knows it."""

    clock: Clock
    background: Background
    results: Callable[[], Results]

    @property
    def admin(self) -> Canceller: ...
    @property
    def rolls(self) -> PerLoop[Ledger] | None: ...
    def beside(self, ledger: Ledger) -> Beside | None: ...
    async def enqueue(self, jobs: Sequence[Job], into: Intake | None = None) -> list[Handle[Any] | None]: ...
    def handle(self, job_id: str, handler: str = "") -> Handle[Any]: ...


class Planned(NamedTuple):
    """A step, and whose it is: what `send_email.step(...)` answers."""

    step: Step
    sender: Sender


Stage: TypeAlias = Planned | Sequence[Planned]
"""A step, or several that run side by side."""


class Pipeline:
    """Steps one after the other; a list among them runs side by side, and the stage behind it waits for all of it.

    Each step is a job: it is retried, looked at and cancelled like any other, and whoever is free runs it. What follows
    a step is enqueued in the same step as its end. A step that is dead stops the pipeline, until somebody retries it;
    one that is discarded or cancelled ends it. With `previous=True` a step is given, as its argument `previous`, what
    the one before returned, or a list of what all of them did.
    """

    def __init__(self, stages: Iterable[Stage], name: str = "") -> None:
        """`name`: what it is called in lists and messages."""
        given = [stage if isinstance(stage, Planned) else list(stage) for stage in stages]
        planned = [[stage] if isinstance(stage, Planned) else stage for stage in given]
        _check(planned, name)
        self.name = name
        self._stages = list(map(_steps, given))
        self._sender = planned[0][0].sender

    def perform(self) -> PipelineHandle:
        """Enqueue its first steps, to run as soon as a slot is free."""
        return self._sender.background.call(self.aperform())

    async def aperform(self) -> PipelineHandle:
        """`perform` for async code."""
        return await self._send(lambda job, _: job)

    def perform_in(self, delay: Delay) -> PipelineHandle:
        """Enqueue it, to begin after `delay` (a timedelta or seconds)."""
        return self._sender.background.call(self.aperform_in(delay))

    async def aperform_in(self, delay: Delay) -> PipelineHandle:
        """`perform_in` for async code."""
        return await self._send(lambda job, now: enqueueing.run_in(job, delay, now))

    def perform_at(self, when: datetime) -> PipelineHandle:
        """Enqueue it, to begin at `when` (with a time zone); at once if that is past."""
        return self._sender.background.call(self.aperform_at(when))

    async def aperform_at(self, when: datetime) -> PipelineHandle:
        """`perform_at` for async code."""
        return await self._send(lambda job, now: enqueueing.run_at(job, when, now))

    async def _send(self, timed: Callable[[Job, float], Job]) -> PipelineHandle:
        check_groups(self._stages, self._sender)
        pipeline_id, now, rolls = new_uuid(), self._sender.clock.now(), self._sender.rolls
        stages = marked(self._stages) if rolls else self._stages
        jobs = [timed(job, now) for job in pipeline.first(pipeline_id, self.name, stages)]
        if rolls:
            await self._enrol(pipeline_id, jobs, rolls.here())
        else:
            await self._sender.enqueue(jobs)
        return PipelineHandle(pipeline_id, self._stages, self._sender)

    async def _enrol(self, pipeline_id: str, jobs: Sequence[Job], ledger: Ledger) -> None:
        """Records and messages in one step, or the records first. Where the messages are refused nothing is kept, and
        one that got there all the same is dropped by whoever is given it."""
        now, due = self._sender.clock.now(), jobs[0].run_at
        run_at = gotime.write(due) if due else ""
        record, steps = records_of(pipeline_id, self.name, self._stages, now, due=due, run_at=run_at)
        messages, beside = [stamped(job, new_id()) for job in jobs], self._sender.beside(ledger)
        try:
            if beside:
                await ledger.open_pipeline(record, steps, write=self._written(beside, messages))
                return
            await ledger.open_pipeline(record, steps)
            await self._sender.enqueue(messages)
        except BaseException:
            with contextlib.suppress(WorksongError):
                await ledger.remove_pipeline(record)
            raise
        with contextlib.suppress(
            BackendUnavailable
        ):  # then it counts as missing, and whoever finds that sends it again
            await ledger.sent([ref_of(PipelineRecord, pipeline_id)])

    def _written(self, beside: Beside, messages: Sequence[Job]) -> Write:
        async def write(changes: Sequence[Change]) -> bool:
            return all(await self._sender.enqueue(messages, beside(changes)))

        return write

    def __repr__(self) -> str:
        return f"<Pipeline {self.name or '(no name)'}: {len(self._stages)} stages>"


def check_groups(stages: Sequence[Sequence[object]], sender: Keeper) -> None:
    """Raise `Unsupported` where nobody could tell, or not for sure, who is the last of several in front of a stage.

    That is told by their results; two may find that they are, and send the same jobs.
    """
    if not any(len(stage) > 1 for stage in stages[:-1]):
        return
    where = sender.url.partition("?")[0].rpartition("@")[2]
    if not sender.keeps_results:
        what = "run jobs side by side in a pipeline, whose results tell when all are through"
        raise Unsupported(what, where, INSTEAD[Capability.RESULTS])
    if Capability.DEDUP not in sender.capabilities:
        what = "run what follows several jobs only once, since it does not know ids again"
        raise Unsupported(what, where, "run them one after the other, or use redis:// or a database")


class PipelineHandle:
    """A pipeline that was sent."""

    def __init__(self, pipeline_id: str, stages: Sequence[Sequence[Step]], sender: Sender) -> None:
        self.id, self._sender, self._listed = pipeline_id, sender, stages[-1][0].alone
        self.stages = [
            [
                sender.handle(pipeline.step_id(pipeline_id, number, member), step.handler)
                for member, step in enumerate(stage)
            ]
            for number, stage in enumerate(stages)
        ]
        """The jobs of each stage; those of later ones are not enqueued yet."""

    def result(self, timeout: Delay | None = None) -> Any:
        """Wait for what the last step returns, at most `timeout` (a timedelta or seconds; None: for ever).

        A list, where the last stage is one. Raises `JobFailed` once a step has failed for good, and otherwise
        what `Handle.result` raises. Results that are kept for a shorter time than the pipeline takes are not missed.
        """
        return self._sender.background.call(self.aresult(timeout))

    async def aresult(self, timeout: Delay | None = None) -> Any:  # noqa: ASYNC109, it is the blocking one's twin
        """`result` for async code."""
        limit = math.inf if timeout is None else seconds_of(timeout, f"pipeline {self.id}: a timeout")
        end, values = time.monotonic() + limit, list[Any]()
        for stage in self.stages[await self._furthest() :]:
            values = [await job.aresult(max(0.0, end - time.monotonic())) for job in stage]
        return values if len(values) > 1 or self._listed else values[0]

    def progress(self) -> tuple[int, int]:
        """(steps that are through, steps in all), as far as their results are still kept."""
        return self._sender.background.call(self.aprogress())

    async def aprogress(self) -> tuple[int, int]:
        """`progress` for async code."""
        results, furthest = self._sender.results(), await self._furthest()
        before = sum(map(len, self.stages[:furthest]))
        here = [await results.result(job.id) for job in self.stages[furthest]]
        return before + sum(1 for found in here if found and not found.failure), sum(map(len, self.stages))

    def cancel(self) -> bool:
        """Drop the steps that wait and stop those that run; nothing follows them. False: none was found."""
        return self._sender.background.call(self.acancel())

    async def acancel(self) -> bool:
        """`cancel` for async code."""
        # From the first: what a step sends on while the others are looked for lies ahead.
        found = [await self._sender.admin.acancel(job.id) for stage in self.stages for job in stage]
        return any(found)

    async def _furthest(self) -> int:
        """The last stage of which a result is kept, or the first."""
        results = self._sender.results()
        for number in range(len(self.stages) - 1, 0, -1):
            for job in self.stages[number]:
                if await results.result(job.id):
                    return number
        return 0

    def __repr__(self) -> str:
        return f"<PipelineHandle {self.id}>"


def _steps(stage: Stage) -> list[Step]:
    """Without whose they are; a list of one remains one."""
    if isinstance(stage, Planned):
        return [stage.step]
    return [replace(step, alone=len(stage) == 1) for step, _ in stage]


def _check(stages: Sequence[Sequence[Planned]], name: str) -> None:
    """Refuse what could not run."""
    if not isinstance(name, str):
        raise InvalidArguments(f"a pipeline's name is a text, not {name!r}")
    if name and (wrong := wrong_with(name)):
        raise InvalidArguments(f"a pipeline's {wrong}")
    if not stages or not all(stages):
        raise InvalidArguments("a pipeline has at least one step, and no stage of it is empty")
    if len(stages) > MOST or max(map(len, stages)) > MOST:
        raise InvalidArguments(f"a pipeline has at most {MOST} stages, and at most {MOST} steps side by side in each")
    steps = [planned for stage in stages for planned in stage]
    for planned in steps:
        if not isinstance(planned, Planned):
            raise InvalidArguments(f"a pipeline is made of steps, as in send_email.step(user_id=1), not of {planned!r}")
    if any(planned.sender is not steps[0].sender for planned in steps):
        raise InvalidArguments("all steps of a pipeline belong to one worker")
    early = [planned.step.handler for planned in stages[0] if planned.step.previous]
    if early:
        raise InvalidArguments(f"step {early[0]!r} is the first, so there is nothing previous to give it")
