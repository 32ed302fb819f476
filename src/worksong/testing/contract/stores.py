"""The store behind the jobs: shared by siblings, closed and opened, away, or full of foreign bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import Delivery
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Settlement
from worksong.ports.backend import Backend, Beat, Direction, Pool, Want, Window
from worksong.testing.contract.steps import T, a_job, fetch, join, lend, lent_ids, listed, push, settle, some_jobs
from worksong.testing.contract.suite import Suite, needs

NOBODY = Pool(id="nobody", handlers=("send",))
CALLS: dict[str, Callable[[Backend], Awaitable[object]]] = {
    "push": lambda backend: push(backend, a_job()),
    "push once": lambda backend: push(backend, a_job(), once=True),
    "push for later": lambda backend: push(backend, a_job(run_at=T + 60)),
    "fetch": lambda backend: fetch(backend, NOBODY),
    "fetch and wait": lambda backend: backend.fetch(Want("nobody", 1, 1.0, ()), T),
    "enlist": lambda backend: backend.enlist(NOBODY, T),
    "beat": lambda backend: backend.beat(Beat(NOBODY), T),
    "leave": lambda backend: backend.leave(NOBODY, T),
    "promote": lambda backend: backend.promote(T, 10),
    "reap": lambda backend: backend.reap(T, 0.0),
    "prune": lambda backend: backend.prune(T),
    "queues": lambda backend: backend.queues(T),
    "counts": lambda backend: backend.counts(),
    "jobs": lambda backend: backend.jobs(State.DEAD, Window()),
    "job": lambda backend: backend.job("nothing"),
    "pools": lambda backend: backend.pools(),
    "busy": lambda backend: backend.busy(),
    "requeue": lambda backend: backend.requeue(State.DEAD, None, T),
    "delete": lambda backend: backend.delete(State.DEAD, None),
    "cancel": lambda backend: backend.cancel("nothing", T),
    "pause": lambda backend: backend.pause("default"),
    "resume": lambda backend: backend.resume("default"),
    "purge": lambda backend: backend.purge("default"),
    "direct": lambda backend: backend.direct("nobody", Direction.QUIET),
    "admit": lambda backend: backend.admit(),
    "examine": lambda backend: backend.examine(T),
    "trace": lambda backend: backend.trace("nothing"),
}


class Siblings(Suite):
    async def test_a_sibling_sees_the_same_jobs(self, backend: Backend) -> None:
        job, sibling = a_job(), backend.sibling()
        await push(backend, job)
        assert await lent_ids(sibling, await join(sibling)) == [job.id]
        await sibling.close()

    async def test_a_sibling_in_another_loop_sees_the_same_jobs(self, backend: Backend) -> None:
        job = a_job()

        async def elsewhere() -> None:
            sibling = backend.sibling()
            await push(sibling, job)
            await sibling.close()

        await asyncio.to_thread(asyncio.run, elsewhere())
        assert await lent_ids(backend, await join(backend)) == [job.id]

    async def test_what_one_lends_the_other_can_settle(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        sibling = backend.sibling()
        assert await settle(sibling, delivery)
        assert not await settle(backend, delivery)
        await sibling.close()

    async def test_a_fetch_that_waits_hears_a_sibling_in_another_loop(self, backend: Backend) -> None:
        job, pool = a_job(), await join(backend)

        async def elsewhere() -> None:
            sibling = backend.sibling()
            await push(sibling, job)
            await sibling.close()

        waiting = asyncio.create_task(fetch(backend, pool, wait=60.0))
        await asyncio.to_thread(asyncio.run, elsewhere())
        assert [delivery.job.id for delivery in await waiting] == [job.id]

    @needs(Capability.PAUSE)
    async def test_a_pause_holds_for_siblings(self, backend: Backend) -> None:
        await push(backend, a_job())
        await backend.pause(self.queue_of(backend, "send"))
        sibling = backend.sibling()
        assert await lent_ids(sibling, await join(sibling)) == []
        await sibling.close()

    async def test_a_sibling_promises_the_same(self, backend: Backend) -> None:
        sibling = backend.sibling()
        assert (sibling.name, sibling.capabilities) == (backend.name, backend.capabilities)
        await sibling.close()


class Opening(Suite):
    async def test_a_closed_backend_opens_again_when_used(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job)
        await backend.close()
        assert await lent_ids(backend, await join(backend)) == [job.id]

    async def test_closing_twice_or_unused_is_fine(self, backend: Backend) -> None:
        await backend.close()
        await backend.close()

    async def test_a_lent_job_can_be_settled_after_reopening(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        await backend.close()
        assert await settle(backend, delivery)

    async def test_its_name_tells_no_password(self, backend: Backend) -> None:
        assert backend.name
        assert "@" not in backend.name or ":" not in backend.name.split("@")[0].split("//")[-1]


class Outages(Suite):
    @pytest.mark.parametrize("call", CALLS)
    async def test_a_server_that_is_away_is_unavailable(self, backend: Backend, call: str) -> None:
        away = self.unreachable()
        if away is None:
            pytest.skip(f"{backend.name} has no server that could be away")
        with pytest.raises(BackendUnavailable):
            await CALLS[call](away)
        await away.close()

    async def test_without_the_server_nobody_waits_for_what_is_due(self, backend: Backend) -> None:
        away = self.unreachable()
        if away is None:
            pytest.skip(f"{backend.name} has no server that could be away")
        async with asyncio.timeout(20.0):
            await away.until_due(T, 600.0)
        await away.close()

    async def test_endings_cannot_be_carried_out_without_the_server(self, backend: Backend) -> None:
        away = self.unreachable()
        if away is None:
            pytest.skip(f"{backend.name} has no server that could be away")
        _, delivery = await lend(backend)
        with pytest.raises(BackendUnavailable):
            await away.settle([Settlement(delivery, Done())], T)
        await away.close()
        assert await settle(backend, delivery)


POISON: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[1]",
    "no name": b'{"id":"1"}',
    "no text": b"\xff\xfe",
    "too deep": b'{"name":"send","id":"1","args":{"a":' + b"[" * 2000 + b"]" * 2000 + b"}}",
    "too large": json.dumps({"name": "send", "id": "1", "t": 1, "args": {"x": "x" * (1 << 20)}}).encode(),
}


class Poison(Suite):
    @pytest.mark.parametrize("what", POISON)
    async def test_poison_is_buried_with_a_reason_and_its_bytes(self, backend: Backend, what: str) -> None:
        # Given foreign bytes before a good job
        await self.plant(backend, "send", POISON[what])
        job = a_job()
        await push(backend, job)
        # When jobs are fetched
        pool = await join(backend)
        assert [delivery.job.id for delivery in await _fetch_twice(backend, pool)] == [job.id]
        # Then the bytes are among the dead, exactly as they were
        (view,) = await listed(backend, State.DEAD)
        assert view.reason
        whole = await backend.job(view.id)
        assert whole
        assert whole.raw == POISON[what]

    @needs(Capability.LIMIT)
    async def test_poison_occupies_no_slot_of_a_limit(self, backend: Backend) -> None:
        await self.plant(backend, "send", b"{")
        await push(backend, *some_jobs(2))
        pool = await join(backend, limits={"send": 1})
        assert len(await _fetch_twice(backend, pool)) == 1

    async def test_listings_survive_poison(self, backend: Backend) -> None:
        await self.plant(backend, "send", b"{")
        await push(backend, a_job())
        assert any(view.job.handler == "send" for view in await listed(backend, State.QUEUED))
        assert await backend.queues(T)
        assert (await backend.counts())[State.QUEUED] >= 1


async def _fetch_twice(backend: Backend, pool: Any) -> list[Delivery]:
    """Poison at the head may cost a fetch its answer, once."""
    return await fetch(backend, pool, 10) + await fetch(backend, pool, 10)
