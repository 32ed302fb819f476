"""All that is known of one job, as fields that may be shown."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from worksong.domain.lifecycle import State
from worksong.domain.result import Result
from worksong.domain.why import Facts, Reason
from worksong.service.fields import LONGEST
from worksong.service.redaction import redacted, without_logins


class Dossier(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one job."""

    id: str
    state: State | None
    job: dict[str, Any] | None
    reasons: list[tuple[Reason, str]]
    facts: dict[str, Any]
    busy: dict[str, Any] | None
    result: dict[str, Any] | None
    max_fails: int | None
    attempts: list[dict[str, Any]] | None
    """Those that failed, the latest first; None: the store is told nothing of them."""


def facts_fields(facts: Facts) -> dict[str, Any]:
    """What is known about a job, without the job."""
    fields: dict[str, Any] = msgspec.to_builtins(replace(facts, job=None))
    return fields | {"checkin": without_logins(facts.checkin)}


def result_fields(found: Result) -> dict[str, Any]:
    """A result for programs."""
    failure = found.failure
    return {
        "at": float(found.at),
        "ended": "failed" if failure else "succeeded",
        "value": None if failure or found.lost else _value(found.value),
        "error": without_logins(": ".join(filter(None, (failure.type, failure.message)))) if failure else "",
        "trace": without_logins(failure.trace) if failure else "",
        "lost": without_logins(found.lost),
    }


def _value(text: bytes) -> object:
    if len(text) > LONGEST:
        return f"({len(text):,} bytes)"
    try:
        return redacted(msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "(unreadable)"
