"""What the doctor finds in a Resque namespace, and what it mends."""

from __future__ import annotations

import pytest

from resque.conftest import Stored
from resque.test_stored import POOL, T, fetched
from worksong.adapters.resque import ResqueBackend
from worksong.domain.finding import Finding, Severity
from worksong.domain.job import Job
from worksong.ports.backend import Beat


async def examined(backend: ResqueBackend) -> dict[str, Finding]:
    """The findings that are no passed checks."""
    found = await backend.examine(T)
    return {finding.id: finding for finding in found if finding.severity is not Severity.OK}


async def test_ids_that_no_ruby_worker_could_read_are_found_and_dropped(backend: ResqueBackend, stored: Stored) -> None:
    stored.redis.sadd(stored.key("workers"), "h:1:a,b", "broken", "h:2", "h:3:")
    finding = (await examined(backend))["resque.workers.id"]
    assert finding.detail == "broken, h:2, h:3:"
    await backend.fix("resque.workers.id", T)
    assert stored.all()["workers"] == {"h:1:a,b"}
    assert "resque.workers.id" not in await examined(backend)


async def test_workers_of_a_pool_that_is_gone_are_found_and_unregistered(
    backend: ResqueBackend, stored: Stored
) -> None:
    await backend.enlist(POOL, T)
    assert "resque.workers.left" not in await examined(backend)
    stored.redis.srem(stored.key("worksong:pools"), "p1")
    assert "resque.workers.left" in await examined(backend)
    await backend.fix("resque.workers.left", T)
    assert [name for name in stored.all() if name.startswith("worker")] == []


async def test_delayed_jobs_off_the_schedule_are_found_and_put_there(backend: ResqueBackend, stored: Stored) -> None:
    # Given what a Ruby process leaves that dies within its three commands, and a key with a name like it
    stored.redis.rpush(stored.key("delayed:1795196788"), '{"class":"Ok","args":[],"queue":"low"}')
    stored.redis.hset(stored.key("delayed:last_enqueued_at"), "a", "b")
    assert (await examined(backend))["resque.delayed.torn"].detail == "of 1795196788"
    # When
    await backend.fix("resque.delayed.torn", T)
    # Then
    assert "resque.delayed.torn" not in await examined(backend)
    assert await backend.promote(2e9, 10) == 1


async def test_queues_that_are_not_in_the_set_are_found_and_named(backend: ResqueBackend, stored: Stored) -> None:
    stored.redis.rpush(stored.key("queue:lost"), '{"class":"Ok","args":[]}')
    assert (await examined(backend))["resque.queues.unlisted"].detail == "lost"
    await backend.fix("resque.queues.unlisted", T)
    assert len(await fetched(backend)) == 1


async def test_a_pause_of_everybody_and_a_foreign_scheduler_are_told(backend: ResqueBackend, stored: Stored) -> None:
    stored.redis.set(stored.key("pause-all-workers"), "true")
    stored.redis.set(stored.key("resque:resque_scheduler_master_lock"), "host:17719")
    found = await examined(backend)
    assert found["resque.paused"].severity is Severity.INFO
    assert found["resque.scheduler.elsewhere"].detail == "it is host:17719"


async def test_jobs_of_unregistered_pools_are_found_and_queued_again(backend: ResqueBackend) -> None:
    await backend.push([Job("Ok", [1], queue="low", id="a")], T)
    await fetched(backend)
    assert "1 jobs" in (await examined(backend))["jobs.orphaned"].detail
    assert await backend.fix("jobs.orphaned", T) == "1 jobs queued again, 0 buried"
    assert len(await fetched(backend)) == 1


async def test_keys_of_a_wrong_type_are_named(backend: ResqueBackend, stored: Stored) -> None:
    stored.redis.set(stored.key("failed"), "x")
    finding = (await examined(backend))["redis.keys.type"]
    assert finding.severity is Severity.ERROR
    assert "failed holds a string where a list belongs" in finding.detail


async def test_jobs_that_only_others_may_know_are_told_mildly(backend: ResqueBackend, stored: Stored) -> None:
    await backend.push([Job("Ruby::Only", [1], queue="low", id="a")], T)
    await backend.enlist(POOL, T)
    await backend.beat(Beat(POOL), T)
    assert (await examined(backend))["jobs.unserved"].severity is Severity.WARNING
    stored.redis.sadd(stored.key("workers"), "h:1:low")
    finding = (await examined(backend))["jobs.unserved"]
    assert finding.severity is Severity.INFO
    assert "1 workers of other libraries" in finding.detail


@pytest.mark.parametrize("finding", ["resque.workers.id", "resque.workers.left", "resque.queues.unlisted"])
async def test_with_nothing_to_mend_mending_says_so(backend: ResqueBackend, finding: str) -> None:
    assert "by now" in await backend.fix(finding, T)
