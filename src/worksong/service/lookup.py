"""Finding jobs and pipelines that the service created, a page after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from worksong.domain.record import JobRecord, PipelineRecord, Status
from worksong.entries import CHUNK
from worksong.ledger import Ledger
from worksong.ports.records import After
from worksong.service.redaction import without_logins
from worksong.service.search import holds, is_like

LOOKED_AT = 2_000
"""Records that one page looks at, when only some are sought: stores have no index for it."""

R = TypeVar("R", JobRecord, PipelineRecord)


class Sought(msgspec.Struct, frozen=True):
    """Which jobs are meant; every condition must hold. `*` stands for any text."""

    status: Status | None = None
    task: str = ""
    words: tuple[str, ...] = ()
    """Somewhere in the name, the description, the id, the task or the reason of the failure."""

    def finds(self, job: JobRecord) -> bool:
        """Whether the job is meant; its status is looked at by the store."""
        if self.task and not is_like(self.task, job.task):
            return False
        texts = (job.name, job.description, job.id, job.task, without_logins(job.failure_reason))
        return all(any(holds(word, text) for text in texts) for word in self.words)


class Part(NamedTuple, Generic[R]):
    """Some of what was sought."""

    found: Sequence[R]
    rest: After | None
    """Behind which record it goes on; None: there is no more."""


async def find_jobs(ledger: Ledger, sought: Sought, after: After | None, most: int) -> Part[JobRecord]:
    """So many at most; less, and a rest, where too many others had to be looked at."""
    found: list[JobRecord] = []
    for _ in range(0, LOOKED_AT, CHUNK):
        page = await ledger.jobs(sought.status, after=after, most=CHUNK)
        for job in page:
            after = After(job.created_at, job.id)
            if sought.finds(job):
                found.append(job)
            if len(found) == most:
                return Part(found, after)
        if len(page) < CHUNK:
            return Part(found, None)
    return Part(found, after)


async def find_pipelines(ledger: Ledger, status: Status | None, after: After | None, most: int) -> Part[PipelineRecord]:
    """So many at most."""
    found = await ledger.pipelines(status, after=after, most=most)
    return Part(found, After(found[-1].created_at, found[-1].id) if len(found) == most else None)
