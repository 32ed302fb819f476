"""What a handler writes into the store's own database: there with the ending of its job, and never otherwise."""

from __future__ import annotations

import pytest

from worksong.domain.capability import Capability
from worksong.domain.errors import WorksongError
from worksong.domain.outcome import Done, Released, Settlement
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import T, die, fetch, is_gone, join, lend, push, settle, some_jobs
from worksong.testing.contract.suite import Suite, needs


class Effects(Suite):
    @needs(Capability.EFFECT, Capability.BROWSE)
    async def test_what_a_handler_writes_is_committed_with_its_jobs_ending(self, backend: Backend) -> None:
        # Given a handler that has written
        _, delivery = await lend(backend)
        deed = await backend.begin(blocks=False)
        await self.change(deed.connection)
        # When its job is settled there
        assert await self.changes() == 0
        assert await deed.settle(Settlement(delivery, Done(1)), T)
        # Then both are there, once
        assert (await self.changes(), await is_gone(backend, delivery)) == (1, True)
        assert not await settle(backend, delivery)
        await deed.undo()
        assert await self.changes() == 1

    @needs(Capability.EFFECT, Capability.RESULTS)
    async def test_the_result_is_kept_with_it(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        deed = await backend.begin(blocks=False)
        assert await deed.settle(Settlement(delivery, Done({"paid": 7})), T)
        result = await backend.result(delivery.job.id)
        assert result is not None
        assert result.value == b'{"paid":7}'

    @needs(Capability.EFFECT)
    async def test_what_is_undone_leaves_nothing_and_the_job_is_still_held(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        deed = await backend.begin(blocks=False)
        await self.change(deed.connection)
        await deed.undo()
        await deed.undo()
        assert await self.changes() == 0
        assert await settle(backend, delivery, Released())

    @needs(Capability.EFFECT)
    async def test_a_late_ending_takes_its_effect_along(self, backend: Backend) -> None:
        # Given a worker that was taken for dead, and whose handler writes all the same
        pool, delivery = await lend(backend)
        await die(backend, pool)
        (again,) = await fetch(backend, await join(backend))
        deed = await backend.begin(blocks=False)
        await self.change(deed.connection)
        # When its ending comes, nothing of it stays, and the job is the other worker's
        assert not await deed.settle(Settlement(delivery, Done()), T)
        assert await self.changes() == 0
        assert await settle(backend, again)

    @needs(Capability.EFFECT, Capability.CANCEL)
    async def test_a_cancelled_job_leaves_no_effect(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert await backend.cancel(delivery.job.id, T)
        deed = await backend.begin(blocks=False)
        await self.change(deed.connection)
        assert await deed.settle(Settlement(delivery, Done()), T)
        assert (await self.changes(), await is_gone(backend, delivery)) == (0, True)

    @needs(Capability.EFFECT)
    async def test_after_its_end_the_connection_is_of_no_use(self, backend: Backend) -> None:
        # Given a handler that keeps its connection
        _, delivery = await lend(backend)
        deed = await backend.begin(blocks=False)
        kept = deed.connection
        assert await deed.settle(Settlement(delivery, Done()), T)
        # When it goes on writing, it writes nothing
        with pytest.raises(Exception, match=r"."):
            await self.change(kept)
        other = await backend.begin(blocks=False)
        with pytest.raises(Exception, match=r"."):
            await self.change(kept)
        await other.undo()
        assert await self.changes() == 0

    @needs(Capability.EFFECT, Capability.BROWSE)
    async def test_a_failed_statement_cannot_be_committed_over(self, backend: Backend) -> None:
        """Whoever catches the error may commit the rest where the database allows for that; never a part unawares."""
        _, delivery = await lend(backend)
        deed = await backend.begin(blocks=False)
        await self.change(deed.connection)
        with pytest.raises(Exception, match=r"."):
            await self.fail(deed.connection)
        try:
            held = await deed.settle(Settlement(delivery, Done()), T)
        except WorksongError:
            assert (await self.changes(), await settle(backend, delivery)) == (0, True)
        else:
            assert (held, await self.changes(), await is_gone(backend, delivery)) == (True, 1, True)
        await deed.undo()

    @needs(Capability.EFFECT, Capability.BROWSE)
    async def test_beside_an_open_transaction_jobs_are_still_read(self, backend: Backend) -> None:
        jobs = some_jobs(2)
        assert await push(backend, *jobs) == [True, True]
        deed = await backend.begin(blocks=False)
        await self.change(deed.connection)
        assert await backend.job(jobs[0].id) is not None
        await deed.undo()
        assert await push(backend, *some_jobs(2)) == [True, True]
