"""`amqp://` against the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from amqp.clock import Turned
from amqp.server import put
from amqp.stage import PATIENT
from worksong.adapters.amqp import AmqpBackend
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Retried, Snoozed
from worksong.ports.backend import Backend
from worksong.testing.contract import BackendContract
from worksong.testing.contract.endings import OUTCOMES
from worksong.testing.contract.operating import bury
from worksong.testing.contract.steps import (
    T,
    a_job,
    die,
    fetch,
    join,
    lend,
    lent_ids,
    listed,
    push,
    queue_count,
    settle,
    some_jobs,
)
from worksong.testing.contract.stores import CALLS, POISON

pytestmark = pytest.mark.timeout(400)  # the first one waits for the server to start
NOT_PROMISED = {"cancel", "direct", "job", "pause", "resume", "trace"}
"""Calls that are refused, whether the server is there or not."""


def holds(test: Any) -> Any:
    """A test of something that the backend can do, although it does not promise all of that capability."""
    return test.__wrapped__


class TestAmqp(BackendContract):
    @pytest.fixture
    async def backend(self, rabbitmq_url: str) -> AsyncIterator[AmqpBackend]:
        self.url, self.namespace = rabbitmq_url, new_id()
        backend = Turned(f"{rabbitmq_url}?namespace={self.namespace}&{PATIENT}")
        yield backend
        await backend.close()

    def unreachable(self) -> Backend:
        return AmqpBackend("amqp://127.0.0.1:1/")

    async def plant(self, backend: Backend, handler: str, raw: bytes) -> None:
        await asyncio.to_thread(put, self.url, f"{self.namespace}.{handler}", raw)

    @pytest.mark.parametrize("call", [call for call in CALLS if call not in NOT_PROMISED])
    async def test_a_server_that_is_away_is_unavailable(self, backend: Backend, call: str) -> None:
        await super().test_a_server_that_is_away_is_unavailable(backend, call)

    # what the server can tell of waiting and dead jobs, and do with the dead

    test_a_lent_job_waits_no_longer = holds(BackendContract.test_a_lent_job_waits_no_longer)
    test_queues_are_listed_apart = holds(BackendContract.test_queues_are_listed_apart)
    test_a_latency_is_never_negative = holds(BackendContract.test_a_latency_is_never_negative)
    test_a_purged_queue_takes_jobs_in_again = holds(BackendContract.test_a_purged_queue_takes_jobs_in_again)
    test_an_examination_changes_nothing = holds(BackendContract.test_an_examination_changes_nothing)
    test_waiting_jobs_of_a_type_that_nobody_knows_are_found = holds(
        BackendContract.test_waiting_jobs_of_a_type_that_nobody_knows_are_found
    )
    test_dead_jobs_are_listed_oldest_death_first = holds(BackendContract.test_dead_jobs_are_listed_oldest_death_first)
    test_two_endings_of_one_job_in_one_batch_count_once = holds(
        BackendContract.test_two_endings_of_one_job_in_one_batch_count_once
    )
    test_a_dead_job_is_queued_with_its_failures_forgotten = holds(
        BackendContract.test_a_dead_job_is_queued_with_its_failures_forgotten
    )
    test_all_dead_jobs_are_queued_at_once = holds(BackendContract.test_all_dead_jobs_are_queued_at_once)
    test_all_dead_jobs_are_deleted_at_once = holds(BackendContract.test_all_dead_jobs_are_deleted_at_once)
    test_a_dead_job_is_requeued_once = holds(BackendContract.test_a_dead_job_is_requeued_once)
    test_a_requeued_job_can_be_buried_again = holds(BackendContract.test_a_requeued_job_can_be_buried_again)
    test_nobody_is_told_without_a_cancellation = holds(BackendContract.test_nobody_is_told_without_a_cancellation)

    async def test_a_dead_job_is_deleted(self, backend: Backend) -> None:
        job, other = await bury(backend, 2)
        assert await backend.delete(State.DEAD, [job.id]) == 1
        assert [view.id for view in await listed(backend, State.DEAD)] == [other.id]

    async def test_a_buried_job_is_kept_with_its_error(self, backend: Backend) -> None:
        (job,) = await bury(backend, 1)
        (view,) = await listed(backend, State.DEAD)
        assert (view.id, view.at, view.job.fails, view.job.error, view.job.args) == (job.id, T, 1, "boom 0", job.args)

    async def test_ids_that_are_not_there_are_not_counted(self, backend: Backend) -> None:
        await bury(backend, 1)
        for ids in ([], ["nothing"], ["nothing", "nobody"]):
            assert await backend.requeue(State.DEAD, ids, T) == 0
            assert await backend.delete(State.DEAD, ids) == 0
        assert await backend.delete(State.DEAD, None) == 1
        assert await backend.requeue(State.DEAD, None, T) == 0
        assert await backend.delete(State.DEAD, None) == 0

    async def test_queues_tell_their_length_and_latency(self, backend: Backend) -> None:
        """The length alone: nobody can look at the oldest without taking it out."""
        await push(backend, a_job(enqueued_at=T), a_job(enqueued_at=T + 10))
        assert await queue_count(backend, "send", now=T + 60) == 2

    async def test_every_job_is_counted_where_it_is(self, backend: Backend) -> None:
        """Retries wait among the scheduled jobs; running are those that a beat told of."""
        await bury(backend, 1)
        _, failing = await lend(backend)
        await settle(backend, failing, Retried(T + 60, "boom"))
        await push(backend, a_job(run_at=T + 60), a_job())
        counts = await backend.counts()
        assert [counts[state] for state in (State.QUEUED, State.SCHEDULED, State.DEAD)] == [1, 2, 1]

    async def test_a_batch_may_hold_every_kind_of_ending(self, backend: Backend) -> None:
        await push(backend, *some_jobs(6))
        pool = await join(backend)
        lent = await fetch(backend, pool, 6)
        for delivery, outcome in zip(lent, OUTCOMES, strict=True):
            assert await settle(backend, delivery, outcome)
        counts = await backend.counts()
        assert [counts[state] for state in (State.SCHEDULED, State.DEAD, State.QUEUED)] == [2, 1, 1]

    async def test_poison_is_buried_with_a_reason_and_its_bytes(self, backend: Backend) -> None:
        """An object of any form is good: a job of Go's, whatever its names mean."""
        for raw in (raw for what, raw in POISON.items() if what != "no name"):
            # Given foreign bytes before a good job
            await self.plant(backend, "send", raw)
            job = a_job()
            await push(backend, job)
            # When jobs are fetched
            pool = await join(backend)
            assert await lent_ids(backend, pool) == [job.id]
            # Then the bytes are among the dead, exactly as they were
            (view,) = await listed(backend, State.DEAD)
            assert (bool(view.reason), view.raw) == (True, raw)
            assert await backend.delete(State.DEAD, [view.id]) == 1

    test_poison_occupies_no_slot_of_a_limit = None

    async def test_listings_survive_poison(self, backend: Backend) -> None:
        await self.plant(backend, "send", b"{")
        await push(backend, a_job())
        assert await queue_count(backend, "send") == 2

    # what is otherwise here than elsewhere

    async def test_jobs_that_nobody_promotes_are_found(self, backend: Backend) -> None:
        """The server does it: they cannot be."""
        await push(backend, a_job(run_at=T + 60))
        assert [finding for finding in await backend.examine(T + 3600) if finding.id == "jobs.overdue"] == []

    async def test_a_lent_job_can_be_settled_after_reopening(self, backend: Backend) -> None:
        """It cannot: it was the connection's, and is back in its queue."""
        _, delivery = await lend(backend)
        await backend.close()
        assert not await settle(backend, delivery)
        assert await lent_ids(backend, await join(backend)) == [delivery.job.id]

    async def test_a_job_that_lost_four_workers_is_buried(self, backend: Backend) -> None:
        """Classic queues count nothing: it comes again."""
        job = a_job()
        await push(backend, job)
        for _ in range(5):
            pool = await join(backend)
            assert len(await fetch(backend, pool)) == 1
            assert (await die(backend, pool)).crashed == 0
        assert await lent_ids(backend, await join(backend)) == [job.id]

    test_a_job_buried_for_its_crashes_can_be_requeued = None

    test_a_lock_of_which_only_the_digest_is_known_is_kept_or_refused = None

    # endings that need no listing to be looked at

    async def test_a_snoozed_job_waits_and_nothing_is_counted(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        assert await settle(backend, delivery, Snoozed(T + 60))
        assert await backend.promote(T + 60, 10) == 1
        (again,) = await fetch(backend, pool, now=T + 60)
        assert (again.job.id, again.job.attempt, again.job.error) == (delivery.job.id, 1, "")

    async def test_an_error_text_of_any_characters_is_kept(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        text = "ValueError: \N{PARTY POPPER} <b>\n\x1b[31m\0" + "long " * 1000
        assert await settle(backend, delivery, Retried(T + 60, text))
        await backend.promote(T + 60, 10)
        (again,) = await fetch(backend, pool, now=T + 60)
        assert again.job.error == text

    @pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
    async def test_a_late_ending_changes_nothing_while_the_job_waits_again(
        self, backend: Backend, outcome: Any
    ) -> None:
        pool, delivery = await lend(backend)
        await die(backend, pool)
        assert not await settle(backend, delivery, outcome)
        assert await lent_ids(backend, await join(backend)) == [delivery.job.id]

    @pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
    async def test_settling_twice_changes_nothing(self, backend: Backend, outcome: Any) -> None:
        pool, delivery = await lend(backend)
        assert await settle(backend, delivery, Done())
        assert not await settle(backend, delivery, outcome)
        assert await lent_ids(backend, pool) == []
