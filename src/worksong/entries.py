"""Entries of the ledger: typed records over a store, and the steps in which they change.

A step reads the records it is about, says what becomes of them, and writes all of them or none; if somebody else
changed one meanwhile, it begins anew. So two workers, or a worker and a caller, never undo one another's changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from msgspec.structs import replace

from worksong.domain.errors import BackendUnavailable
from worksong.domain.record import Document, JobRecord, KeyRecord, PipelineRecord, ResultRecord
from worksong.ports import chance
from worksong.ports.records import Change, Kind, Record, Records, Ref
from worksong.wire.record import decode, encode, ref_of

ATTEMPTS = 100
"""How often a step begins anew."""
LONGEST_PAUSE = 0.1
"""Seconds between two attempts at most; of many who change one record, all get through."""
CHUNK = 500
"""Records asked for together."""

D = TypeVar("D", bound=Document)

_DOCUMENTS: dict[Kind, type[Document]] = {
    Kind.JOB: JobRecord,
    Kind.PIPELINE: PipelineRecord,
    Kind.RESULT: ResultRecord,
    Kind.KEY: KeyRecord,
}


class _More(Exception):
    """Which other records have to be read before anything can be decided."""

    def __init__(self, refs: Sequence[Ref]) -> None:
        self.refs = refs


class Draft:
    """What a step makes of the records that it found."""

    def __init__(self, known: dict[Ref, Record | None]) -> None:
        self._known = known
        self._new: dict[Ref, Record | None] = {}

    def get(self, kind: type[D], record_id: str) -> D | None:
        """The document as it is by now. What was not read yet begins the step anew, with that as well."""
        ref = ref_of(kind, record_id)
        if ref not in self._known:
            raise _More([ref])
        record = self.record(ref)
        return decode(record, kind) if record else None

    def all(self, kind: type[D], ids: Sequence[str]) -> list[D | None]:
        """Several of them."""
        refs = [ref_of(kind, record_id) for record_id in ids]
        self.look_at(refs)
        return [decode(record, kind) if record else None for record in map(self.record, refs)]

    def look_at(self, refs: Sequence[Ref]) -> None:
        """What was not read yet begins the step anew, with these as well."""
        if missing := [ref for ref in refs if ref not in self._known]:
            raise _More(missing)

    def record(self, ref: Ref) -> Record | None:
        """The record as it is by now."""
        return self._new[ref] if ref in self._new else self._known[ref]

    def put(self, document: Document, **marks: float) -> None:
        """The document as it shall be; `marks` (unsent_since, until) that are not given stay as they are."""
        ref = ref_of(type(document), document.id)
        old, version = self.record(ref), self._next(ref)
        if old is None:
            self._new[ref] = encode(document, **marks, version=version)
            return
        unsent_since, until = marks.get("unsent_since", old.unsent_since), marks.get("until", old.until)
        new = encode(document, unsent_since=unsent_since, until=until, version=version)
        if new.body != old.body or (unsent_since, until) != (old.unsent_since, old.until):
            self._new[ref] = new

    def mark(self, ref: Ref, **marks: float) -> None:
        """The same document, if it is there, under other marks."""
        old = self.record(ref)
        if old and any(getattr(old, name) != mark for name, mark in marks.items()):
            self._new[ref] = replace(old, **marks, version=self._next(ref))

    def drop(self, ref: Ref) -> None:
        """Nothing of it is left."""
        if self.record(ref):
            self._new[ref] = None

    def _next(self, ref: Ref) -> int:
        """The version of what is written."""
        before = self._known.get(ref)
        return before.version + 1 if before else 1

    @property
    def changes(self) -> list[Change]:
        """What there is to write."""
        return [Change(ref, _version(self._known.get(ref)), record) for ref, record in self._new.items()]


Decide: TypeAlias = Callable[[Draft], None]
"""Makes what is there what it shall be; called anew whenever others were faster."""


class Entries:
    """Those of one store."""

    def __init__(self, store: Records) -> None:
        self.store = store

    async def get(self, kind: type[D], record_id: str) -> D | None:
        """The document of this kind and id."""
        return (await self.all(kind, [record_id]))[0]

    async def all(self, kind: type[D], ids: Sequence[str]) -> list[D | None]:
        """The documents of these ids, in this order."""
        known = await self._known([ref_of(kind, record_id) for record_id in ids])
        return [decode(record, kind) if record else None for record in known.values()]

    async def step(self, refs: Sequence[Ref], decide: Decide) -> Draft:
        """Read these, decide, and write what comes of it."""
        for tried in range(ATTEMPTS):
            draft = Draft(await self._known(refs))
            try:
                decide(draft)
            except _More as more:
                refs = [*refs, *more.refs]
                continue
            changes = draft.changes
            if not changes or await self.store.write(changes):
                return draft
            await asyncio.sleep(chance.uniform(0, min(LONGEST_PAUSE, 0.001 * 2 ** min(tried, 10))))
        raise BackendUnavailable(f"{self.store.name}: others changed {refs[0].id} {ATTEMPTS} times in a row")

    async def _known(self, refs: Sequence[Ref]) -> dict[Ref, Record | None]:
        known: dict[Ref, Record | None] = {}
        for start in range(0, len(refs), CHUNK):
            some = refs[start : start + CHUNK]
            known |= zip(some, await self.store.read(some), strict=True)
        return known


def read(record: Record) -> Any:
    """The document in a record, whatever its kind."""
    return decode(record, _DOCUMENTS[record.ref.kind])


def _version(record: Record | None) -> int | None:
    return record.version if record else None
