"""Records of the job service as documents."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from worksong.domain.errors import BackendRefused
from worksong.domain.record import Document, JobRecord, KeyRecord, PipelineRecord, ResultRecord
from worksong.ports.records import Kind, Record, Ref

D = TypeVar("D", bound=Document)

_KINDS: dict[type[Any], Kind] = {
    JobRecord: Kind.JOB,
    PipelineRecord: Kind.PIPELINE,
    ResultRecord: Kind.RESULT,
    KeyRecord: Kind.KEY,
}
_encoder = msgspec.json.Encoder()


def ref_of(kind: type[D], record_id: str) -> Ref:
    """Where the document of this kind and id is."""
    return Ref(_KINDS[kind], record_id)


def encode(document: Document, *, unsent_since: float = 0.0, until: float = 0.0, version: int = 1) -> Record:
    """The record of a document, a new one unless its `version` is said."""
    return Record(
        ref_of(type(document), document.id),
        _encoder.encode(document),
        created_at=getattr(document, "created_at", 0.0),
        status=getattr(document, "status", 0),
        unsent_since=unsent_since,
        until=until,
        version=version,
    )


def decode(record: Record, kind: type[D]) -> D:
    """The document in a record; raises `BackendRefused` for one that is none."""
    try:
        return msgspec.json.decode(record.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        raise BackendRefused(f"what is stored as record {record.ref.kind} {record.ref.id} is none: {wrong}") from wrong
