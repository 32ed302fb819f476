"""gocraft/work's job document <-> `Job`.

Go's members come first, in Go's order, and are left out when Go leaves them out. After them, carried for our own
workers: `queue` (when it is not "default"), `unique_until` ("done"), and whatever else the job's `meta` holds. Go
workers ignore these and drop them when they write a failed job again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, cast

import msgspec

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job
from worksong.domain.poison import Poison, Reason
from worksong.wire import gojson

LIMIT = 1 << 20
"""The largest document that is read: 1 MiB."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Document(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Go's members in Go's order, then ours; the first four are always written."""

    name: str
    id: str
    t: Int64
    args: dict[str, Any] | None
    unique: bool = False
    unique_key: str = ""
    fails: Int64 = 0
    err: str = ""
    failed_at: Int64 = 0
    queue: str = "default"
    unique_until: Literal["", "done"] = ""


_OWN = ("queue", "unique_until")
_ORDER = {name: place for place, name in enumerate(_Document.__struct_fields__)}
_FOLDED = {name: name for name in _ORDER if name not in _OWN}
_KINDS: dict[str, type] = {
    **dict.fromkeys(("name", "id", "unique_key", "err"), str),
    **dict.fromkeys(("t", "fails", "failed_at"), int),
    "args": dict,
    "unique": bool,
}
_document = msgspec.json.Decoder(_Document)
_in_order = msgspec.json.Encoder()


def encode(job: Job, *, legacy: bool = True, max_int: int | None = gojson.MAX_INT) -> bytes:
    """The document of `job`, or `InvalidArguments`. `legacy` and `max_int` are those of `gojson.encode`.

    `run_at` and `unique_by` have no member: the one is a score, the other part of `unique_key`.
    """
    args = job.args if job.args is None else _named(job.args, max_int)
    try:
        text = _written(job, args, legacy)
    except UnicodeEncodeError:
        texts = {name: getattr(job, name) for name in ("args", "handler", "id", "unique_key", "queue")}
        text = gojson.encode(texts, root="job")  # raises, and says where the half of a surrogate pair is
    if not job.handler:
        text = text.replace(b'"name":"",', b"", 1)
    return _with_meta(text, job.meta, legacy, max_int) if job.meta else text


def _named(args: object, max_int: int | None) -> dict[str, Any]:
    if isinstance(args, list | tuple):
        raise InvalidArguments(
            "gocraft/work carries arguments by name only: pass a dict, such as args={'items': [...]}"
        )
    tree = gojson.prepare(args, max_int=max_int)
    if not isinstance(tree, dict):
        raise InvalidArguments(f"args is of type {type(args).__name__}; gocraft/work carries a dict or None")
    return cast("dict[str, Any]", tree)


def _written(job: Job, args: dict[str, Any] | None, legacy: bool) -> bytes:
    document = _Document(
        job.handler,
        job.id,
        int(job.enqueued_at),
        args,
        job.unique is not None,
        job.unique_key,
        job.attempt - 1,
        gojson.carried(job.error),
        int(job.failed_at),
        job.queue,
        "done" if job.unique == "until_done" else "",
    )
    return gojson.dump(document, legacy=legacy)


def _with_meta(text: bytes, meta: dict[str, Any], legacy: bool, max_int: int | None) -> bytes:
    for name in meta:
        if name in _OWN or name.casefold() in _FOLDED:
            raise InvalidArguments(f"meta.{name} is the name of a member that every job has: choose another one")
    return text[:-1] + b"," + gojson.encode(meta, legacy=legacy, max_int=max_int, root="meta")[1:]


def decode(raw: bytes, *, limit: int = LIMIT) -> Job:
    """The job in `raw`, or `Poison`.

    Reads what Go reads - names of members in any case, missing and null members, unknown ones - and in one point more:
    whole numbers written as floats in `t`, `fails` and `failed_at`. Refuses a repeated `name` or `id`.
    """
    if len(raw) > gojson.HARMLESS:
        gojson.guard(raw, limit=limit)
    if raw.count(b'"name"') > 1 or raw.count(b'"id"') > 1:
        gojson.refuse_repeats(raw, "name", "id")
    try:
        document = _document.decode(raw)
    except msgspec.ValidationError:
        return _decode_with_care(raw, limit)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise gojson.fault(raw, error) from None
    return _job(document)


