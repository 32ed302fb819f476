"""Steps that the contract of record stores is told in."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from worksong.domain.job import new_id
from worksong.ports.records import After, Change, Kind, Record, RecordStore, Ref


def a_record(record_id: str = "", kind: Kind = Kind.JOB, *, body: bytes = b"{}", **fields: float) -> Record:
    """A record that nobody has written yet."""
    return Record(Ref(kind, record_id or new_id()), body, **fields)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def new(*records: Record) -> list[Change]:
    """What brings them in."""
    return [Change(record.ref, None, record) for record in records]


def changed(record: Record, **fields: object) -> Change:
    """What makes another one of it."""
    return Change(record.ref, record.version, replace(record, version=record.version + 1, **fields))


async def all_of(store: RecordStore, kind: Kind = Kind.JOB, *, status: int | None = None, most: int = 3) -> list[str]:
    """The ids of all of them, page by page."""
    found: list[Record] = []
    while page := await store.listed(kind, status=status, after=last_of(found), most=most):
        assert len(page) <= most
        found += page
    return [record.ref.id for record in found]


def last_of(records: Sequence[Record]) -> After | None:
    return After(records[-1].created_at, records[-1].ref.id) if records else None
