"""What lies in a namespace after worksong's steps, compared with what the peers leave there."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from corpus import CORPUS
from resque.conftest import Open, Stored, as_read
from worksong.adapters.resque import ResqueBackend
from worksong.domain.errors import WorksongError
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Done, Failure, Outcome, Released, Retried, Settlement, Snoozed
from worksong.domain.turns import Share
from worksong.ports.backend import Beat, Pool, Running, Want, Window

T = 1_795_195_629.0
POOL = Pool(
    id="p1",
    handlers=("Ok", "Boom"),
    queues=("critical", "low"),
    concurrency=2,
    worker_ids=("s1", "s2"),
    host="host:1",
    pid=47,
    started_at=T,
)
NAME = "host_1-worksong:47-p1:critical,low"


async def fetched(backend: ResqueBackend, *names: str, limit: int = 10, now: float = T) -> list[Delivery]:
    """Whatever of these classes can be lent."""
    return await backend.fetch(Want("p1", limit, 0.0, tuple(Share(name, limit) for name in names or ("Ok",))), now)


async def settled(backend: ResqueBackend, delivery: Delivery, outcome: Outcome, now: float = T) -> None:
    assert await backend.settle([Settlement(delivery, outcome)], now) == [True]


# in


@pytest.mark.parametrize("case", ["enqueue_args_oj", "scheduler_enqueue_at"])
async def test_a_plain_job_lies_there_as_ruby_would_have_put_it(
    opened: Open, stored: Stored, golden: dict[str, Any], case: str
) -> None:
    at = golden[case]["inputs"].get("at", 0)
    job = Job("Ok", golden[case]["inputs"]["args"], queue="critical", id="a1", run_at=at)
    await opened(plain="true").push([job], T)
    assert stored.all() == as_read(golden[case]["redis_after"])


async def test_foreign_delayed_jobs_and_our_own_are_deleted_by_their_ids_at_once(
    backend: ResqueBackend, stored: Stored
) -> None:
    # Given delayed jobs of another scheduler, which have no ids, and one of our own
    for number in range(3):
        stored.redis.rpush(stored.key("delayed:1795196788"), f'{{"class":"Ok","args":[{number}],"queue":"low"}}')
    stored.redis.zadd(stored.key("delayed_queue_schedule"), {"1795196788": 1795196788})
    await backend.push([Job("Ok", id="ours", run_at=1795196799.0)], T)
    # When all but one are named as they are listed, then that one stays
    first, *others = [view.id for view in await backend.jobs(State.SCHEDULED, Window(10))]
    assert await backend.delete(State.SCHEDULED, others) == 3
    assert [view.id for view in await backend.jobs(State.SCHEDULED, Window(10))] == [first]


async def test_equal_delayed_jobs_of_one_second_are_both_kept(
    opened: Open, stored: Stored, golden: dict[str, Any]
) -> None:
    job = Job("Ok", [1], queue="critical", id="a1", run_at=4102444799.5)
    await opened(plain="true").push([job, job], T)
    assert stored.all() == as_read(golden["scheduler_enqueue_at_twice"]["redis_after"])


async def test_queues_have_their_names_in_the_set_as_long_as_nobody_removes_them(
    backend: ResqueBackend, stored: Stored
) -> None:
    await backend.push([Job("Ok", [1], queue="low", id="a")], T)
    await backend.purge("low")
    assert stored.all() == {"queues": {"low"}}


# out


@pytest.mark.parametrize("case", ["scheduler_moves_due", "node_scheduler_moves_due"])
async def test_due_jobs_of_all_kinds_are_moved_as_their_own_scheduler_does(
    backend: ResqueBackend, stored: Stored, golden: dict[str, Any], case: str
) -> None:
    # Given
    stored.put(golden[case]["redis_before"])
    # When
    assert await backend.promote(2e9, 100) == len(as_read(golden[case]["redis_after"])["queue:critical"])
    # Then but for the lock, which is theirs
    recorded = as_read(golden[case]["redis_after"])
    for name in ("resque:resque_scheduler_master_lock", "connection_test_key"):
        recorded.pop(name, None)
    assert stored.all() == recorded


async def test_due_jobs_whose_queue_is_broken_starve_none_behind_them(backend: ResqueBackend, stored: Stored) -> None:
    stuck = [Job("Ok", [n], queue="broken", id=str(n), run_at=T + n // 2) for n in range(7)]
    good = [Job("Ok", [n], queue="low", id=str(n), run_at=T + n) for n in (3, 7, 8)]
    await backend.push([*stuck, *good], T)
    stored.redis.set(stored.key("queue:broken"), "x")
    assert [await backend.promote(T + 9, 2) for _ in range(3)] == [2, 1, 0]
    assert (await backend.counts())[State.SCHEDULED] == 7


async def test_a_second_that_a_removal_left_empty_is_taken_off_the_schedule(
    backend: ResqueBackend, stored: Stored
) -> None:
    stored.redis.zadd(stored.key("delayed_queue_schedule"), {"1795196788": 1795196788})
    assert await backend.promote(2e9, 100) == 0
    assert "delayed_queue_schedule" not in stored.all()


@pytest.mark.parametrize("lock", ["resque:resque_scheduler_master_lock", "resque_scheduler_leader_lock"])
async def test_the_lock_of_another_scheduler_is_obeyed_and_never_taken(
    backend: ResqueBackend, stored: Stored, lock: str
) -> None:
    await backend.push([Job("Ok", [1], queue="low", id="a", run_at=T)], T)
    stored.redis.set(stored.key(lock), "host:17719")
    assert await backend.promote(T, 100) == 0
    assert stored.redis.get(stored.key(lock)) == "host:17719"
    stored.redis.delete(stored.key(lock))
    assert await backend.promote(T, 100) == 1
    assert stored.redis.exists(stored.key(lock)) == 0


async def test_a_job_lent_is_in_the_hands_of_the_pool_until_it_is_settled(
    backend: ResqueBackend, stored: Stored
) -> None:
    raw = '{"class":"Ok","args":[1.0e+20]}'
    stored.redis.sadd(stored.key("queues"), "critical")
    stored.redis.rpush(stored.key("queue:critical"), raw, raw)
    one, other = await fetched(backend)
    # Equal bytes, and two lendings
    lent = {str(delivery.fence): f"8:critical{raw}" for delivery in (one, other)}
    assert stored.all(own=True)["worksong:lent:p1"] == lent
    await settled(backend, other, Done())
    assert stored.all(own=True)["worksong:lent:p1"] == {str(one.fence): f"8:critical{raw}"}
    await settled(backend, one, Released())
    assert stored.redis.lrange(stored.key("queue:critical"), 0, -1) == [raw]


async def test_fences_grow_though_the_server_lost_its_last_writes(backend: ResqueBackend, stored: Stored) -> None:
    # Given a lending that the server forgot, and the fence with it
    await backend.push([Job("Ok", [1], queue="low", id="a")], T)
    before = stored.redis.get(stored.key("worksong:fence"))
    (old,) = await fetched(backend)
    await settled(backend, old, Released())
    stored.redis.set(stored.key("worksong:fence"), before or "0")
    # When the job is lent once more
    (new,) = await fetched(backend)
    # Then an ending of the first lending does not reach the second
    assert new.fence > old.fence
    assert await backend.settle([Settlement(old, Done())], T) == [False]
    await settled(backend, new, Done())


@pytest.mark.parametrize("number", ["x", "007", "9223372036854775807"])
async def test_numbers_that_cannot_grow_are_refused_before_anything_is_written(
    backend: ResqueBackend, stored: Stored, number: str
) -> None:
    # Given a due job and a lent one
    await backend.push([Job("Ok", [n], queue="low", id=str(n), run_at=T * n) for n in (0, 1)], T)
    (lent,) = await fetched(backend)
    # When the counters are spoilt, then nothing is moved or settled
    for name in ("worksong:order", "stat:failed"):
        stored.redis.set(stored.key(name), number)
    before = stored.all(own=True)
    with pytest.raises(WorksongError, match="holds a text where a number belongs"):
        await backend.promote(T, 10)
    with pytest.raises(WorksongError, match="holds a text where a number belongs"):
        await backend.settle([Settlement(lent, Buried("boom"))], T)
    assert stored.all(own=True) == before


async def test_a_malformed_lending_keeps_no_other_from_its_ending(backend: ResqueBackend, stored: Stored) -> None:
    await backend.push([Job("Ok", [n], queue="low", id=str(n)) for n in (1, 2)], T)
    deliveries = await fetched(backend)
    stored.redis.hset(stored.key("worksong:lent:p1"), str(deliveries[0].fence), "x")
    assert await backend.settle([Settlement(delivery, Released()) for delivery in deliveries], T) == [False, True]
    assert [delivery.job.id for delivery in await fetched(backend)] == ["2"]


async def test_attempts_and_failures_are_counted_as_ruby_counts_them(backend: ResqueBackend, stored: Stored) -> None:
    await backend.enlist(POOL, T)
    await backend.push([Job("Ok", [n], queue="low", id=str(n)) for n in range(5)], T)
    deliveries = await fetched(backend)
    failure = Failure("ValueError", "boom", "Traceback\nValueError: boom")
    outcomes = [Done(), Retried(T + 9, "boom"), Buried("ValueError: boom", failure), Snoozed(T + 9), Released()]
    for delivery, outcome in zip(deliveries, outcomes, strict=True):
        await settled(backend, delivery, outcome)
    left = stored.all()
    assert (left["stat:processed"], left["stat:failed"]) == ("3", "2")
    assert (left[f"stat:processed:{NAME}"], left[f"stat:failed:{NAME}"]) == ("3", "2")
    (told,) = map(json.loads, left["failed"])
    assert (told["worker"], told["queue"], told["backtrace"]) == (NAME, "low", ["Traceback", "ValueError: boom"])


async def test_a_retry_lies_on_the_schedule_with_its_count_as_the_plugins_keep_it(
    backend: ResqueBackend, stored: Stored
) -> None:
    # Given a foreign job that fails
    stored.redis.sadd(stored.key("queues"), "critical")
    stored.redis.rpush(stored.key("queue:critical"), '{"class":"Ok","args":[7]}')
    (delivery,) = await fetched(backend)
    await settled(backend, delivery, Retried(T + 9.5, "boom"))
    # Then it waits where all schedulers look, and its count where resque-retry's is
    left = stored.all()
    (raw,) = left["delayed:1795195639"]
    assert json.loads(raw)["queue"] == "critical"
    assert left[f"timestamps:{raw}"] == {"delayed:1795195639"}
    assert left["resque-retry:Ok:7"] == "0"
    assert 0 < stored.redis.ttl(stored.key("resque-retry:Ok:7")) <= 86400 + 10
    # And when Ruby's scheduler has moved it, which drops our member, its tries are still known
    stored.redis.delete(*(stored.key(name) for name in left if name.startswith(("delayed", "timestamps"))))
    stored.redis.rpush(stored.key("queue:critical"), '{"class":"Ok","args":[7]}')
    (again,) = await fetched(backend)
    assert (again.job.attempt, again.job.id) == (2, delivery.job.id)
    assert (await backend.counts())[State.RETRY] == 0
    await settled(backend, again, Done())
    assert "resque-retry:Ok:7" not in stored.all()


async def test_classes_of_others_stay_in_the_queue_for_those_who_know_them(
    backend: ResqueBackend, stored: Stored
) -> None:
    stored.redis.sadd(stored.key("queues"), "critical")
    mixed = [json.dumps({"class": "Other" if n % 7 else "Ok", "args": [n]}) for n in range(2000)]
    stored.redis.rpush(stored.key("queue:critical"), *mixed)
    lent = await fetched(backend, limit=1000)
    assert [delivery.job.args for delivery in lent] == [[n] for n in range(0, 2000, 7)]
    assert stored.redis.llen(stored.key("queue:critical")) == 2000 - len(lent)


async def test_a_pattern_that_no_name_fits_disturbs_no_other(backend: ResqueBackend) -> None:
    await backend.push([Job("Ok", [1], queue=queue, id=queue) for queue in ("low", "qa")], T)
    want = Want("p1", 10, 0.0, (Share("Ok", 10),), queues=("q[z-a]", "l*", "!q[z-a]"))
    assert [delivery.job.id for delivery in await backend.fetch(want, T)] == ["low"]


async def test_foreign_queues_have_their_turns(backend: ResqueBackend, stored: Stored) -> None:
    # Given two queues that Ruby filled
    for queue in ("a", "b"):
        stored.redis.sadd(stored.key("queues"), queue)
        stored.redis.rpush(stored.key(f"queue:{queue}"), *['{"class":"Ok","args":[]}'] * 20)
    # When one job is asked for at a time, then none of them starves
    queues = [(await fetched(backend, limit=1))[0].job.queue for _ in range(10)]
    assert sorted(queues) == ["a"] * 5 + ["b"] * 5


async def test_a_pause_of_all_workers_is_obeyed(backend: ResqueBackend, stored: Stored) -> None:
    await backend.push([Job("Ok", [1], queue="low", id="a")], T)
    stored.redis.set(stored.key("pause-all-workers"), "true")
    assert await fetched(backend) == []
    assert [queue.paused for queue in await backend.queues(T)] == [True]
    stored.redis.delete(stored.key("pause-all-workers"))
    assert len(await fetched(backend)) == 1


async def test_a_foreign_job_is_cancelled_only_while_it_waits(backend: ResqueBackend, stored: Stored) -> None:
    # Given two equal jobs of Ruby, of which one runs
    await backend.enlist(POOL, T)
    stored.redis.sadd(stored.key("queues"), "low")
    stored.redis.rpush(stored.key("queue:low"), *['{"class":"Ok","args":[7]}'] * 2)
    (running,) = await fetched(backend, limit=1)
    # When their id is cancelled, then the other one is dropped
    assert await backend.cancel(running.job.id, T)
    assert stored.redis.llen(stored.key("queue:low")) == 0
    # And for the one that runs no mark is left, which would stop equal jobs later
    assert not await backend.cancel(running.job.id, T)
    assert "worksong:cancelled" not in stored.all(own=True)


# workers


async def test_a_pool_is_registered_as_ruby_registers_and_leaves_nothing_behind(
    backend: ResqueBackend, stored: Stored
) -> None:
    await backend.enlist(POOL, T)
    names = {NAME, *(f"host_1-worksong:47-p1-{n}:critical,low" for n in (0, 1))}
    left = stored.all()
    assert left["workers"] == names == set(left["workers:heartbeat"])
    assert {left[f"worker:{name}:started"] for name in names} == {"2026-11-20 17:27:09 +0000"}
    assert await backend.leave(POOL, T) == 0
    assert stored.all() == {}


async def test_a_pool_that_somebody_pruned_registers_again(backend: ResqueBackend, stored: Stored) -> None:
    await backend.enlist(POOL, T)
    before = stored.all()["workers"]
    for key in ("workers", "workers:heartbeat"):
        stored.redis.delete(stored.key(key))
    await backend.beat(Beat(POOL), T + 10)
    assert stored.all()["workers"] == before == set(stored.all()["workers:heartbeat"])


async def test_what_a_slot_does_is_told_as_ruby_tells_it(backend: ResqueBackend, stored: Stored) -> None:
    await backend.enlist(POOL, T)
    await backend.push([Job("Ok", {"user": 1, "secret": 2}, queue="low", id="a")], T)
    (delivery,) = await fetched(backend)
    key = "worker:host_1-worksong:47-p1-1:critical,low"
    await backend.beat(Beat(POOL, (Running(delivery, 1, T, hidden=("secret",)),), (delivery,)), T + 1)
    assert json.loads(stored.all()[key]) == {
        "queue": "low",
        "run_at": "2026-11-20T17:27:09Z",
        "payload": {"class": "Ok", "args": [{"user": 1, "secret": "***"}]},
    }
    await settled(backend, delivery, Done())
    await backend.beat(Beat(POOL), T + 2)
    assert key not in stored.all()


async def test_a_dead_pool_is_unregistered_and_its_job_comes_behind_the_others(opened: Open, stored: Stored) -> None:
    dead, alive = opened(), opened()
    await dead.enlist(POOL, T)
    await dead.push([Job("Ok", [n], queue="low", id=str(n)) for n in (1, 2)], T)
    await fetched(dead, limit=1)
    found = await alive.reap(T, 0.0, dead=["p1"])
    assert (found.pools, found.recovered) == (("p1",), 1)
    assert "workers" not in stored.all()
    assert [delivery.job.args for delivery in await fetched(alive)] == [[2], [1]]


async def test_equal_foreign_jobs_are_one_crash_of_their_pool_and_none_once_one_went_well(
    backend: ResqueBackend, stored: Stored
) -> None:
    # Given many equal jobs of Ruby in the hands of pools that die
    stored.redis.sadd(stored.key("queues"), "low")
    stored.redis.rpush(stored.key("queue:low"), *['{"class":"Ok","args":[7]}'] * 1200)
    for crashes in ("1", "2", "3"):
        await fetched(backend, limit=1000)
        await fetched(backend, limit=1000)
        found = await backend.reap(T, 0.0, dead=["p1"])
        # Then each pool counts once
        assert (found.recovered, found.crashed) == (1200, 0)
        assert list(stored.redis.hgetall(stored.key("worksong:recovered")).values()) == [crashes]
    # And when one of them is done, the count is forgotten
    (one,) = await fetched(backend, limit=1)
    await settled(backend, one, Done())
    assert not [key for key in stored.all(own=True) if key.startswith("worksong:recovered")]


async def test_what_a_pool_fetched_after_its_end_is_given_back(backend: ResqueBackend) -> None:
    # Given something lent to a pool that nobody has registered
    await backend.push([Job("Ok", [1], queue="low", id="a")], T)
    await fetched(backend)
    # When it was seen so twice, a minute apart
    assert (await backend.reap(T, 100.0)).recovered == 0
    assert (await backend.reap(T, 161.0)).recovered == 1
    assert len(await fetched(backend)) == 1


# poison


@pytest.mark.timeout(300)
async def test_the_poison_corpus_costs_no_neighbour_anything(backend: ResqueBackend, stored: Stored) -> None:
    # Given every document of the corpus, in Resque's words, before a good job
    planted = [raw.replace(b'"name":', b'"class":', 1) for _, raw, _ in CORPUS]
    stored.redis.sadd(stored.key("queues"), "critical")
    for raw in planted:
        stored.redis.rpush(stored.key("queue:critical"), raw)
    await backend.push([Job("Ok", ["good"], queue="critical", id="good")], T)
    # When all of it was fetched by a pool that knows the one class
    good = await fetched(backend, "Ok", limit=1000)
    assert [delivery.job.id for delivery in good] == ["good"]
    # Then what is no job is among the failures with its bytes, and the rest waits for who knows it
    failures = await backend.jobs(State.DEAD, Window(1000))
    kept = [(await backend.job(view.id)) for view in failures]
    with redis.Redis.from_url(stored.url) as store:
        waiting = store.lrange(stored.key("queue:critical"), 0, -1)
    assert all(view is not None and view.reason for view in kept)
    assert sorted([*(view.raw for view in kept if view), *waiting]) == sorted(planted)
    # And every listing can be shown
    for state in (State.QUEUED, State.DEAD, State.SCHEDULED, State.RETRY, State.RUNNING):
        await backend.jobs(state, Window(1000))
    assert await backend.queues(T)


async def test_poison_that_cannot_be_buried_costs_no_neighbour_anything(backend: ResqueBackend, stored: Stored) -> None:
    stored.redis.set(stored.key("failed"), "x")
    stored.redis.sadd(stored.key("queues"), "low")
    stored.redis.rpush(stored.key("queue:low"), "{")
    await backend.push([Job("Ok", [1], queue="low", id="a")], T)
    (delivery,) = await fetched(backend)
    await settled(backend, delivery, Done())


async def test_poison_on_the_schedule_goes_to_the_failures(backend: ResqueBackend, stored: Stored) -> None:
    planted = [b"{", b'{"class":"Ok","args":[1]}', b'{"class":"Ok","args":{"x":1},"queue":"low"}']
    stored.redis.zadd(stored.key("delayed_queue_schedule"), {"10": 10})
    stored.redis.rpush(stored.key("delayed:10"), *planted)
    await backend.promote(T, 100)
    failures = await backend.jobs(State.DEAD, Window(10))
    assert sorted(view.raw for view in failures) == sorted(planted)
    assert "delayed:10" not in stored.all()


async def test_a_key_of_a_wrong_type_stops_only_its_own_queue(backend: ResqueBackend, stored: Stored) -> None:
    stored.redis.sadd(stored.key("queues"), "broken")
    stored.redis.set(stored.key("queue:broken"), "x")
    await backend.push([Job("Ok", [1], queue="low", id="a")], T)
    await backend.enlist(POOL, T)
    assert [delivery.job.id for delivery in await fetched(backend)] == ["a"]
    assert (await backend.counts())[State.RUNNING] == 1
    assert {queue.name: queue.count for queue in await backend.queues(T)} == {"broken": 0, "low": 0}
