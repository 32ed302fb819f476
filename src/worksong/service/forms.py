"""Requests to create jobs and pipelines, and what is wrong with them: Valet's keys, its texts and its order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar, cast

import msgspec

from worksong.service import refusals
from worksong.service.refusals import Invalid
from worksong.wire import gotime
from worksong.wire.gotime import Moment

F = TypeVar("F", bound=msgspec.Struct)

MOST = 1000
"""Jobs of a batch."""

Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class JobForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A job that somebody wants to be created. None is as good as absent."""

    name: str | None = None
    description: str | None = None
    task_name: str | None = None
    timeout: Int64 | None = None
    """In the service's unit; nothing, or less: as long as its job type may take."""
    task_params: dict[str, Any] | None = None
    run_at: str | None = None
    """RFC 3339 with an offset; empty: at once. In a pipeline that of the pipeline counts."""
    use_previous_results: bool | None = None
    """In a pipeline: whether it is given what the job before returned."""

    def check(self) -> None:
        """Raise `Invalid` when a field is missing."""
        missing = [name for name, text in (("name", self.name), ("task_name", self.task_name)) if not text]
        if missing:
            raise refusals.required(missing)


class PipelineForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A pipeline that somebody wants to be created."""

    name: str | None = None
    description: str | None = None
    run_at: str | None = None
    jobs: list[JobForm] | None = None

    @property
    def stages(self) -> Sequence[Sequence[JobForm]]:
        """Its jobs, each by itself."""
        return [[job] for job in self.jobs or ()]

    def place(self, stage: int, member: int) -> str:
        """How refusals call a job of it: Valet does not say which one it is."""
        return ""

    def is_alone(self, stage: int) -> bool:
        """Whether that is a list of one job."""
        return False

    def check(self) -> None:
        """Raise `Invalid` when a field is missing, or it has one job only; its jobs are checked before."""
        missing = [name for name, given in (("name", self.name), ("jobs", self.jobs)) if not given]
        if missing:
            raise refusals.required(missing)
        if self.jobs and len(self.jobs) < 2:
            raise refusals.lonely(len(self.jobs))


class StagedForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A pipeline that somebody wants to be created; a list among its jobs runs side by side."""

    name: str | None = None
    description: str | None = None
    run_at: str | None = None
    jobs: list[JobForm | list[JobForm]] | None = None

    @property
    def stages(self) -> Sequence[Sequence[JobForm]]:
        """Its jobs, those together that run side by side."""
        return [job if isinstance(job, list) else [job] for job in self.jobs or ()]

    def place(self, stage: int, member: int) -> str:
        """How refusals call a job of it."""
        grouped = isinstance((self.jobs or ())[stage], list)
        return f"jobs[{stage}][{member}]: " if grouped else f"jobs[{stage}]: "

    def is_alone(self, stage: int) -> bool:
        """Whether that is a list of one job."""
        found = (self.jobs or ())[stage]
        return isinstance(found, list) and len(found) == 1

    def check(self) -> None:
        """Raise `Invalid` as for any pipeline, for an empty list, and where nothing comes before what is asked for."""
        PipelineForm(name=self.name, jobs=[job for stage in self.stages for job in stage]).check()
        empty = next((number for number, stage in enumerate(self.stages) if not stage), None)
        if empty is not None:
            raise Invalid(f"jobs[{empty}] has no jobs: leave it out, or say what is to run side by side")
        if any(job.use_previous_results for job in self.stages[0]):
            raise Invalid("nothing comes before jobs[0] whose results it could use: leave use_previous_results out")


class BatchForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Several jobs that somebody wants to be created, all of them or none."""

    jobs: list[JobForm] | None = None

    def check(self) -> None:
        """Raise `Invalid` for none, or more than `MOST` of them."""
        if not self.jobs:
            raise refusals.required(["jobs"])
        if len(self.jobs) > MOST:
            raise Invalid(f"a batch has at most {MOST} jobs, {len(self.jobs)} given")


class EditForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody wants a job or pipeline to be called; absent: as it was."""

    name: str | None = None
    description: str | None = None


def moment(text: str | None) -> Moment | None:
    """When something shall run; None: at once. Raises `Invalid` with Go's words."""
    if not text:
        return None
    try:
        found = gotime.parse(text)
    except ValueError as wrong:
        raise Invalid(str(wrong)) from None
    return None if found.is_zero else found


class Reader(Generic[F]):
    """Reads a form as Go's encoding/json would: keys in any case, unknown ones and what follows the object passed over.

    What cannot be read is refused as a whole, and not half filled in.
    """

    def __init__(self, form: type[F]) -> None:
        self._form, self._decoder = form, msgspec.json.Decoder(form)

    def read(self, body: bytes) -> F:
        """The form; raises `Invalid`."""
        try:
            return self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._read_slowly(body)

    def _read_slowly(self, body: bytes) -> F:
        try:
            return msgspec.convert(_folded(_first(body), self._form), self._form)
        except msgspec.ValidationError as wrong:
            raise Invalid(f"the body does not fit: {wrong}") from None
        except (msgspec.MsgspecError, ValueError, RecursionError) as wrong:
            why = "it is nested too deeply" if isinstance(wrong, RecursionError) else wrong
            raise Invalid(f"the body must be a JSON object: {why}") from None


def _first(body: bytes) -> object:
    """The first JSON value. Where it ends is told by one parser, what it is by the one that reads all others."""
    text = body.decode().lstrip(" \t\r\n")
    _, end = json.JSONDecoder().raw_decode(text)
    return msgspec.json.decode(text[:end])


def _folded(value: object, form: type[msgspec.Struct]) -> object:
    """Keys as the form spells them, others left out; null is absent."""
    if not isinstance(value, dict):
        return value
    named = cast("dict[str, object]", value)
    spelt = {name.lower(): given for name, given in named.items()}
    fields = {name: spelt[name] for name in form.__struct_fields__ if spelt.get(name) is not None}
    if "jobs" in fields:
        fields["jobs"] = _folded_jobs(fields["jobs"])
    return fields


def _folded_jobs(value: object) -> object:
    """Jobs, and lists of them."""
    if isinstance(value, list):
        return [_folded_jobs(one) for one in cast("list[object]", value)]
    return _folded(value, JobForm)
