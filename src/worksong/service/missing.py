"""What is missing in the queue, as far as the records tell."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from msgspec.structs import replace

from worksong.domain.errors import BackendRefused
from worksong.domain.record import JobRecord, KeyRecord, Status
from worksong.entries import CHUNK, Draft, read
from worksong.ledger import Ledger
from worksong.ports.records import After, Kind, Record, Ref
from worksong.together import Sendable, parts_of
from worksong.wire.record import ref_of

log = logging.getLogger("worksong")


class Missing:
    """Over one ledger. A record says since when its job or pipeline is missing."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def withdraw(self, documents: Sequence[Sendable], key: KeyRecord | None = None) -> bool:
        """Forget what the queue refused, and its key; False: all of it has got there meanwhile, or is gone."""
        parts = {ref_of(type(one), one.id): parts_of(one) for one in documents}
        keys = [ref_of(KeyRecord, key.id)] if key else []
        withdrawn: list[Ref] = []

        def decide(draft: Draft) -> None:
            found = filter(None, map(draft.record, parts))
            withdrawn[:] = [record.ref for record in found if record.unsent_since]
            for one in withdrawn:
                for ref in (one, *parts[one], *keys):
                    draft.drop(ref)

        every = [*parts, *(part for some in parts.values() for part in some), *keys]
        await self._ledger.entries.step(every, decide)
        return bool(withdrawn)

    async def take(self, since: float, most: int) -> list[Sendable]:
        """Jobs and pipelines that were to be in the queue by then, and may not be; the oldest first.

        Whoever takes them is to send them: they count as missing from now on, so that nobody else takes them as well.
        What cannot be read is not missed any more: it would hold up all others.
        """
        now = self._ledger.clock.now()
        refs = [record.ref for record in await self._ledger.store.unsent(since, most)]
        taken: list[Sendable] = []

        def decide(draft: Draft) -> None:
            taken.clear()
            for record in filter(None, map(draft.record, refs)):
                if 0 < record.unsent_since <= since:
                    document = _readable(record)
                    taken.extend([document] if document else [])
                    draft.mark(record.ref, unsent_since=now if document else 0.0)

        await self._ledger.entries.step(refs, decide)
        return taken

    async def note_all(self, since: float) -> int:
        """The queue is empty: all that has not ended is missing there since then; answers how much that is."""
        missed = 0
        for status in (Status.PENDING, Status.SCHEDULED, Status.IN_PROGRESS):
            for kind in (Kind.JOB, Kind.PIPELINE):
                after: After | None = None
                while page := await self._ledger.store.listed(kind, status=status, after=after, most=CHUNK):
                    missed += await self._note([record.ref for record in page], since)
                    after = After(page[-1].created_at, page[-1].ref.id)
        return missed

    async def _note(self, refs: Sequence[Ref], since: float) -> int:
        missed = 0

        def decide(draft: Draft) -> None:
            nonlocal missed
            missed = sum(_miss(draft, ref, since) for ref in refs)

        await self._ledger.entries.step(refs, decide)
        return missed


def _readable(record: Record) -> Sendable | None:
    """What is in the record; None: nobody can read it."""
    try:
        document: Sendable = read(record)
    except BackendRefused as unreadable:
        log.error("it is passed over: %s", unreadable)
        return None
    return document


def _miss(draft: Draft, ref: Ref, since: float) -> bool:
    """Whether it is to be sent by itself: jobs of a pipeline come with that. The message it began with is gone."""
    record = draft.record(ref)
    found = _readable(record) if record else None
    if found is None or found.status.ended:
        return False
    if isinstance(found, JobRecord):
        draft.put(replace(found, message=""))
        if found.pipeline_id:
            return False
    draft.mark(ref_of(type(found), found.id), unsent_since=since)
    return True
