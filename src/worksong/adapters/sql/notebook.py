"""Lines that people read: a record for each page, written anew with each line."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from worksong.adapters.sql.records import Pages, Unlike, record_of
from worksong.adapters.sql.steps import Program, Space
from worksong.adapters.sql.store import Store
from worksong.domain.errors import BackendRefused
from worksong.ports.notebook import Line
from worksong.ports.records import Change, Kind, Record, Ref

TRIES = 20
"""How often a line is written anew because others wrote on its page meanwhile."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str]).decode


class _News(NamedTuple):
    """What is to be written on one page."""

    texts: Sequence[str]
    """The latest first."""
    most: int
    until: float
    """When the page may be forgotten; 0: never."""


class SqlNotebook:
    """What one namespace of one database keeps."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store, self._pages = store, Pages(Space(namespace))

    async def jot(self, lines: Sequence[Line], now: float) -> None:
        """All of them in one transaction, or none."""
        news = _by_page(lines, now)
        lasting = any(new.until == 0 for new in news.values())
        for _ in range(TRIES):
            try:
                await self._store.run(lambda: self._jotted(news, now), lasting=lasting)
            except Unlike:
                continue
            return
        raise BackendRefused(f"{self._store.address.shown}: others write on the same page all the time; try again")

    def _jotted(self, news: dict[Ref, _News], now: float) -> Program[None]:
        rows = yield from self._pages.read(list(news))
        kept = {record.ref: record for record in map(record_of, rows)}
        yield from self._pages.write([_change(kept.get(ref), ref, new, now) for ref, new in news.items()])

    async def lines(self, page: str) -> list[str]:
        """The latest first."""
        rows = await self._store.run(lambda: self._pages.read([_ref(page)]), write=False)
        return [line for row in rows for line in _read(record_of(row).body)]

    async def prune(self, now: float) -> int:
        """Forget some of the pages that were kept long enough."""
        return await self._store.run(lambda: self._pages.prune(now))


def _by_page(lines: Sequence[Line], now: float) -> dict[Ref, _News]:
    texts: defaultdict[Ref, list[str]] = defaultdict(list)
    for line in lines:
        texts[_ref(line.page)].insert(0, line.text)
    bounds = {_ref(line.page): (line.most, now + line.kept if math.isfinite(line.kept) else 0.0) for line in lines}
    return {ref: _News(found, *bounds[ref]) for ref, found in texts.items()}


def _change(kept: Record | None, ref: Ref, new: _News, now: float) -> Change:
    old = kept or Record(ref, b"[]", created_at=now, version=0)
    body = _encode([*new.texts, *_read(old.body)][: new.most])
    return Change(
        ref, kept.version if kept else None, replace(old, body=body, until=new.until, version=old.version + 1)
    )


def _ref(page: str) -> Ref:
    return Ref(Kind.PAGE, page)


def _read(body: bytes) -> list[str]:
    """What cannot be read is as if it had not been written."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
