"""Pools that are told to go quiet, or to end."""

from __future__ import annotations

import pytest

from worksong.domain.capability import Capability
from worksong.ports.backend import Backend, Direction
from worksong.testing.contract.steps import T, beat, die, fetch, join, lend, push, settle, some_jobs
from worksong.testing.contract.suite import Suite, needs


class Directing(Suite):
    async def test_nobody_is_told_anything_unasked(self, backend: Backend) -> None:
        pool = await join(backend)
        orders = await beat(backend, pool)
        assert (orders.quiet, orders.stop) == (False, False)

    @needs(Capability.DIRECT)
    async def test_a_pool_hears_again_and_again_that_it_should_fetch_nothing_more(self, backend: Backend) -> None:
        pool = await join(backend)
        assert await backend.direct(pool.id, Direction.QUIET)
        for now in (T, T + 1, T + 86400):
            orders = await beat(backend, pool, now=now)
            assert (orders.quiet, orders.stop) == (True, False)

    @needs(Capability.DIRECT)
    async def test_a_pool_hears_again_and_again_that_it_should_end(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        assert await backend.direct(pool.id, Direction.STOP)
        for now in (T, T + 1):
            orders = await beat(backend, pool, delivery, now=now)
            assert (orders.stop, orders.evicted, orders.lost) == (True, False, ())
        assert await settle(backend, delivery)

    @needs(Capability.DIRECT)
    @pytest.mark.parametrize("later", [Direction.QUIET, Direction.STOP])
    async def test_who_should_end_is_not_held_back_by_a_later_word(self, backend: Backend, later: Direction) -> None:
        pool = await join(backend)
        assert await backend.direct(pool.id, Direction.STOP)
        assert await backend.direct(pool.id, later)
        assert (await beat(backend, pool)).stop

    @needs(Capability.DIRECT)
    async def test_who_is_quiet_can_still_be_told_to_end(self, backend: Backend) -> None:
        pool = await join(backend)
        assert await backend.direct(pool.id, Direction.QUIET)
        assert await backend.direct(pool.id, Direction.QUIET)
        assert await backend.direct(pool.id, Direction.STOP)
        assert (await beat(backend, pool)).stop

    @needs(Capability.DIRECT)
    async def test_others_hear_nothing_of_it(self, backend: Backend) -> None:
        pool, other = await join(backend), await join(backend)
        assert await backend.direct(pool.id, Direction.STOP)
        orders = await beat(backend, other)
        assert (orders.quiet, orders.stop) == (False, False)

    @needs(Capability.DIRECT)
    async def test_what_the_pool_holds_stays_with_it(self, backend: Backend) -> None:
        await push(backend, *some_jobs(2))
        pool = await join(backend)
        held = await fetch(backend, pool, 2)
        await backend.direct(pool.id, Direction.QUIET)
        for now in (T, T + 10, T + 20):
            assert (await beat(backend, pool, *held, now=now)).lost == ()
        assert [await settle(backend, delivery, now=T + 20) for delivery in held] == [True, True]

    @needs(Capability.DIRECT)
    async def test_a_pool_that_enlists_again_still_hears_it(self, backend: Backend) -> None:
        pool = await join(backend)
        await backend.direct(pool.id, Direction.QUIET)
        sibling = backend.sibling()
        assert (await beat(sibling, pool)).quiet
        await sibling.close()

    @needs(Capability.DIRECT)
    async def test_a_pool_that_is_not_there_cannot_be_told(self, backend: Backend) -> None:
        left, died = await join(backend), await join(backend)
        await backend.leave(left, T)
        await die(backend, died)
        for pool_id in ("nobody", "", left.id, died.id):
            assert not await backend.direct(pool_id, Direction.STOP)

    @needs(Capability.DIRECT)
    async def test_a_pool_under_a_new_id_begins_anew(self, backend: Backend) -> None:
        pool = await join(backend)
        await backend.direct(pool.id, Direction.STOP)
        await die(backend, pool)
        assert not (await beat(backend, await join(backend))).stop

    @needs(Capability.DIRECT, Capability.POOLS)
    async def test_listings_show_what_a_pool_was_told(self, backend: Backend) -> None:
        told, other = await join(backend), await join(backend)
        await backend.direct(told.id, Direction.QUIET)
        assert {pool.id: pool.told for pool in await backend.pools()} == {told.id: "quiet", other.id: ""}
        await backend.direct(told.id, Direction.STOP)
        assert {pool.id: pool.told for pool in await backend.pools()} == {told.id: "stop", other.id: ""}
