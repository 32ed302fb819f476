"""What handlers return: kept with the ending, told to who waits for it, and never the reason that a job fails."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Failure, Outcome, Released, Retried, Snoozed
from worksong.domain.result import Result
from worksong.ports.backend import Backend
from worksong.ports.results import ResultStore
from worksong.testing.contract.steps import T, die, fetch, is_gone, join, lend, settle
from worksong.testing.contract.suite import Suite, needs

PATIENCE = 60.0
BOOM = Failure("ValueError", "boom", "Traceback ...")


async def ended(backend: Backend, outcome: Outcome) -> Result | None:
    """The result of a job that ended so."""
    _, delivery = await lend(backend)
    assert await settle(backend, delivery, outcome)
    return await backend.result(delivery.job.id)


class Returned(Suite):
    @needs(Capability.RESULTS)
    @pytest.mark.parametrize("value", [{"any": ["value", 1, None]}, "Grüße \x00", 1.5, False], ids=str)
    async def test_what_a_job_returned_is_kept(self, backend: Backend, value: object) -> None:
        result = await ended(backend, Done(value))
        assert result is not None
        assert msgspec.json.decode(result.value) == value
        assert (result.at, result.failure, result.lost) == (T, None, "")

    @needs(Capability.RESULTS)
    async def test_a_result_may_be_kept_before_the_job_has_ended(self, backend: Backend) -> None:
        # Given a job at work whose value is there already
        _, delivery = await lend(backend)
        early = Result(delivery.job.id, T, b"1")
        await backend.put([early])
        await backend.put([early])
        assert await backend.result(delivery.job.id) == early
        # When it ends, then the value of its ending is the one that counts
        assert await settle(backend, delivery, Done(2))
        found = await backend.result(delivery.job.id)
        assert found is not None
        assert found.value == b"2"

    @needs(Capability.RESULTS)
    async def test_a_job_that_returned_nothing_has_a_result(self, backend: Backend) -> None:
        result = await ended(backend, Done())
        assert result is not None
        assert result.value == b"null"

    @needs(Capability.RESULTS)
    async def test_a_failure_is_kept_as_data(self, backend: Backend) -> None:
        result = await ended(backend, Buried("ValueError: boom", BOOM))
        assert result is not None
        assert result.failure == BOOM

    @needs(Capability.RESULTS)
    @pytest.mark.parametrize("outcome", [Buried("lost"), Discarded("lost")], ids=["buried", "discarded"])
    async def test_an_ending_without_an_exception_is_a_failure_too(self, backend: Backend, outcome: Outcome) -> None:
        result = await ended(backend, outcome)
        assert result is not None
        assert result.failure is not None
        assert result.failure.message == "lost"

    @needs(Capability.RESULTS, Capability.DELAY)
    @pytest.mark.parametrize("outcome", [Retried(T + 60, "boom"), Snoozed(T + 60), Released()], ids=str)
    async def test_a_job_that_runs_again_has_none_yet(self, backend: Backend, outcome: Outcome) -> None:
        assert await ended(backend, outcome) is None

    @needs(Capability.RESULTS)
    async def test_a_job_that_nobody_knows_has_none(self, backend: Backend) -> None:
        assert await backend.result(new_id()) is None
        assert await backend.wait_result(new_id(), 0.0) is None

    @needs(Capability.RESULTS)
    @pytest.mark.parametrize(
        "value", [float("nan"), {1, 2}, "\ud800", "x" * (1 << 20)], ids=["nan", "set", "half", "big"]
    )
    async def test_a_value_that_cannot_be_kept_does_not_fail_its_job(self, backend: Backend, value: object) -> None:
        _, delivery = await lend(backend)
        assert await settle(backend, delivery, Done(value))
        assert await is_gone(backend, delivery)
        result = await backend.result(delivery.job.id)
        assert result is not None
        assert result.lost
        assert result.failure is None

    @needs(Capability.RESULTS)
    async def test_an_ending_that_comes_too_late_leaves_no_result(self, backend: Backend) -> None:
        # Given a job that was taken from a pool for dead and is run by another one
        pool, late = await lend(backend)
        await die(backend, pool)
        (delivery,) = await fetch(backend, await join(backend))
        # When the first one ends after all
        assert not await settle(backend, late, Done("late"))
        # Then only the second one's ending counts
        assert await backend.result(delivery.job.id) is None
        assert await settle(backend, delivery, Done("right"))
        result = await backend.result(delivery.job.id)
        assert result is not None
        assert result.value == b'"right"'

    @needs(Capability.RESULTS, Capability.REVIVE)
    async def test_the_latest_ending_counts(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await settle(backend, delivery, Buried("boom"))
        await backend.requeue(State.DEAD, [delivery.job.id], T + 1)
        (again,) = await fetch(backend, pool, now=T + 1)
        await settle(backend, again, Done(2), now=T + 2)
        result = await backend.result(delivery.job.id)
        assert result is not None
        assert (result.value, result.failure, result.at) == (b"2", None, T + 2)

    @needs(Capability.RESULTS)
    async def test_who_waits_is_told(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        waiting = [asyncio.create_task(backend.wait_result(delivery.job.id, PATIENCE)) for _ in range(3)]
        await asyncio.sleep(0)
        await settle(backend, delivery, Done("here"))
        assert [result and result.value for result in await asyncio.gather(*waiting)] == [b'"here"'] * 3

    @needs(Capability.RESULTS)
    async def test_waiting_has_an_end(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert await backend.wait_result(delivery.job.id, 0.05) is None


class ResultStoreContract:
    """For stores of results: give `store` as a fixture, a fresh, empty one for each test, closed afterwards."""

    pytestmark = pytest.mark.asyncio

    def unreachable(self) -> ResultStore | None:
        """A store whose server does not answer, if there is a server."""
        return None

    @pytest.mark.parametrize(
        "result",
        [
            Result("a", T, b'{"x":[1,"\xc3\xa9"]}'),
            Result("b", T),
            Result("c", T, failure=BOOM),
            Result("d", T, lost="too large"),
        ],
        ids=["value", "nothing", "failure", "lost"],
    )
    async def test_a_result_comes_back_as_it_was_put(self, store: ResultStore, result: Result) -> None:
        await store.put([result])
        await store.put([result])
        assert await store.result(result.job_id) == result
        assert await store.wait_result(result.job_id, 0.0) == result

    async def test_many_are_put_at_once(self, store: ResultStore) -> None:
        many = [Result(new_id(), T, str(number).encode()) for number in range(500)]
        await store.put(many)
        assert [await store.result(one.job_id) for one in many] == many

    async def test_no_results_are_no_trouble(self, store: ResultStore) -> None:
        await store.put([])

    async def test_the_latest_one_counts(self, store: ResultStore) -> None:
        await store.put([Result("a", T, failure=BOOM)])
        await store.put([Result("a", T + 1, b"2")])
        assert await store.result("a") == Result("a", T + 1, b"2")

    async def test_what_was_never_put_is_not_there(self, store: ResultStore) -> None:
        assert await store.result("a") is None
        assert await store.wait_result("a", 0.05) is None

    async def test_who_waits_is_told_whoever_puts_it(self, store: ResultStore) -> None:
        # Given many who wait, some for the same one
        ids = [new_id() for _ in range(50)]
        waiting = [asyncio.create_task(store.wait_result(job_id, PATIENCE)) for job_id in [*ids, *ids]]
        await asyncio.sleep(0)
        # When others put the results
        other = store.sibling()
        await other.put([Result(job_id, T, b"1") for job_id in ids])
        # Then each has its own
        assert await asyncio.gather(*waiting) == [Result(job_id, T, b"1") for job_id in [*ids, *ids]]
        await other.close()

    async def test_who_gives_up_waiting_disturbs_nobody(self, store: ResultStore) -> None:
        gone = asyncio.create_task(store.wait_result("a", PATIENCE))
        waits = asyncio.create_task(store.wait_result("a", PATIENCE))
        await asyncio.sleep(0.05)
        gone.cancel()
        await store.put([Result("a", T)])
        assert await waits == Result("a", T)

    async def test_a_server_that_is_away_is_told_of(self) -> None:
        store = self.unreachable()
        if store is None:
            pytest.skip("there is no server that could be away")
        with pytest.raises(BackendUnavailable):
            await store.put([Result("a", T)])
        with pytest.raises(BackendUnavailable):
            await store.wait_result("a", PATIENCE)
        await store.close()

    async def test_a_closed_store_opens_again(self, store: ResultStore) -> None:
        await store.put([Result("a", T)])
        await store.close()
        await store.put([Result("b", T)])
        assert await store.result("b") == Result("b", T)
