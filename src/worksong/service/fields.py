"""Jobs and views as plain fields for programs, and the parts of them that people read."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from worksong.domain.job import JobView
from worksong.ports.backend import BusyView
from worksong.service.redaction import HIDDEN, redacted, without_logins

LONGEST = 8192


def job_fields(view: JobView, *, reveal: bool) -> dict[str, Any]:
    """A job for programs: every field, times as Unix seconds."""
    job = view.job
    fields = {**plain(job), "fails": job.fails, "state": view.state.value, "at": float(view.at)}
    fields.update(reason=view.reason, raw=view.raw.decode(errors="backslashreplace")[:LONGEST] if reveal else "")
    if reveal:
        return fields
    for name in ("args", "unique_by", "meta"):
        fields[name] = redacted(fields[name])
    return {**fields, "error": without_logins(job.error), "unique_key": HIDDEN if job.unique_key else ""}


def plain(view: msgspec.Struct) -> dict[str, Any]:
    """The fields of a view for programs; times as floats, whatever the backend found."""
    fields: dict[str, Any] = msgspec.to_builtins(view)
    return {name: float(value) if name.endswith("_at") else value for name, value in fields.items()}


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
