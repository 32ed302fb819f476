"""Records of the job service in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from worksong.adapters.sql.steps import CHUNK, Program, Row, Space, parts
from worksong.adapters.sql.store import Store
from worksong.domain.errors import WorksongError
from worksong.ports.records import After, Change, Kind, Record, Ref

BEFORE_ALL = After(-1.0, "")
BODY = 2
"""The column of a row that may be long."""


class Unlike(WorksongError):
    """a record is not as it was said to be; nothing was carried out"""


class SqlRecords:
    """What one namespace of one database keeps; belongs to the event loop of its first use."""

    def __init__(self, store: Store, namespace: str) -> None:
        self.name = store.address.shown
        self.store, self._namespace = store, namespace
        self.pages = Pages(Space(namespace))

    def sibling(self) -> SqlRecords:
        return SqlRecords(self.store.sibling(), self._namespace)

    async def close(self) -> None:
        await self.store.close()

    async def write(self, changes: Sequence[Change]) -> bool:
        if not changes:
            return True
        try:
            await self.store.run(lambda: self.pages.write(changes))
        except Unlike:
            return False
        return True

    async def read(self, refs: Sequence[Ref]) -> list[Record | None]:
        if not refs:
            return []
        found = await self.store.run(lambda: self.pages.read(refs), write=False)
        known = {record.ref: record for record in map(record_of, found)}
        return [known.get(ref) for ref in refs]

    async def listed(
        self, kind: Kind, *, status: int | None = None, after: After | None = None, most: int = 100
    ) -> list[Record]:
        found = await self.store.run(
            lambda: self.pages.listed(kind, status, after or BEFORE_ALL, most), write=False, alone=True
        )
        return list(map(record_of, found))

    async def unsent(self, since: float, most: int) -> list[Record]:
        found = await self.store.run(lambda: self.pages.unsent(since, most), write=False, alone=True)
        return list(map(record_of, found))

    async def prune(self, now: float) -> int:
        return await self.store.run(lambda: self.pages.prune(now))


class Pages:
    """Programs over one namespace."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def write(self, changes: Sequence[Change]) -> Program[None]:
        """All of them, or none: then it raises `Unlike`.

        Everybody locks what there is before he brings in what there is not, both in the same order: nobody waits for
        one who waits for him.
        """
        ordered = sorted(changes, key=lambda change: change.ref)
        said = {change.ref: change.was for change in ordered if change.was is not None}
        if said != (yield from self._versions(list(said))):
            raise Unlike
        kept = [(change, _row(change.record)) for change in ordered if change.record]
        yield from self._all("update_record", [row for change, row in kept if change.was is not None])
        yield from self._all("drop_record", [_place(change.ref) for change in ordered if change.record is None])
        yield from self._all("insert_record", [row for change, row in kept if change.was is None])

    def _versions(self, refs: Sequence[Ref]) -> Program[dict[Ref, int]]:
        found: list[Row] = []
        for start in range(0, len(refs), CHUNK):
            found += yield from self._space.ask("lock_records", list(map(_place, refs[start : start + CHUNK])))
        return {Ref(Kind(kind), record_id): version for kind, record_id, version in found}

    def _all(self, statement: str, rows: Sequence[Row]) -> Program[None]:
        """It must touch every row."""
        for part in parts(rows, BODY) if rows and len(rows[0]) > BODY else _chunks(rows):
            touched = yield from self._space.do(statement, part)
            if touched != len(part):
                raise Unlike

    def read(self, refs: Sequence[Ref]) -> Program[list[Row]]:
        found: list[Row] = []
        for part in _chunks(list(map(_place, dict.fromkeys(refs)))):
            found += yield from self._space.ask("records", part)
        return found

    def listed(self, kind: Kind, status: int | None, after: After, most: int) -> Program[list[Row]]:
        page: dict[str, Any] = {"kind": str(kind), "after_time": after.created_at, "after_id": after.id, "most": most}
        if status is None:
            return (yield from self._space.ask("list_records", **page))
        return (yield from self._space.ask("list_records_of", status=int(status), **page))

    def unsent(self, since: float, most: int) -> Program[list[Row]]:
        return (yield from self._space.ask("unsent_records", since=since, most=most))

    def prune(self, now: float) -> Program[int]:
        """A chunk of them; passes those that somebody changes just now."""
        rows = yield from self._space.ask("old_records", now=now, most=CHUNK)
        return (yield from self._space.do("drop_record", rows))


def _chunks(rows: Sequence[Row]) -> list[Sequence[Row]]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]


def _place(ref: Ref) -> Row:
    """The columns by which a record is found."""
    return str(ref.kind), ref.id


def _row(record: Record) -> Row:
    """The columns of the fragment `record`."""
    times = (float(record.unsent_since), float(record.until))
    return (
        *_place(record.ref),
        record.body,
        float(record.created_at),
        int(record.status),
        *times,
        record.version,
    )


def record_of(row: Row) -> Record:
    """From the columns of the fragment `record`."""
    kind, record_id, body, created_at, status, unsent_since, until, version = row
    return Record(Ref(Kind(kind), record_id), bytes(body), created_at, status, unsent_since, until, version)
