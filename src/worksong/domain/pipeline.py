"""Steps one after the other: which jobs they are, and what follows a step that is done.

A job of a pipeline carries the rest of its way in its meta data, so that whoever finishes it can send the next ones
on, and needs no record beside the queue. The ids of all its jobs follow from the pipeline's own: who sends the same
step twice sends the same jobs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Args, Job

MOST = 1000
"""Stages of a pipeline, and jobs side by side in a stage."""
META = "pipeline"
"""The member of a job's meta data that makes it a step."""
PREVIOUS = "previous"
"""The argument that takes what the stage before returned."""


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job of a pipeline, before there is one."""

    handler: str
    args: Args = None
    queue: str = "default"
    previous: bool = False
    """Whether it is given what the stage before returned."""
    meta: dict[str, Any] = {}
    """What its job carries beside its way."""
    id: str = ""
    """That of its job, in a stage of its own; empty: the one that follows from its place."""
    alone: bool = False
    """Whether it is all of a list: the stage behind it is given a list all the same."""


class Way(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where in its pipeline a job is, and what is still to come."""

    id: str
    name: str = ""
    stage: int = 0
    """From 0."""
    stages: int = 1
    """How many there are in all."""
    member: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Which of the jobs that run side by side in this stage, from 0."""
    width: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 1
    """How many they are."""
    rest: tuple[tuple[Step, ...], ...] = ()
    """The stages behind this one."""
    alone: bool = False
    """Whether this job is all of a list."""

    @property
    def siblings(self) -> list[str]:
        """The ids of all jobs of this stage, its own among them: the one behind it first, round to itself."""
        turned = [(self.member + 1 + number) % self.width for number in range(self.width)]
        return [step_id(self.id, self.stage, member) for member in turned]


def way_of(job: Job) -> Way | None:
    """None: it is no step of a pipeline, or says so in a form that nobody of us wrote."""
    try:
        return msgspec.convert(job.meta[META], Way) if META in job.meta else None
    except msgspec.ValidationError:
        return None


def first(pipeline_id: str, name: str, stages: Sequence[Sequence[Step]]) -> list[Job]:
    """The jobs that the pipeline begins with."""
    steps = tuple(tuple(stage) for stage in stages)
    return _jobs(Way(pipeline_id, name, stage=-1, stages=len(steps), rest=steps), None)


def following(way: Way, previous: object, now: float) -> tuple[Job, ...]:
    """The jobs of the next stage; `previous` is what this one returned. None of them behind the last stage."""
    return tuple(replace(job, enqueued_at=now) for job in _jobs(way, previous)) if way.rest else ()


def wants_previous(way: Way) -> bool:
    """Whether somebody in the next stage asks for what this one returns."""
    return bool(way.rest) and any(step.previous for step in way.rest[0])


def step_id(pipeline_id: str, stage: int, member: int) -> str:
    """A UUID: valid on every backend, and in the job service."""
    digest = hashlib.blake2b(f"{pipeline_id}:{stage}:{member}".encode(), digest_size=16).digest()
    return str(UUID(bytes=digest, version=4))


def _jobs(way: Way, previous: object) -> list[Job]:
    steps, rest = way.rest[0], way.rest[1:]
    found: list[Job] = []
    for member, step in enumerate(steps):
        on = replace(way, stage=way.stage + 1, member=member, width=len(steps), rest=rest, alone=step.alone)
        meta: dict[str, Any] = {**step.meta, META: msgspec.to_builtins(on)}
        args = _with_previous(step, previous) if step.previous else step.args
        job_id = step.id or step_id(way.id, on.stage, member)
        found.append(Job(step.handler, args, step.queue, id=job_id, meta=meta))
    return found


def _with_previous(step: Step, previous: object) -> Args:
    if isinstance(step.args, list):
        raise InvalidArguments(f"step {step.handler!r}: arguments by position leave no place for {PREVIOUS!r}")
    return {**(step.args or {}), PREVIOUS: previous}
