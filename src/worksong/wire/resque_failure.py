"""A document of the list of failures, as Ruby's tools read it, and as all peers write it."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from worksong.domain.job import Job
from worksong.domain.outcome import Failure
from worksong.domain.poison import Poison
from worksong.wire import gojson, resque, resque_time

UNDECODABLE = "(undecodable)"
"""The class of a failure that stands for bytes that are no job; Ruby's page needs one."""
PLAIN_ERROR = "Error"
"""The exception of an error that has no type: goworker writes no other."""
CRASHED = "worker_crashed"
"""The exception of a job that took its workers with it: that is no try of its own."""
READ = 64 * resque.LIMIT
"""Failures are read up to this size: they hold a payload and more."""

_encoder = msgspec.json.Encoder()


class Failed(NamedTuple):
    """A failure as it was read."""

    job: Job
    """With the attempt after those that failed, its error and the time of that."""
    payload: bytes
    """The bytes of the payload; empty where that is no job."""
    queue: str
    reason: str = ""
    raw: bytes = b""
    """For poison: the original bytes."""
    key: str = ""
    """For poison too large for a document: where they lie."""


def encode(payload: bytes, error: str, *, failure: Failure | None, worker: str, queue: str, now: float) -> bytes:
    """The document of a failed job; its payload must be readable."""
    kind, said, trace = PLAIN_ERROR, error, ""
    if failure is not None and error == (f"{failure.type}: {failure.message}" if failure.message else failure.type):
        kind, said, trace = failure.type, failure.message, failure.trace
    elif failure is not None:
        trace = failure.trace
    lines = [gojson.carried(line) for line in trace.splitlines()]
    return _written(_Failure(resque_time.failed_at(now), msgspec.Raw(payload), kind, said, lines, worker, queue))


def poisoned(
    raw: bytes, poison: Poison, *, job_id: str, where: str, worker: str, queue: str, now: float, key: str = ""
) -> bytes:
    """The document that keeps bytes that are no job; those that lie under `key` are left out."""
    mark = resque.Mark(poison.reason, where, key=key)
    text = f"{poison.detail}; kept under {key}" if key else raw.decode(errors="replace")
    if not key and text.encode() != raw:
        mark.base64 = raw
    own = resque.Own(job_id, poison=mark)
    payload = {"class": UNDECODABLE, "args": [text], "worksong": own}
    error = f"poison: {poison.reason}: {poison.detail:.1000}"
    return _written(_Failure(resque_time.failed_at(now), payload, "JSONDecodeError", error, [], worker, queue))


class _Failure(msgspec.Struct):
    """In the order in which Ruby writes it."""

    failed_at: str
    payload: object
    exception: str
    error: str
    backtrace: list[str]
    worker: str
    queue: str


def _written(failure: _Failure) -> bytes:
    for name in ("exception", "error", "worker", "queue"):
        setattr(failure, name, gojson.carried(getattr(failure, name)))
    return _encoder.encode(failure)


def decode(raw: bytes) -> Failed:
    """The failure in `raw`, whoever wrote it; what cannot be read is shown as what it is."""
    try:
        members = gojson.members(raw, limit=READ)
        payload = bytes(gojson.verbatim(raw).get("payload", msgspec.Raw(b"null")))
    except Poison as poison:
        unreadable = Job("", id=resque.foreign_id("", raw), error=f"unreadable failure: {poison}")
        return Failed(unreadable, b"", "", poison.reason, raw)
    queue, failed_at = _text(members.get("queue")), resque_time.read(members.get("failed_at"))
    error = _error(members)
    try:
        document, meta = resque.parse(payload, limit=READ)
        own = document.worksong
        if own is not None and own.poison is not None:
            return _unwrapped(own, document.args, error, queue, failed_at)
        job = resque.job_of(document, meta, queue=queue)
    except Poison as poison:
        unreadable = Job("", id=resque.foreign_id("", raw), error=error or str(poison), failed_at=failed_at)
        return Failed(unreadable, b"", queue, poison.reason, payload)
    tries = job.attempt if _text(members.get("exception")) == CRASHED else job.attempt + 1
    job = msgspec.structs.replace(job, attempt=tries, error=error, failed_at=failed_at)
    return Failed(job, payload, queue)


def _unwrapped(own: resque.Own, args: msgspec.Raw, error: str, queue: str, failed_at: float) -> Failed:
    mark = own.poison
    assert mark is not None
    job = Job(UNDECODABLE, None, queue or "default", own.id, error=error, failed_at=failed_at)
    if mark.key or mark.base64 is not None:
        return Failed(job, b"", queue, mark.reason, mark.base64 or b"", mark.key)
    try:
        (text,) = msgspec.json.decode(args, type=tuple[str])
    except msgspec.ValidationError:
        text = ""
    return Failed(job, b"", queue, mark.reason, text.encode())


def _error(members: dict[str, Any]) -> str:
    kind, said = _text(members.get("exception")), _text(members.get("error"))
    if kind in ("", PLAIN_ERROR) or said.startswith("poison: "):
        return said
    return f"{kind}: {said}" if said else kind


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
