"""Faktory's job payload <-> `Job`.

A job's members that the server knows are `Job`'s; all else travels in `custom`: other writers' members as `Job.meta`,
and under `worksong` what only our own workers need (whether the arguments have names, and the history of a job that was
enqueued anew under another jid). The server re-writes a payload: it drops other members, sorts the names within
`custom` and `args`, and reads every number there as a float of 64 bits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from worksong.domain.errors import InvalidArguments, PayloadTooLarge
from worksong.domain.job import Args, Job
from worksong.domain.poison import Poison, Reason
from worksong.wire import gojson

LIMIT = 1 << 20
"""Bytes of a job that is enqueued."""
READ = 4 * LIMIT
"""Bytes of a job that is read: the server has added a failure, and may have escaped much."""
SHORTEST_JID = 8
USUAL_RESERVE, SHORTEST_RESERVE, LONGEST_RESERVE = 1800, 60, 86400
"""Seconds of a reservation: when a job says nothing, at least, and at most."""
USUAL_RETRY = 25
OWN = "worksong"
"""Our member of `custom`."""

_QUEUE = re.compile(r"[a-zA-Z0-9._-]{1,200}")


class _Payload(msgspec.Struct, omit_defaults=True):
    jid: str
    jobtype: str
    args: msgspec.Raw
    queue: str
    created_at: str = ""
    at: str = ""
    retry: int = -2  # never left out: see `encode`
    reserve_for: int = 0
    custom: msgspec.Raw = msgspec.Raw(b"{}")


class History(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a job that was enqueued anew takes along, and how its arguments are to be read."""

    id: str = msgspec.field(default="", name="as")
    """The job's id, where its jid is another one. By this name it is the first member in the server's order too, and a
    pattern tells it from an `id` among the arguments."""
    named: bool = True
    """False: the list is the arguments; True: its one member is."""
    fails: int = 0
    error: str = ""
    failed_at: float = 0.0
    fence: int = 0
    """The token of the last lending."""


_payload = msgspec.json.Encoder()
_JID = re.compile(rb'"jid":("[^"\\]*")')


def encode(
    job: Job, *, jid: str = "", retry: int | None = None, reserve_for: float | None = None, fence: int = 0
) -> bytes:
    """The payload of `job`, or `InvalidArguments`. With `jid` it is enqueued anew under that, its history with it.

    `retry` and `reserve_for` as the server counts them; None: its usual ones. `retry` is always written: the server
    gives a job without it what the last PUSH said, whosever that was.
    """
    if wrong := wrong_with_queue(job.queue):
        raise InvalidArguments(f"job {job.handler!r}: {wrong}")
    if len(job.id) < SHORTEST_JID:
        raise InvalidArguments(
            f"job {job.handler!r}: the id {job.id!r} is too short for Faktory, which wants {SHORTEST_JID} characters"
        )
    history = History(named=not isinstance(job.args, list))
    if jid:
        history = History(
            named=history.named,
            id="" if jid == job.id else job.id,
            fails=job.fails,
            error=gojson.carried(job.error),
            failed_at=job.failed_at,
            fence=fence,
        )
    payload = _payload.encode(
        _Payload(
            jid=jid or job.id,
            jobtype=gojson.carried(job.handler),
            args=msgspec.Raw(_args(job.args)),
            queue=job.queue,
            created_at=stamp(job.enqueued_at) if job.enqueued_at else "",
            at=stamp(job.run_at) if job.run_at else "",
            retry=USUAL_RETRY if retry is None else retry,
            reserve_for=0 if reserve_for is None else reservation(reserve_for),
            custom=msgspec.Raw(_custom(job, history)),
        )
    )
    return _within_bounds(payload, job)


def _args(args: Args) -> bytes:
    listed = args if isinstance(args, list) else [args]
    root = "args" if listed is args else "args "  # a dict stands in a list of one: its path begins one level below
    try:
        return gojson.encode(listed, max_int=gojson.MAX_INT, root=root)
    except InvalidArguments as wrong:
        raise type(wrong)(str(wrong).replace("args [0]", "args")) from None


def _custom(job: Job, history: History) -> bytes:
    for name in job.meta:
        if name == OWN or name.startswith("_"):
            raise InvalidArguments(f"meta.{name} is a name that Faktory or worksong keeps for itself: choose another")
    own: dict[str, Any] = msgspec.to_builtins(history)
    return gojson.encode({**job.meta, OWN: own}, max_int=gojson.MAX_INT, root="meta")


