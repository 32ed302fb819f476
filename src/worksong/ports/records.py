"""Records of the job service: who keeps them. A store knows no more of them than what it lists them by."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec


class Kind(StrEnum):
    """What a record is of."""

    JOB = "job"
    PIPELINE = "pipeline"
    RESULT = "result"
    KEY = "key"
    PAGE = "page"
    """Of a notebook: lines that people read."""


class Ref(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """Which record. There are several for each change of one, so they are made quickly, and nobody collects them."""

    kind: Kind
    id: str


class Record(msgspec.Struct, frozen=True, gc=False):
    """A document, and what stores need to know of it. Times are Unix seconds."""

    ref: Ref
    body: bytes
    created_at: float = 0.0
    status: int = 0
    """Lists can be narrowed to one."""
    unsent_since: float = 0.0
    """Since when what it is of is missing in the queue, as far as anybody knows; 0: it is there, or was."""
    until: float = 0.0
    """From when on it may be forgotten; 0: never."""
    version: int = 1
    """One more with every change."""


class Change(NamedTuple):
    """One record, as it shall be: another one than it was."""

    ref: Ref
    was: int | None
    """The version it has now; None: there is no such record."""
    record: Record | None
    """None: it is taken away."""


class After(NamedTuple):
    """The last record of the page before."""

    created_at: float
    id: str


class Records(Protocol):
    """Keeps records. Belongs to an event loop; whatever raises `BackendUnavailable` may or may not have happened."""

    @property
    def name(self) -> str:
        """How errors call it: the URL without secrets."""
        ...

    async def write(self, changes: Sequence[Change]) -> bool:
        """Carry out all of them in one step, each of another record; False: one was not as it was said to be, and
        nothing was changed. A record that was written outlives what its URL promises: a crash of this process at
        least on everything but memory."""
        ...

    async def read(self, refs: Sequence[Ref]) -> list[Record | None]:
        """Those records, in this order; None for one that is not there."""
        ...

    async def listed(
        self, kind: Kind, *, status: int | None = None, after: After | None = None, most: int = 100
    ) -> list[Record]:
        """So many records at most, ordered by (created_at, id), the oldest first; of this status, behind `after`."""
        ...

    async def unsent(self, since: float, most: int) -> list[Record]:
        """Records with `unsent_since` up to `since`, the oldest first."""
        ...

    async def prune(self, now: float) -> int:
        """Forget some of those whose time has come; answers how many (0: none is left)."""
        ...


class RecordStore(Records, Protocol):
    """Records, and the connections to where they are."""

    def sibling(self) -> RecordStore:
        """The same store, for use in another event loop."""
        ...

    async def close(self) -> None:
        """Let go of connections; a closed store opens them again when used."""
        ...


class RecordStoreFactory(Protocol):
    """What an entry point of `worksong.records` names."""

    def __call__(self, url: str, *, namespace: str) -> RecordStore:
        """A store for the URL; raises `ConfigError` for one that cannot work, and connects only when used."""
        ...
