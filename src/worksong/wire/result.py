"""Results as JSON documents: what a handler returned, or what became of it instead."""

from __future__ import annotations

import msgspec

from worksong.domain.errors import InvalidArguments
from worksong.domain.outcome import Buried, Discarded, Done, Failure, Outcome
from worksong.domain.result import Result
from worksong.wire import gojson

LARGEST = 1 << 20
"""Bytes of a value that are kept."""


class _Document(msgspec.Struct, omit_defaults=True):
    at: float
    value: msgspec.Raw = msgspec.Raw(b"null")
    failure: Failure | None = None
    lost: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Document)


def of(job_id: str, outcome: Outcome, now: float) -> Result | None:
    """What to keep of an ending; None: the job has not ended yet."""
    match outcome:
        case Done():
            return Result(job_id, now) if outcome.value is None else _kept(job_id, outcome.value, now)
        case Buried(error, failure):
            return Result(job_id, now, failure=failure or Failure("", gojson.carried(error)))
        case Discarded(reason, failure):
            return Result(job_id, now, failure=failure or Failure("Discarded", gojson.carried(reason)))
        case _:
            return None


def _kept(job_id: str, value: object, now: float) -> Result:
    """The job has succeeded, whatever its value is like: one that cannot be kept is told of, not raised."""
    try:
        text = gojson.encode(gojson.dumped(value), legacy=False, root="the result")
    except (InvalidArguments, ValueError, RecursionError) as unfit:
        return Result(job_id, now, lost=str(unfit))
    if len(text) > LARGEST:
        return Result(job_id, now, lost=f"it takes {len(text):,} bytes, more than {LARGEST:,}; store it elsewhere")
    return Result(job_id, now, text)


def encode(result: Result) -> bytes:
    """The document of a result."""
    return _encoder.encode(_Document(result.at, msgspec.Raw(result.value), result.failure, result.lost))


def decode(job_id: str, document: bytes) -> Result:
    """The result in a document; one that cannot be read is a value that is lost."""
    try:
        found = _decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        return Result(job_id, 0.0, lost=f"what is stored cannot be read: {wrong}")
    return Result(job_id, found.at, bytes(found.value), found.failure, found.lost)
