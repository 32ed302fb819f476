"""Resque's payload <-> `Job`.

The peers' members come first, as Ruby writes them: `class`, `args`, and on the schedule `queue`. What else our workers
need lies in one last member, `worksong`, which Ruby and node-resque carry along or ignore, and which Ruby's scheduler
and goworker drop. A payload without it is a foreign one: its id is derived from its class and the bytes of its
arguments, so equal ones have one id, and are distinct jobs all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job
from worksong.domain.poison import Reason
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
    listed: Any = [] if not args else [args] if isinstance(args, Mapping) else args
    try:
        return gojson.prepare(listed, max_int=gojson.MAX_INT, spell=repr)
    except InvalidArguments as refused:
        if isinstance(args, Mapping):
            raise InvalidArguments(str(refused).replace("args[0]", "args", 1)) from None
        raise
