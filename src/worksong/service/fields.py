"""Jobs and views as plain fields for programs, and the parts of them that people read."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, cast

import msgspec

from worksong.domain.job import Job, JobView
from worksong.domain.pipeline import META, way_of
from worksong.engine.vitals import Vitals
from worksong.ports.backend import BusyView
from worksong.service.redaction import HIDDEN, redacted, without_logins

LONGEST = 8192

_PROGRESS = re.compile(r"(\d{1,15})/(\d{1,15})")


def job_fields(view: JobView, *, reveal: bool, hidden: Collection[str] = ()) -> dict[str, Any]:
    """A job for programs: every field, times as Unix seconds; `hidden`: arguments that its type does not show."""
    job = view.job
    fields = {**plain(job), "fails": job.fails, "state": view.state.value, "at": float(view.at)}
    fields.update(reason=view.reason, raw=view.raw.decode(errors="backslashreplace")[:LONGEST] if reveal else "")
    if reveal:
        return fields
    fields["meta"] = _meta(job)
    for name in ("args", "unique_by", "meta"):
        fields[name] = redacted(without(fields[name], hidden))
    return {**fields, "error": without_logins(job.error), "unique_key": HIDDEN if job.unique_key else ""}


def _meta(job: Job) -> dict[str, Any]:
    """Of the steps behind this one only their names: what their job types hide of the arguments is not known here."""
    meta: dict[str, Any] = msgspec.to_builtins(job.meta) or {}
    if META not in meta:
        return meta
    way = way_of(job)
    if way is None:
        return {**meta, META: HIDDEN}
    shown = {name: getattr(way, name) for name in ("id", "name", "stage", "stages", "member", "width")}
    return {**meta, META: {**shown, "rest": [[step.handler for step in stage] for stage in way.rest]}}


def plain(view: msgspec.Struct) -> dict[str, Any]:
    """The fields of a view for programs; times as floats, whatever the backend found."""
    fields: dict[str, Any] = msgspec.to_builtins(view)
    return {name: float(value) if name.endswith("_at") else value for name, value in fields.items()}


def vitals_fields(vitals: Vitals | None) -> dict[str, Any]:
    """How a process is, for programs: bytes and seconds, None where it does not tell."""
    memory = vitals.memory if vitals and vitals.memory else None
    return {"memory": memory, "loop_lag": float(vitals.lag) if vitals else None}


def last_line(error: str) -> str:
    """Of a traceback, the line that says what was wrong."""
    lines = error.strip().splitlines()
    return lines[-1] if lines else ""


def arguments(view: BusyView) -> object:
    """What the JSON text holds; what cannot be read cannot be searched for secrets, and is not shown."""
    try:
        return json.loads(view.args) if view.args else None
    except (ValueError, RecursionError):
        return "(unreadable)"


def without(args: object, hidden: Collection[str]) -> object:
    """The arguments without the values of `hidden` ones; of a list, which tells no names, nothing is left then."""
    if not hidden:
        return args
    if isinstance(args, Mapping):
        named = cast("Mapping[str, object]", args)
        return {name: HIDDEN if name in hidden else value for name, value in named.items()}
    if isinstance(args, list):
        every = cast("list[object]", args)
        if len(every) == 1 and isinstance(every[0], Mapping):  # named ones, on a wire that carries lists
            return [without(cast("Mapping[str, object]", every[0]), hidden)]
        return [HIDDEN for _ in every]
    return args


def steps(checkin: str) -> tuple[int, int] | None:
    """(done, of how many) of a check-in that says so, as `ctx.progress` writes it."""
    found = _PROGRESS.fullmatch(checkin)
    return (int(found[1]), int(found[2])) if found and int(found[2]) else None
