"""What is missing in the queue, as far as the records tell."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from worksong.domain.record import JobRecord, KeyRecord, Status
from worksong.entries import Draft, read
from worksong.ledger import Ledger, Sendable, parts_of
from worksong.ports.records import After, Ref
from worksong.wire.record import ref_of


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
        """
        now = self._ledger.clock.now()
        refs = [record.ref for record in await self._ledger.store.unsent(since, most)]
        taken: list[Sendable] = []

        def decide(draft: Draft) -> None:
            taken.clear()
            for record in filter(None, map(draft.record, refs)):
                if 0 < record.unsent_since <= since:
                    taken.append(read(record))
                    draft.mark(record.ref, unsent_since=now)

        await self._ledger.entries.step(refs, decide)
        return taken

    async def note_all(self, since: float) -> int:
        """The queue is empty: all that has not ended is missing there since then; answers how much that is."""
        missed = 0
        for status in (Status.PENDING, Status.SCHEDULED, Status.IN_PROGRESS):
            for ask in (self._ledger.jobs, self._ledger.pipelines):
                after: After | None = None
                while page := await ask(status, after=after):
                    missed += await self._note(page, since)
                    after = After(page[-1].created_at, page[-1].id)
        return missed

    async def _note(self, page: Sequence[Sendable], since: float) -> int:
        missed = 0

        def decide(draft: Draft) -> None:
            nonlocal missed
            missed = sum(_miss(draft, one, since) for one in page)

        await self._ledger.entries.step([ref_of(type(one), one.id) for one in page], decide)
        return missed


def _miss(draft: Draft, document: Sendable, since: float) -> bool:
    """Whether it is to be sent by itself: jobs of a pipeline come with that. The message it began with is gone."""
    found = draft.get(type(document), document.id)
    if found is None or found.status.ended:
        return False
    if isinstance(found, JobRecord):
        draft.put(replace(found, message=""))
        if found.pipeline_id:
            return False
    draft.mark(ref_of(type(found), found.id), unsent_since=since)
    return True