def _within_bounds(payload: bytes, job: Job) -> bytes:
    if len(payload) > LIMIT:
        raise PayloadTooLarge(
            f"job {job.handler!r} takes {len(payload):,} bytes, {LIMIT:,} are allowed: "
            "store the data elsewhere and pass its id"
        )
    try:
        gojson.guard(payload, limit=LIMIT)
    except Poison as wrong:
        raise InvalidArguments(f"job {job.handler!r} could not be read again: {wrong}; flatten its arguments") from None
    return payload


def wrong_with_queue(name: str) -> str:
    """Why the server would refuse the queue; empty when it would not. It checks only when a queue is first used."""
    if _QUEUE.fullmatch(name):
        return ""
    return f"Faktory takes no queue {name!r:.100}: letters, digits and the characters . _ - are allowed"


def reservation(seconds: float) -> int:
    """The nearest that the server allows, rounded up."""
    return min(LONGEST_RESERVE, max(SHORTEST_RESERVE, math.ceil(seconds)))


class Found(msgspec.Struct, frozen=True):
    """A job as the server lends it, and what of its payload is the server's business."""

    job: Job
    jid: str
    retry: int
    failures: int
    """How often it failed under this jid."""
    reserve_for: float
    fence: int


def decode(raw: bytes) -> Found:
    """The job in a payload, or `Poison`."""
    members = gojson.members(raw, limit=READ)
    custom = members.get("custom")
    custom = dict(cast("dict[str, Any]", custom)) if isinstance(custom, dict) else {}
    history = _history(custom.pop(OWN, None))
    failure = members.get("failure")
    failure = cast("dict[str, Any]", failure) if isinstance(failure, dict) else {}
    fails, error, failed_at = _failures(failure, history)
    jid = _text(members, "jid")
    job = Job(
        _text(members, "jobtype"),
        _read_args(members.get("args"), history),
        _text(members, "queue", "default"),
        (history.id if history else "") or jid,
        enqueued_at=max(seconds(members.get("created_at")), seconds(members.get("enqueued_at"))),
        attempt=fails + 1,
        error=error,
        failed_at=failed_at,
        meta=custom,
    )
    retry, reserve = members.get("retry"), members.get("reserve_for")
    return Found(
        job,
        jid,
        USUAL_RETRY if not isinstance(retry, int) else retry,
        fails - (history.fails if history else 0),
        float(max(reserve, SHORTEST_RESERVE)) if isinstance(reserve, int) and reserve > 0 else float(USUAL_RESERVE),
        history.fence if history else 0,
    )


def _history(own: object) -> History | None:
    """None: another library wrote the job."""
    try:
        return msgspec.convert(own, History, strict=False) if own is not None else None
    except msgspec.ValidationError:
        return None


def _failures(failure: Mapping[str, Any], history: History | None) -> tuple[int, str, float]:
    """(how many, the last one's text, its time), with those from before the job was enqueued anew."""
    before = history.fails if history else 0
    count = failure.get("retry_count")
    if not isinstance(count, int):
        return (before, history.error, history.failed_at) if history else (0, "", 0.0)
    kind, message = str(failure.get("errtype") or ""), str(failure.get("message") or "")
    error = message if kind in ("", "unknown") else f"{kind}: {message}"
    return before + count + 1, error, seconds(failure.get("failed_at"))


def _text(members: Mapping[str, Any], name: str, default: str = "") -> str:
    value = members.get(name) or default
    if not isinstance(value, str) or not value:
        reason = Reason.MISSING_NAME if name == "jobtype" else Reason.BAD_FIELD_TYPE
        raise Poison(reason, f"{name} is of type {type(value).__name__}, or empty")
    return value


def _read_args(args: object, history: History | None) -> Args:
    """A list of one object that another library wrote stays a list: it may mean names or a single argument.

    Its list of one null is what fwa makes of no arguments.
    """
    if not isinstance(args, list):
        raise Poison(Reason.BAD_ARGS, f"args is of type {type(args).__name__}")
    listed = list(cast("Sequence[Any]", args))
    if history and history.named:
        first = listed[0] if listed else None
        if len(listed) > 1 or not (first is None or isinstance(first, dict)):
            raise Poison(Reason.BAD_ARGS, "args should hold one object")
        return cast("dict[str, Any] | None", first)
    return None if history is None and listed == [None] else listed


def left(retry: int, failures: int) -> int:
    """What `retry` must say of a job enqueued anew after so many failures, so that as many tries remain as before."""
    return retry if retry <= 0 else (retry - failures if retry > failures else -1)


def jid_of(raw: bytes) -> str:
    """The jid in a payload that cannot be read otherwise; empty when there is none."""
    found = _JID.search(raw)
    return msgspec.json.decode(found[1], type=str) if found else ""


# times


def stamp(at: float) -> str:
    """RFC 3339 in UTC, with microseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def seconds(text: object) -> float:
    """Unix seconds of a time; 0 for what is none: the server does not check all of them."""
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
