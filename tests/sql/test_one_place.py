"""Records and messages in one transaction: wherever it breaks off, all of it is there or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from worksong.adapters import connect, connect_records
from worksong.adapters.sql.backend import SqlBackend
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown
from worksong.domain.job import Job, new_id
from worksong.ports.records import RecordStore
from worksong.testing.contract.one_place import intake, records_of
from worksong.testing.contract.record_steps import new
from worksong.testing.contract.steps import T, some_jobs

STATEMENTS = 20
"""More than any such transaction has."""


class Place(NamedTuple):
    """Both of one namespace, and the same once more for somebody else."""

    backend: SqlBackend
    store: RecordStore
    others: SqlBackend

    async def bring(self, jobs: list[Job]) -> list[bool]:
        return await intake(self.backend, self.store, new(*records_of(jobs))).push(jobs, T, once=True)

    async def there(self, jobs: list[Job]) -> set[str]:
        """What somebody else finds: nothing, or all of it."""
        found = [await self.others.job(job.id) for job in jobs]
        kept = await self.store.read([record.ref for record in records_of(jobs)])
        whole = {(view is not None, record is not None) for view, record in zip(found, kept, strict=True)}
        assert whole in ({(True, True)}, {(False, False)})
        return {job.id for job, view in zip(jobs, found, strict=True) if view}


@pytest.fixture(params=["postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """A server: a file has no connection that could break."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def place(url: str) -> AsyncIterator[Place]:
    namespace = new_id()
    backend, others = (connect(url, namespace=namespace) for _ in range(2))
    assert isinstance(backend, SqlBackend)
    assert isinstance(others, SqlBackend)
    store = connect_records(url, namespace=namespace)
    yield Place(backend, store, others)
    for one in (backend, others, store):
        await one.close()


async def test_wherever_the_connection_breaks_nothing_is_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = 0
    for number in range(STATEMENTS):
        # Given a connection that breaks at one statement or another, with those before it carried out
        jobs, store, left = some_jobs(3), place.backend._store, number

        async def execute(connection: Any, *step: Any, execute: Any = store.execute, store: Any = store) -> Any:
            nonlocal left, broken
            left -= 1
            if left == 0:
                broken += 1
                store.hang_up(connection)
            return await execute(connection, *step)

        # When jobs come with their records
        with monkeypatch.context() as patch:
            patch.setattr(store, "execute", execute)
            try:
                assert await place.bring(jobs) == [True] * 3
                went = True
            except BackendUnavailable:
                went = False
        # Then nothing is there, unless it went well because another connection was tried
        assert await place.there(jobs) == ({job.id for job in jobs} if went else set())
    assert broken > 2


@pytest.mark.parametrize("committed", [False, True])
async def test_a_commit_without_an_answer_is_told_and_means_all_or_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    jobs, store = some_jobs(3), place.backend._store
    commit: Any = store.commit  # type: ignore[attr-defined]

    async def lost(connection: Any) -> None:
        if committed:
            await commit(connection)
        raise ConnectionResetError("the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", lost)
        with pytest.raises(EnqueueOutcomeUnknown) as told:
            await place.bring(jobs)
    assert told.value.job_ids == tuple(job.id for job in jobs)
    assert await place.there(jobs) == ({job.id for job in jobs} if committed else set())
    # And who asks again brings in what is not there yet
    assert await place.bring(jobs) == [not committed] * 3
