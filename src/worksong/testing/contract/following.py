"""Jobs that follow an ending: with it or not at all, and only once."""

from __future__ import annotations

import pytest

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Done, Settlement
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import (
    T,
    a_job,
    die,
    fetch,
    is_gone,
    join,
    lend,
    lent_ids,
    listed,
    look,
    push,
    settle,
)
from worksong.testing.contract.suite import Suite, needs


class Following(Suite):
    async def test_what_follows_an_ending_is_queued_by_it(self, backend: Backend) -> None:
        # Given a job at work
        pool, delivery = await lend(backend)
        follower = a_job("send", {"n": 1})
        assert await lent_ids(backend, pool) == []
        # When it ends, and another one follows it
        assert await settle(backend, delivery, Done("value", (follower,)))
        # Then that one is lent next, as it is
        (next_one,) = await fetch(backend, pool)
        assert next_one.job.args == {"n": 1}
        assert await settle(backend, next_one)
        assert await lent_ids(backend, pool) == []

    async def test_several_may_follow_one_ending_among_others(self, backend: Backend) -> None:
        # Given two jobs at work
        pool, delivery = await lend(backend)
        await push(backend, a_job())
        (other,) = await fetch(backend, pool)
        # When both end in one step, and three jobs follow one of them
        three = [a_job("send", {"n": n}) for n in range(3)]
        ended = [Settlement(other, Done()), Settlement(delivery, Done(None, tuple(three)))]
        assert await backend.settle(ended, T) == [True, True]
        # Then the three are there
        found = await fetch(backend, pool, 10)
        assert [one.job.args for one in found] == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert await backend.settle([Settlement(one, Done()) for one in found], T) == [True] * 3

    @needs(Capability.DELAY)
    async def test_what_follows_may_be_for_later(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        assert await settle(backend, delivery, Done(None, (a_job("send", {"n": 1}, run_at=T + 60),)))
        assert await lent_ids(backend, pool) == []
        await backend.promote(T + 61, 10)
        assert len(await lent_ids(backend, pool, now=T + 61)) == 1

    @needs(Capability.DEDUP)
    async def test_what_follows_is_taken_in_only_once(self, backend: Backend) -> None:
        # Given a job that was taken in behind another one
        pool, delivery = await lend(backend)
        follower = a_job()
        assert await settle(backend, delivery, Done(None, (follower,)))
        # When it follows another ending as well
        await push(backend, a_job())
        found = await fetch(backend, pool, 10)
        again = next(one for one in found if one.job.id != follower.id)
        assert await settle(backend, again, Done(None, (follower,)))
        # Then the ending counts, and there is no second one
        assert len(found) == 2
        assert await lent_ids(backend, pool) == []

    @needs(Capability.THEN)
    async def test_nothing_follows_an_ending_that_comes_too_late(self, backend: Backend) -> None:
        # Given a job that another pool has by now
        pool, delivery = await lend(backend)
        await die(backend, pool)
        heir = await join(backend)
        assert len(await fetch(backend, heir)) == 1
        # When its first lender says that it is done
        assert not await settle(backend, delivery, Done(None, (a_job(),)))
        # Then nothing follows
        assert await lent_ids(backend, heir) == []

    @needs(Capability.THEN, Capability.CANCEL)
    async def test_nothing_follows_a_job_that_was_cancelled(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        assert await backend.cancel(delivery.job.id, T)
        assert await settle(backend, delivery, Done(None, (a_job(),)))
        assert await is_gone(backend, delivery)
        assert await lent_ids(backend, pool) == []

    @needs(Capability.THEN, Capability.UNIQUE)
    async def test_the_lock_of_a_job_that_others_follow_is_free(self, backend: Backend) -> None:
        unique = a_job("send", {"n": 1}, unique="until_done")
        pool, delivery = await lend(backend, unique)
        assert await settle(backend, delivery, Done(None, (a_job("other", {}),)))
        again = a_job("send", {"n": 1}, unique="until_done")
        assert await push(backend, again) == [True]
        assert await lent_ids(backend, pool) == [again.id]

    @needs(Capability.THEN, Capability.LIMIT)
    async def test_an_ending_that_others_follow_makes_room_under_a_limit(self, backend: Backend) -> None:
        pool = await join(backend, "send", limits={"send": 1})
        await push(backend, a_job(), a_job())
        (delivery,) = await fetch(backend, pool, 2)
        assert await settle(backend, delivery, Done(None, (a_job("other", {}),)))
        assert len(await fetch(backend, pool, 2)) == 1

    @needs(Capability.THEN, Capability.BROWSE)
    async def test_an_ending_with_a_follower_that_cannot_be_carried_is_refused_whole(self, backend: Backend) -> None:
        # Given a job at work
        _, delivery = await lend(backend)
        bad = [
            Job("send", {"n": object()}, id=new_id(), enqueued_at=T),
            a_job("send", {"n": 1}, unique="until_start"),
        ]
        for wrong in bad:
            # When it is to be followed by one good job and one that nobody could read
            with pytest.raises(InvalidArguments):
                await settle(backend, delivery, Done(None, (a_job(), wrong)))
            # Then nothing has happened
            assert (await look(backend, delivery)).state is State.RUNNING
            assert len(await listed(backend, State.QUEUED)) == 0
        # And another ending is carried out
        assert await settle(backend, delivery, Buried("what follows cannot be carried"))
