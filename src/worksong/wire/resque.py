"""Resque's payload <-> `Job`.

The peers' members come first, as Ruby writes them: `class`, `args`, and on the schedule `queue`. What else our workers
need lies in one last member, `worksong`, which Ruby and node-resque carry along or ignore, and which Ruby's scheduler
and goworker drop. A payload without it is a foreign one: its id is derived from its class and the bytes of its
arguments, so equal ones have one id, and are distinct jobs all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast

import msgspec
from msgspec.structs import replace

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Args, Job
from worksong.domain.poison import Poison, Reason
from worksong.wire import gojson

LIMIT = 1 << 20
"""The largest payload that is read: 1 MiB."""
FOREIGN = "resque:"
"""How the ids of foreign jobs begin."""
_RESERVED = ("class", "args", "queue", "worksong")

Seconds = int | float


class Mark(msgspec.Struct, omit_defaults=True):
    """On a failure that stands for bytes that are no job."""

    reason: Reason
    where: str
    base64: bytes | None = None
    """The original bytes, where they are no text; a text is the only argument."""
    key: str = ""
    """Where they lie, if they are too many for a document."""


class Own(msgspec.Struct, omit_defaults=True):
    """The last member of what worksong writes."""

    id: str
    enqueued_at: Seconds = 0
    positional: bool = False
    """The one object among the arguments is no set of named ones."""
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**53)] = 1
    error: str = ""
    failed_at: Seconds = 0
    poison: Mark | None = None
    n: int = 0
    """By which the server orders what several queues hold; it adds it itself."""


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    handler: str = msgspec.field(name="class")
    args: msgspec.Raw = msgspec.Raw(b"null")
    queue: str = ""
    worksong: Own | None = None


_document = msgspec.json.Decoder(_Document)
_value = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


# out


def encode(job: Job, *, plain: bool = False, delayed: bool = False) -> bytes:
    """The payload of `job`, or `InvalidArguments`. `plain`: nothing but what Ruby writes; `delayed`: with its queue."""
    members: dict[str, Any] = {"class": job.handler, "args": _listed(job.args)}
    if delayed:
        members["queue"] = job.queue
    for name, value in job.meta.items():
        if name in _RESERVED:
            raise InvalidArguments(f"meta.{name} is the name of a member that every job has: choose another one")
        members[name] = gojson.prepare(value, max_int=gojson.MAX_INT, root=f"meta.{name}", spell=repr)
    if not plain:
        members["worksong"] = _own(job)
    try:
        return _encoder.encode(members)
    except UnicodeEncodeError:
        texts = {"args": job.args, "handler": job.handler, "id": job.id, "queue": job.queue, "meta": job.meta}
        gojson.check(texts, root="job")  # raises, and says where the half of a surrogate pair is
        raise


def _own(job: Job) -> Own:
    positional = isinstance(job.args, list) and len(job.args) == 1 and isinstance(job.args[0], dict)
    return Own(job.id, number(job.enqueued_at), positional, job.attempt, gojson.carried(job.error), int(job.failed_at))


def _listed(args: object) -> Any:
    """What Resque carries: a list; a set of named arguments is its only item."""
    if args and not isinstance(args, (list, tuple, Mapping)):
        raise InvalidArguments(f"args is of type {type(args).__name__}; Resque carries a list, a dict or None")
    listed: list[Any] = [args] if args and isinstance(args, Mapping) else list(cast("Iterable[Any]", args or ()))
    try:
        return gojson.prepare(listed, max_int=gojson.MAX_INT, spell=repr)
    except InvalidArguments as refused:
        if isinstance(args, Mapping):
            raise InvalidArguments(str(refused).replace("args[0]", "args", 1)) from None
        raise


def number(seconds: float) -> Seconds:
    """Whole seconds without a point, others to the millisecond."""
    return int(seconds) if seconds == int(seconds) else round(seconds, 3)


# in


def decode(raw: bytes, *, queue: str = "", limit: int = LIMIT) -> Job:
    """The job in `raw`, or `Poison`; `queue` is where it lies, which says more than a member of that name."""
    return job_of(*parse(raw, limit=limit), queue=queue)


def parse(raw: bytes, *, limit: int = LIMIT) -> tuple[_Document, dict[str, Any]]:
    """The known members and the others."""
    if len(raw) > gojson.HARMLESS:
        gojson.guard(raw, limit=limit)
    if raw.count(b'"class"') > 1 or raw.count(b'"args"') > 1 or raw.count(b'"worksong"') > 1:
        gojson.refuse_repeats(raw, "class", "args", "worksong")
    try:
        return _document.decode(raw), {}
    except msgspec.ValidationError:
        return _parse_with_care(raw, limit)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise gojson.fault(raw, error) from None


def _parse_with_care(raw: bytes, limit: int) -> tuple[_Document, dict[str, Any]]:
    """What the typed decoder refuses: null and unknown members, and poison."""
    meta = gojson.members(raw, limit=limit)
    handler, args, queue, own = (meta.pop(name, None) for name in _RESERVED)
    if handler is None:
        raise Poison(Reason.MISSING_NAME, "the payload names no class")
    for name, value, kind in (("class", handler, str), ("queue", queue, str), ("worksong", own, dict)):
        if value is not None and not isinstance(value, kind):
            raise Poison(Reason.BAD_FIELD_TYPE, f"{name} is of type {type(value).__name__}, not {kind.__name__}")
    try:
        ours = None if own is None else msgspec.convert(own, Own)
    except msgspec.ValidationError as wrong:
        raise Poison(Reason.BAD_FIELD_TYPE, f"worksong: {wrong}") from None
    text = gojson.verbatim(raw).get("args") if args is not None else None
    return _Document(cast("str", handler), text or msgspec.Raw(b"null"), cast("str", queue) or "", ours), meta


def job_of(document: _Document, meta: dict[str, Any], *, queue: str = "") -> Job:
    """The job that the members are."""
    if not document.handler:
        raise Poison(Reason.MISSING_NAME, "the payload names no class")
    own, args = document.worksong, _arguments(document)
    place = queue or document.queue or "default"
    if own is None:
        return Job(document.handler, args, place, foreign_id(document.handler, bytes(document.args)), meta=meta)
    if len(args or ()) == 1 and not own.positional and isinstance(cast("list[Any]", args)[0], dict):
        args = cast("list[Any]", args)[0]
    return Job(
        document.handler,
        args,
        place,
        own.id,
        enqueued_at=own.enqueued_at,
        attempt=own.attempt,
        error=own.error,
        failed_at=own.failed_at,
        meta=meta,
    )


def _arguments(document: _Document) -> Args:
    raw = bytes(document.args)
    try:
        args = _value.decode(raw)
    except msgspec.ValidationError as error:
        raise Poison(Reason.BAD_NUMBER, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise gojson.fault(raw, error) from None
    if args is not None and not isinstance(args, list):
        raise Poison(Reason.BAD_ARGS, f"args is of type {type(args).__name__}, not a list")
    return cast("list[Any]", args) or None


def foreign_id(handler: str, args: bytes) -> str:
    """The id of a job that nobody gave one."""
    told = handler.encode("utf-8", "surrogatepass") + b"\0" + (b"[]" if args == b"null" else args)
    return FOREIGN + hashlib.sha1(told, usedforsecurity=False).hexdigest()[:24]


def is_bare(job: Job) -> bool:
    """Whether its payload tells nothing of its tries."""
    return job.id.startswith(FOREIGN) and job.attempt == 1


def is_numbered(raw: bytes) -> bool:
    """Whether a payload ends in our member, which the server numbers."""
    return next(reversed(gojson.verbatim(raw)), "") == "worksong"


# anew


def rewrite(raw: bytes, job: Job, *, queue: str | None = None, plain: bool = False, **changes: Any) -> bytes:
    """The payload in `raw` of `job`, not a byte of the values of the peers' members changed.

    `queue` is written as a member, or none is. With `changes`, they are made in our member, which a foreign payload
    then gets, unless all must be `plain`. What orders the queues is dropped: it is given anew.
    """
    members: dict[str, Any] = {**gojson.verbatim(raw)}
    text = members.pop("worksong", None)
    if queue is None:
        members.pop("queue", None)
    elif "queue" not in members or _value.decode(members["queue"]) != queue:
        members = {name: members[name] for name in ("class", "args") if name in members} | {"queue": queue} | members
        members["queue"] = queue
    if not plain and (text is not None or changes):
        own = Own(job.id) if text is None else msgspec.json.decode(text, type=Own)
        members["worksong"] = replace(own, n=0, **changes)
    return _encoder.encode(members)


def queued(raw: bytes, job: Job, now: float) -> bytes:
    """What a due payload becomes in its queue: of a foreign one what the scheduler of its own kind would write."""
    members = gojson.verbatim(raw)
    if "worksong" in members:
        return rewrite(raw, job, enqueued_at=number(now))
    return rewrite(raw, job) if next(reversed(members)) == "queue" else raw


def revived(raw: bytes, job: Job, now: float) -> bytes:
    """What a payload among the failures becomes in its queue: as it was before it failed for the first time."""
    if "worksong" not in gojson.verbatim(raw):
        return raw
    return rewrite(raw, job, attempt=1, error="", failed_at=0, enqueued_at=number(now))


def identity(job: Job) -> str:
    """What resque-retry and node count retries by: the class, and the arguments joined by hyphens."""
    args = [job.args] if isinstance(job.args, dict) else job.args or []
    joined = "-".join(map(_joined, args))
    told = "".join(f"{job.handler}:{joined}".split()) if joined else job.handler
    if len(told) > 512:
        return f"{job.handler}:{hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()}"
    return told


def _joined(value: object) -> str:
    """As Ruby's Array#join writes it; an object as JSON, as node does."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "-".join(map(_joined, cast("list[object]", value)))
    return _encoder.encode(value).decode()


def record(raw: bytes, queue: str, run_at: str) -> bytes:
    """What a busy worker does, as Ruby writes it; `raw` must be readable."""
    return _encoder.encode({"queue": queue, "run_at": run_at, "payload": msgspec.Raw(raw)})
