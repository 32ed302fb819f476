"""What a client asks, as data: checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from worksong.domain.errors import InvalidArguments
from worksong.service.keys import LONGEST as LONGEST_KEY

T = TypeVar("T")
Moment = datetime | timedelta | float | None
"""A time with its zone, or how long from now; None: at once."""


class Request(NamedTuple, Generic[T]):
    """One request, and what its answer is read as; `NoneType`: it has no body."""

    method: str
    path: str
    answer: type[T]
    body: bytes | None = None
    query: Mapping[str, str] = {}
    key: str | None = None
    """Its Idempotency-Key."""
    patience: float = 0.0
    """Seconds that the service may wait before it answers, beside those of the network."""

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent again when nobody knows whether it arrived."""
        return self.method == "GET" or self.key is not None


class Step(msgspec.Struct, frozen=True):
    """A job of a pipeline."""

    task: str
    params: Mapping[str, Any] = {}
    previous: bool = False
    """Whether it is given what the step before returned."""
    name: str = ""
    """The task's, unless it is said."""
    description: str = ""
    timeout: int = 0
    """In the service's unit; 0: as long as its job type may take."""


Stage: TypeAlias = Step | Sequence[Step]
"""A job of a pipeline, or several that run side by side."""


def place(*parts: str) -> str:
    """A path; ids are texts of others."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def job_body(step: Step, run_at: Moment) -> dict[str, Any]:
    """A job to be created."""
    if not step.task:
        raise InvalidArguments("a job needs a task: the name of one that the service knows, see tasks()")
    return {
        "name": step.name or step.task,
        "task_name": step.task,
        **_said(description=step.description, timeout=step.timeout, run_at=_moment(run_at)),
        **_said(task_params=dict(step.params), use_previous_results=step.previous),
    }


def pipeline_body(name: str, stages: Sequence[Stage], description: str, run_at: Moment) -> dict[str, Any]:
    """A pipeline to be created."""
    jobs = [
        job_body(stage, None) if isinstance(stage, Step) else [job_body(step, None) for step in stage]
        for stage in stages
    ]
    return {"name": name, "jobs": jobs, **_said(description=description, run_at=_moment(run_at))}


def edit_body(name: str | None, description: str | None) -> dict[str, Any]:
    """What something shall be called; None: as it was."""
    given = {"name": name, "description": description}
    return {field: text for field, text in given.items() if text is not None}


def check_key(key: str | None) -> None:
    """Refuse a key that could not be sent, or not as it was given: whoever has one counts on being heard once."""
    if key is None:
        return
    is_text = isinstance(key, str) and key.isascii() and key.isprintable()
    if not is_text or not 0 < len(key) <= LONGEST_KEY or key != key.strip():
        raise InvalidArguments(
            f"a key has 1 to {LONGEST_KEY} printable ASCII characters, and no space at its ends, not {key!r:.100}"
        )


def encoded(body: object) -> bytes:
    """A body as it is sent; raises `InvalidArguments` for what JSON cannot say."""
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError) as wrong:
        raise InvalidArguments(f"the parameters cannot be sent as JSON: {wrong}") from wrong


def _said(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _moment(given: Moment) -> str:
    if given is None:
        return ""
    if isinstance(given, bool) or not isinstance(given, (datetime, timedelta, int, float)):
        raise InvalidArguments(f"run_at is a datetime, a timedelta or a number of seconds, not {given!r:.100}")
    if not isinstance(given, datetime):
        try:
            given = datetime.now(UTC) + (given if isinstance(given, timedelta) else timedelta(seconds=given))
        except (OverflowError, ValueError):
            raise InvalidArguments(f"run_at {given!r} is no time that can be waited for") from None
    if given.utcoffset() is None:
        raise InvalidArguments(f"run_at {given!r} has no time zone: use datetime.now(UTC) or add a tzinfo")
    return given.isoformat()
