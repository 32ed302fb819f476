"""The contract on Faktory, whose scanners have their turn whenever the contract promotes.

The server moves what is due by itself, so `promote` of the adapter does nothing: here it turns the server's clock
instead. Unless the real server was built before (`make faktory`), one stands in for it. Where Faktory keeps another
promise than the contract, `OTHERWISE` says which; what it keeps is tested in tests/faktory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import gotool
import servers
from faktory.real import Real
from faktory.standin import Standin
from worksong.adapters.faktory import FaktoryBackend
from worksong.domain.errors import BackendUnavailable
from worksong.ports.backend import Backend
from worksong.testing.contract import BackendContract
from worksong.testing.contract.steps import T
from worksong.testing.contract.stores import CALLS

POOLS = "reservations are per job and timed by the server: nobody watches pools, and an expired one counts as a failure"
BACK = "Faktory takes jobs in at the back of a queue only"
TURNS = "Faktory lends by queue, whatever the types of the jobs in it"
SCANNERS = "the server queues all that is due, whoever asks"
COUNTS = "Faktory counts, although it lists no jobs: so nothing is refused here"
APART = "the server takes the jobs of a push one by one, and those of others in between: tests/faktory"
TIMED = "a retry at a time that its handler chose is a scheduled job there, and not among the retries"

OTHERWISE = {
    # leases
    "test_a_pool_that_stands_still_is_dead_after_eight_seconds": POOLS,
    "test_a_job_may_run_for_days_while_its_pool_beats": "a reservation lasts a day at most, and cannot be renewed",
    "test_a_pool_known_to_be_dead_is_reaped_at_once": POOLS,
    "test_only_the_dead_pools_lose_their_jobs": POOLS,
    "test_all_jobs_of_all_types_are_recovered": POOLS,
    "test_a_pool_is_reaped_once": POOLS,
    "test_a_worker_lost_is_no_failure_of_the_job": POOLS,
    "test_a_pool_taken_for_dead_hears_of_it": POOLS,
    "test_an_evicted_pool_goes_on_under_a_new_id": POOLS,
    "test_a_job_that_lost_three_workers_runs_again": POOLS,
    "test_crashes_are_forgotten_after_72_hours": POOLS,
    "test_the_crashes_of_one_job_are_not_those_of_another": POOLS,
    "test_a_late_ending_changes_nothing_while_the_job_waits_again": POOLS,
    "test_a_late_ending_changes_nothing_while_the_job_runs_elsewhere": POOLS,
    "test_a_late_ending_takes_its_effect_along": POOLS,
    "test_an_ending_that_comes_too_late_leaves_no_result": POOLS,
    "test_a_job_that_lost_four_workers_is_buried": POOLS,
    "test_a_cancelled_job_that_lost_four_workers_is_gone": POOLS,
    "test_a_job_buried_for_its_crashes_can_be_requeued": POOLS,
    # order
    "test_leaving_hands_everything_back_to_the_front_in_order": BACK,
    "test_a_released_job_goes_back_to_the_front_as_it_came": BACK,
    "test_pushes_of_many_callers_at_once_are_all_taken_in": APART,
    "test_jobs_of_several_types_can_be_pushed_together": TURNS,
    "test_no_type_exceeds_its_quota_while_another_has_jobs": TURNS,
    "test_a_type_without_a_quota_is_asked_when_the_others_have_no_more": TURNS,
    "test_types_are_asked_in_the_order_of_the_turn": TURNS,
    "test_without_queues_the_oldest_job_of_all_queues_comes_first": "Faktory has no order among queues but the asker's",
    # time
    "test_no_more_is_promoted_than_asked_for": SCANNERS,
    "test_retries_and_scheduled_jobs_together_stay_within_what_was_asked_for": SCANNERS,
    "test_the_soonest_is_promoted_first": SCANNERS,
    "test_who_waits_for_what_is_due_hears_of_what_comes_in": SCANNERS,
    # listings
    "test_queues_tell_their_length_and_latency": COUNTS,
    "test_a_lent_job_waits_no_longer": COUNTS,
    "test_queues_are_listed_apart": COUNTS,
    "test_a_latency_is_never_negative": COUNTS,
    "test_a_pause_is_listed": COUNTS,
    "test_a_job_promoted_into_a_paused_queue_waits": "Faktory pauses no queue that it has not seen a job of",
    "test_every_job_is_counted_where_it_is": TIMED,
    "test_a_batch_may_hold_every_kind_of_ending": TIMED,
    "test_waiting_jobs_of_a_type_that_nobody_knows_are_found": COUNTS,
    "test_jobs_that_nobody_promotes_are_found": COUNTS,
    "test_nobody_is_told_without_a_cancellation": "jobs cannot be cancelled, so nobody is ever told",
    "test_a_lock_of_which_only_the_digest_is_known_is_kept_or_refused": "jobs cannot be moved, so none is ever refused",
    "test_a_paused_queue_is_found": COUNTS,
    "test_an_examination_changes_nothing": COUNTS,
    "test_a_purged_queue_takes_jobs_in_again": COUNTS,
    "test_all_dead_jobs_are_deleted_at_once": COUNTS,
    # an operator's hand
    "test_a_dead_job_is_queued_with_its_failures_forgotten": "MUTATE forgets no failures: a dead job has one try more",
    "test_a_retry_is_queued_at_once_and_keeps_its_failures": TIMED,
    "test_a_deleted_retry_never_runs": TIMED,
    # outages
    "test_a_server_that_is_away_is_unavailable": "what Faktory cannot do is refused without asking it",
}
ASKED = ("push", "push once", "push for later", "fetch", "fetch and wait", "enlist", "beat", "queues", "counts")
ASKED += ("requeue", "delete", "pause", "resume", "purge", "admit", "examine")


@pytest.mark.timeout(gotool.BUILT + 400)  # the first one waits for the server to be built
class TestFaktory(BackendContract):
    @pytest.fixture(autouse=True)
    def otherwise(self, request: pytest.FixtureRequest) -> None:
        name = request.function.__name__
        if name in OTHERWISE:
            pytest.skip(f"faktory:// keeps another promise: {OTHERWISE[name]}")

    @pytest.fixture
    def server(
        self, faktory_server: servers.Faktory | None, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Standin | Real]:
        if faktory_server is None:
            with Standin(now=T, fetch_wait=0.05) as standin:
                yield standin
            return
        with Real(faktory_server, now=T) as real:
            real.bend(monkeypatch)
            yield real

    @pytest.fixture
    async def backend(self, server: Standin | Real) -> AsyncIterator[FaktoryBackend]:
        class Timed(FaktoryBackend):
            def _use(self, *parts: Any) -> None:
                super()._use(*parts)
                self.name = "faktory://"  # without the port, which is another one each time

            async def promote(self, now: float, limit: int) -> int:
                return server.turn_to(now)

        backend = Timed(server.url, namespace="")
        yield backend
        await backend.close()

    def unreachable(self) -> Backend:
        return FaktoryBackend("faktory://127.0.0.1:1", namespace="")

    @pytest.mark.parametrize("call", ASKED)
    async def test_without_the_server_nothing_is_answered(self, call: str) -> None:
        away = self.unreachable()
        with pytest.raises(BackendUnavailable):
            await CALLS[call](away)
        await away.close()


def test_every_exception_is_one_from_the_contract() -> None:
    assert [name for name in OTHERWISE if not hasattr(BackendContract, name)] == []
