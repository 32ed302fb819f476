"""Buffalo's AMQP message <-> `Job`.

Go's adapter writes the arguments as the body, and nothing else: the job type is the queue. We write the same body, and
beside it properties and headers that Go ignores. All of them may be missing in what is read, or be of any type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from worksong.domain.errors import InvalidArguments, PayloadTooLarge
from worksong.domain.job import Job, new_id
from worksong.domain.poison import Poison, Reason
from worksong.wire import gojson
from worksong.wire.amqp_table import finite

LIMIT = 1 << 20
"""Bytes of the largest body that is read."""
WRITTEN = LIMIT - 1024
ERROR_KEPT = 16_000
"""Characters of an error: all headers of a message must fit into one frame."""
ATTEMPT = "x-job-attempt"
ENQUEUED_AT = "x-job-enqueued-at"
RUN_AT = "x-job-run-at"
QUEUE = "x-job-queue"
META = "x-job-meta"
ERROR_CLASS = "x-error-class"
ERROR = "x-error-message"
ATTEMPTS = "x-attempts"
FAILED_AT = "x-failed-at"
FIRST_FAILED_AT = "x-first-failed-at"
REASON = "x-poison-reason"
TICKET = "x-job-ticket"
"""By which a worker knows the copy that it made for itself."""
POISON = "poison"
_FAR = 1e12
"""No time is so late."""
_OURS = frozenset(
    {ATTEMPT, ENQUEUED_AT, RUN_AT, QUEUE, META, ERROR_CLASS, ERROR, ATTEMPTS, FAILED_AT, FIRST_FAILED_AT, TICKET}
)
_BROKERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", "x-opt-")
"""Headers that the server adds, and that no copy may carry: it counts them to find messages that go in circles."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """What is published of a job. Always persistent, and of the type application/json."""

    body: bytes
    id: str
    type: str
    timestamp: int
    headers: Mapping[str, Any]


class Received(msgspec.Struct, frozen=True, gc=False):
    """What came from a queue."""

    body: bytes
    id: str | None
    timestamp: int | None
    headers: Mapping[str, Any]
    redelivered: bool = False
    wrong: str = ""
    """Why its properties could not be read."""


def encode(job: Job, *, run_at: float = 0.0) -> Message:
    """The message of a job that waits, until `run_at` if that is set; refuses what the format cannot carry."""
    return Message(_body(job), job.id, job.handler, int(job.enqueued_at), _headers(job, run_at))


def _body(job: Job) -> bytes:
    """Always an object: what Go's adapter makes of `null` crashes handlers that write to it."""
    args = {} if job.args is None else job.args
    if not isinstance(args, dict):
        raise InvalidArguments(f"job {job.handler!r}: AMQP messages of Buffalo carry arguments by name: pass a dict")
    body = gojson.encode(args, max_int=gojson.MAX_INT)
    if len(body) > WRITTEN:
        raise PayloadTooLarge(
            f"job {job.handler!r}: its arguments take {len(body):,} bytes, {WRITTEN:,} are allowed: "
            "store the data elsewhere and pass its id"
        )
    return body


def _headers(job: Job, run_at: float) -> dict[str, Any]:
    headers: dict[str, Any] = {ENQUEUED_AT: milliseconds(job.enqueued_at)}
    if run_at:
        headers[RUN_AT] = milliseconds(run_at)
    if job.attempt != 1:
        headers[ATTEMPT] = job.attempt
    if job.queue != "default":
        headers[QUEUE] = job.queue
    if job.error:
        headers[ERROR] = _shortened(job.error)
        headers[FAILED_AT] = milliseconds(job.failed_at)
    if job.meta:
        headers[META] = gojson.encode(job.meta, root="meta").decode()
    return headers


def again(received: Received, job: Job, *, run_at: float = 0.0) -> Message:
    """The same message once more, as the job now is, for `run_at` if that is set: its body untouched."""
    headers = {**kept(received.headers), **_headers(job, run_at)}
    if first := received.headers.get(FIRST_FAILED_AT) or (job.fails and headers.get(FAILED_AT)):
        headers[FIRST_FAILED_AT] = first
    return Message(received.body, job.id, job.handler, int(job.enqueued_at), headers)


def held(received: Received, job: Job, ticket: str) -> Message:
    """The message of a job that runs, for whoever runs it."""
    message = again(received, job)
    return msgspec.structs.replace(message, headers={**message.headers, TICKET: ticket})