def _job(document: _Document, meta: dict[str, Any] | None = None) -> Job:
    if not document.name:
        raise Poison(Reason.MISSING_NAME, "the document names no job type")
    return Job(
        document.name,
        document.args,
        document.queue,
        document.id,
        None if not document.unique else "until_done" if document.unique_until else "until_start",
        None,
        document.t,
        0.0,
        document.fails + 1 if document.fails > 0 else 1,
        document.err,
        document.failed_at,
        document.unique_key,
        meta or {},
    )


def _decode_with_care(raw: bytes, limit: int) -> Job:
    """What the typed decoder refuses: oddly spelt, null, missing and unknown members, and poison."""
    known: dict[str, Any] = {}
    meta: dict[str, Any] = {}
    for spelling, value in gojson.members(raw, limit=limit).items():
        name = _FOLDED.get(spelling.casefold())
        if name is not None:
            if name in known:
                raise Poison(Reason.DUPLICATE_MEMBER, f"more than one member {name}, in different cases")
            known[name] = None if value is None else _field(name, value)
        elif (spelling == "queue" and isinstance(value, str)) or (spelling == "unique_until" and value == "done"):
            known[spelling] = value
        else:
            meta[spelling] = value
    empty: dict[str, Any] = {"name": "", "id": "", "t": 0, "args": None}
    return _job(_Document(**empty | {name: value for name, value in known.items() if value is not None}), meta)


def _field(name: str, value: object) -> object:
    kind = _KINDS[name]
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not kind:
        raise Poison(Reason.BAD_FIELD_TYPE, f"{name} is of type {type(value).__name__}, not {kind.__name__}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise Poison(Reason.BAD_NUMBER, f"{name} is beyond 64 bits")
    return value


def rewrite(raw: bytes, changes: Mapping[str, object], drop: Collection[str] = ()) -> bytes:
    """The document in `raw` with some of its members changed, and not a byte of the other values.

    Members stay where they are; new ones follow in Go's order; what Go leaves out when empty is left out.
    """
    members: dict[str, Any] = {**gojson.verbatim(raw)}
    for name in drop:
        members.pop(_spelling(members, name), None)
    for name in sorted(changes, key=lambda name: _ORDER.get(name, len(_ORDER))):
        value = changes[name]
        if value or name in _ALWAYS:
            plain = gojson.carried(value) if isinstance(value, str) else value
            members[_spelling(members, name)] = msgspec.Raw(gojson.encode(plain, root=name))
        else:
            members.pop(_spelling(members, name), None)
    return _in_order.encode(members)


_ALWAYS = frozenset({"id", "t", "args"})


def _spelling(members: Mapping[str, object], name: str) -> str:
    if name in members or name not in _FOLDED:
        return name
    return next((found for found in members if found.casefold() == name), name)


def unique_key(
    prefix: str, name: str, key: Mapping[str, Any] | None, *, legacy: bool = True, root: str = "unique_by"
) -> str:
    """The lock of a unique job: `prefix` is `Keys.unique_prefix`, `key` its arguments or what stands for them.

    Ends in the newline that Go's streaming encoder adds. `legacy` and `root` are those of `gojson.encode`.
    """
    suffix = "" if key is None else f"{gojson.encode(dict(key), legacy=legacy, root=root).decode()}\n"
    return f"{prefix}{name}:{suffix}"


def wrap_poison(raw: bytes, name: str, job_id: str, *, reason: Reason, detail: str, now: float, where: str) -> bytes:
    """A document for the dead jobs that every peer can read, with the original bytes exactly as they were.

    It can be larger than `LIMIT`: six times `raw` at worst.
    """
    original = _Original(reason, gojson.carried(where))
    try:
        original.text = raw.decode()
    except UnicodeDecodeError:
        original.base64 = raw
    job = Job(
        handler=gojson.carried(name) or "poison",  # a document without name makes Redis scripts of Go peers lose it
        args=msgspec.to_builtins(_Wrapping(original)),
        id=gojson.carried(job_id),
        enqueued_at=now,
        error=f"poison: {reason}: {detail:.1000}",
        failed_at=now,
    )
    return encode(job)


def unwrap_poison(job: Job) -> tuple[Reason, bytes] | None:
    """What `wrap_poison` wrapped; its mark is in the arguments, since a retry by a Go peer removes the error."""
    if not isinstance(job.args, dict) or "poison" not in job.args:
        return None
    try:
        original = msgspec.convert(job.args, _Wrapping).poison
    except msgspec.ValidationError:
        return None
    raw = original.base64 if original.text is None else original.text.encode()
    return None if raw is None else (original.reason, raw)


class _Original(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    reason: Reason
    where: str
    text: str | None = None
    base64: bytes | None = None


class _Wrapping(msgspec.Struct, forbid_unknown_fields=True):
    poison: _Original
