"""Jobs taken in by a transaction of the application: there if and only if that commits."""

from __future__ import annotations

import contextlib

import pytest

from worksong.domain.capability import Capability
from worksong.domain.errors import Unsupported
from worksong.domain.lifecycle import State
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import T, a_job, join, lent_ids, push
from worksong.testing.contract.suite import Suite, needs


class Transactions(Suite):
    @needs(Capability.TRANSACTION, Capability.BROWSE)
    async def test_a_job_is_there_from_the_commit_on(self, backend: Backend) -> None:
        job, pool = a_job(), await join(backend)
        async with self.transaction(backend) as connection:
            assert await backend.within(connection).push([job], T) == [True]
            assert (await backend.counts())[State.QUEUED] == 0
        assert await lent_ids(backend, pool) == [job.id]

    @needs(Capability.TRANSACTION)
    async def test_after_a_rollback_there_is_no_job(self, backend: Backend) -> None:
        job, pool = a_job(), await join(backend)
        with contextlib.suppress(ZeroDivisionError):
            async with self.transaction(backend) as connection:
                await backend.within(connection).push([job], T, once=True)
                raise ZeroDivisionError
        assert await lent_ids(backend, pool) == []
        assert await push(backend, job, once=True) == [True]

    @needs(Capability.TRANSACTION, Capability.UNIQUE, Capability.DEDUP)
    async def test_a_refused_duplicate_is_told_within_the_transaction(self, backend: Backend) -> None:
        first = a_job(args={"n": 1}, unique="until_done")
        await push(backend, first)
        async with self.transaction(backend) as connection:
            within = backend.within(connection)
            jobs = [a_job(), a_job(args={"n": 1}, unique="until_done")]
            assert await within.push(jobs, T) == [True, False]
            assert await within.push([jobs[0]], T) == [False]
        assert await lent_ids(backend, await join(backend)) == [first.id, jobs[0].id]

    async def test_what_is_no_connection_to_its_database_is_refused(self, backend: Backend) -> None:
        with pytest.raises(Unsupported):
            backend.within(object())