def dead(received: Received, job: Job, error_class: str) -> Message:
    """The message of a job that failed for good."""
    message = again(received, job)
    return msgspec.structs.replace(message, headers={**message.headers, ERROR_CLASS: error_class, ATTEMPTS: job.fails})


def revived(received: Received, handler: str, now: float) -> Message:
    """A dead message as one that waits, its failures forgotten."""
    headers = {**kept(received.headers), ENQUEUED_AT: milliseconds(now)}
    for name in (QUEUE, META):
        if name in received.headers:
            headers[name] = received.headers[name]
    return Message(received.body, received.id or new_id(), handler, int(now), headers)


def milliseconds(at: float) -> int:
    """A time as headers have it. Rounded up: never early."""
    return math.ceil(at * 1000)


def poison(received: Received, handler: str, wrong: Poison, now: float) -> Message:
    """For the dead: the bytes exactly as they came, and what is wrong with them."""
    headers = {
        **kept(received.headers),
        ERROR_CLASS: POISON,
        ERROR: _shortened(f"poison: {wrong.reason}: {wrong.detail:.1000}"),
        REASON: str(wrong.reason),
        FAILED_AT: milliseconds(now),
    }
    return Message(received.body, received.id or new_id(), handler, int(now), headers)


def kept(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Headers of others, which a copy carries on."""
    return {
        name: value
        for name, value in headers.items()
        if name not in _OURS and name != REASON and not name.startswith(_BROKERS)
    }


def _shortened(error: str) -> str:
    text = gojson.carried(error)
    if len(text) <= ERROR_KEPT:
        return text
    return f"{text[: ERROR_KEPT // 2]} … {text[-ERROR_KEPT // 2 :]}"


def decode(received: Received, handler: str, *, repair: bool = False) -> Job:
    """The job in a message, or `Poison`. One without an id gets a new one; its copies keep that.

    `repair`: wait for what Go's adapter meant by a delay, a thousand times what it asked the server for.
    """
    if received.wrong:
        raise Poison(Reason.BAD_FIELD_TYPE, received.wrong)
    args = _args(received.body)
    headers = received.headers
    if not headers:
        return Job(handler, args, id=received.id or new_id(), enqueued_at=float(received.timestamp or 0))
    enqueued_at = time_of(headers, ENQUEUED_AT) or float(received.timestamp or 0)
    run_at = time_of(headers, RUN_AT)
    ready_at = died(headers)
    if run_at:
        enqueued_at = max(run_at, ready_at)
    elif repair and ready_at:
        run_at = _meant(headers, handler, ready_at)
    attempt = headers.get(ATTEMPT)
    return Job(
        handler=handler,
        args=args,
        queue=text_of(headers.get(QUEUE)) or "default",
        id=received.id or new_id(),
        enqueued_at=enqueued_at,
        run_at=run_at,
        attempt=attempt if isinstance(attempt, int) and 0 < attempt < 2**31 else 1,
        error=text_of(headers.get(ERROR)),
        failed_at=time_of(headers, FAILED_AT),
        meta=_meta(headers.get(META)),
    )


_args_reader = msgspec.json.Decoder(dict[str, Any] | None)


def _args(body: bytes) -> dict[str, Any]:
    if len(body) > gojson.HARMLESS:
        gojson.guard(body, limit=LIMIT)
    try:
        return _args_reader.decode(body) or {}
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError):
        value = gojson.document(body, limit=LIMIT)  # says what is wrong
    raise Poison(Reason.NOT_AN_OBJECT, f"the body is of type {type(value).__name__}, not an object")


def died(headers: Mapping[str, Any]) -> float:
    """When the message left the delay queue it came from, in whole seconds; 0: it came from none."""
    deaths = headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], dict):
        return 0.0
    return finite(cast("dict[str, Any]", deaths[0]).get("time"), _FAR)


def _meant(headers: Mapping[str, Any], handler: str, ready_at: float) -> float:
    first = text_of(headers.get("x-first-death-queue"))
    found = re.fullmatch(rf"{re.escape(handler)}_delayed_(\d{{1,9}})", first)
    return ready_at + int(found[1]) if found else 0.0


def time_of(headers: Mapping[str, Any], name: str) -> float:
    """A header that is a time, in seconds; 0.0 when it is none."""
    return finite(headers.get(name), _FAR * 1000) / 1000


def text_of(value: object) -> str:
    """A header that is a text; empty when it is none."""
    return value if isinstance(value, str) else ""


def _meta(value: object) -> dict[str, Any]:
    if not isinstance(value, str):
        return {}
    try:
        return gojson.members(value.encode(), limit=LIMIT)
    except (Poison, UnicodeEncodeError):
        return {}
