"""Workers of both languages on the same queues: nothing lost, nothing altered, nothing run twice.

Each story is told with the real peer (gopeer, where it can be built) and with the one that repeats its recordings.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from interop.fleet import Ledger, eventually, left, make_due, plain, random_args, running, witness
from interop.peers import LIMIT, PATIENCE, ClientRefused, Event, Peer, Working
from worksong import Context, InvalidArguments, Job, Worker
from worksong.domain import retry
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Pool, Want
from worksong.wire.gocraft_keys import Keys

MANY = 10_000
FIRINGS = 5
"""Of the eleven or twelve that are put on the schedule at once, so many are not due within two minutes."""
SEED = 20231114
HOUR = ("-backoff", "3600")
NewWorker = Callable[..., Worker]

pytestmark = pytest.mark.timeout(LIMIT)


def plain_jobs(name: str, arguments: list[Any]) -> list[Event]:
    return [{"call": "Enqueue", "name": name, "args": args} for args in arguments]


# many jobs


async def test_ten_thousand_jobs_of_the_peer_are_worked_by_worksong_unaltered(
    peer: Peer, new_worker: NewWorker
) -> None:
    # Given
    chance = random.Random(SEED)
    arguments = [random_args(chance) for _ in range(MANY)]
    replies = await peer.enqueue(plain_jobs("mixed", arguments))
    sent = {reply["id"]: plain(args) for reply, args in zip(replies, arguments, strict=True)}
    worker = new_worker(25)
    seen = witness(worker, "mixed")

    # When
    async with running(worker):
        await seen.until(MANY)

    # Then
    assert len(sent) == len(seen.jobs) == MANY
    assert {job.id: plain(job.args) for job in seen.jobs} == sent
    assert await left(worker) == {}


async def test_ten_thousand_jobs_of_worksong_are_worked_by_the_peer_unaltered(
    peer: Peer, new_worker: NewWorker
) -> None:
    # Given
    chance, worker = random.Random(SEED + 1), new_worker()
    jobs = [Job("mixed", random_args(chance)) for _ in range(MANY)]
    sent = {handle.id: plain(handle.job.args) for handle in await worker.aperform_many(jobs) if handle}

    # When
    async with peer.work("mixed", "-concurrency", "4") as pool:
        await pool.until_ended(MANY)

    # Then
    starts = pool.named("start")
    assert len(sent) == len(starts) == MANY
    assert {start["id"]: plain(start["args"]) for start in starts} == sent
    assert await left(worker) == {}


async def test_two_peers_and_two_worksong_workers_share_a_queue(
    peer: Peer, new_worker: NewWorker, tmp_path: Path
) -> None:
    # Given half of the jobs from either side, none of which ends before everybody has begun one
    first, second = new_worker(), new_worker()
    gate, go_on = tmp_path / "gate", asyncio.Event()
    seen = [witness(worker, "mixed", until=go_on) for worker in (first, second)]
    arguments = [{"_until": str(gate), "i": i} for i in range(1000)]
    ids = [reply["id"] for reply in await peer.enqueue(plain_jobs("mixed", arguments))]
    ids += [handle.id for handle in await first.aperform_many([Job("mixed", args) for args in arguments]) if handle]
    async with (
        peer.work("mixed", "-concurrency", "4") as one,
        peer.work("mixed", "-concurrency", "4") as two,
        running(first),
        running(second),
    ):

        async def everything() -> list[str]:
            return [job.id for side in seen for job in side.jobs] + ended(one) + ended(two)

        # When they have, and go on
        for pool in (one, two):
            await pool.until_started(1)
        for side in seen:
            await side.until(1)
        gate.touch()
        go_on.set()

        # Then each job runs once
        await eventually(everything, lambda done: len(done) >= len(ids))
    assert Counter(await everything()) == Counter(ids)
    assert await left(first) == {}


def ended(pool: Working) -> list[str]:
    return [end["id"] for end in pool.named("end")]


# failures


async def test_a_job_that_failed_in_the_peer_is_retried_by_worksong(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given a job that failed in the peer
    worker = new_worker()
    seen = witness(worker, "shaky")
    before = int(time.time())
    (reply,) = await peer.enqueue(plain_jobs("shaky", [{"_fail": "bööm <&>", "n": 1.5}]))
    async with peer.work("shaky", *HOUR) as pool:
        await pool.until_ended(1)

    # When worksong looks at it
    (retry_at,) = await worker.admin.aretries()
    job = retry_at.job

    # Then it reads what the peer wrote
    assert (job.id, job.fails, job.error, job.args) == (reply["id"], 1, "bööm <&>", {"_fail": "bööm <&>", "n": 1.5})
    assert before <= job.failed_at <= time.time()
    assert retry_at.at in (job.failed_at + 3600, job.failed_at + 3601)

    # And runs it when it is due
    make_due(store, keys.retry)
    async with running(worker):
        (again,) = await seen.until(1)
    assert (again.id, again.attempt, again.error, again.args) == (job.id, 2, job.error, job.args)
    assert await left(worker) == {}


async def test_a_job_that_failed_in_worksong_is_retried_by_the_peer(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given a job that failed in worksong
    worker = new_worker()
    seen = witness(worker, "shaky", error="bööm <&>", backoff=retry.fixed(3600.0))
    before = int(time.time())
    handle = await worker.aperform(Job("shaky", {"n": 1.5}))
    assert handle
    async with running(worker):
        await seen.until(1)

    # When the peer looks at it
    page = await peer.client("retry")

    # Then it reads what worksong wrote
    (job,) = page["jobs"]
    assert page["count"] == 1
    assert (job["id"], job["fails"], job["err"], job["args"]) == (handle.id, 1, "RuntimeError: bööm <&>", {"n": 1.5})
    assert before <= job["failed_at"] <= time.time()
    assert job["retry_at"] in (job["failed_at"] + 3600, job["failed_at"] + 3601)

    # And runs it when it is due
    make_due(store, keys.retry)
    async with peer.work("shaky") as pool:
        (again,) = await pool.until_ended(1)
    assert (again["id"], again["error"], pool.named("start")[0]["fails"]) == (handle.id, None, 1)
    assert await left(worker) == {}


async def test_failures_on_both_sides_are_counted_together(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given a job that may fail three times
    worker = new_worker()
    seen = witness(worker, "shaky", error="ours", backoff=retry.fixed(3600.0), max_fails=3)
    await peer.enqueue(plain_jobs("shaky", [{"_fail": "theirs"}]))

    # When it fails here, there and here again
    async with running(worker):
        await seen.until(1)
    make_due(store, keys.retry)
    async with peer.work("shaky:3", *HOUR) as pool:
        await pool.until_ended(1)
    make_due(store, keys.retry)
    async with running(worker):
        await seen.until(2)

    # Then it is dead
    assert [job.fails for job in seen.jobs] == [0, 2]
    (dead,) = await worker.admin.adead()
    assert (dead.job.fails, dead.error) == (3, "RuntimeError: ours")


async def test_the_peers_client_revives_a_job_that_worksong_buried(peer: Peer, new_worker: NewWorker) -> None:
    # Given
    worker = new_worker()
    seen = witness(worker, "doomed", error="no hope", max_fails=1)
    handle = await worker.aperform(Job("doomed", {"n": 1}))
    assert handle
    async with running(worker):
        await seen.until(1)

    # When
    page = await peer.client("dead")
    (job,) = page["jobs"]
    assert (page["count"], job["id"], job["fails"], job["err"]) == (1, handle.id, 1, "RuntimeError: no hope")
    assert job["died_at"] == job["failed_at"]
    assert await peer.client("retry-dead", job["id"], str(job["died_at"])) == {"status": "ok"}

    # Then it runs with its failures forgotten
    async with peer.work("doomed") as pool:
        (start,) = await pool.until_started(1)
    assert (start["id"], start["fails"], start["args"]) == (handle.id, 0, {"n": 1})
    assert await left(worker) == {}


async def test_worksong_revives_a_job_that_the_peer_buried(peer: Peer, new_worker: NewWorker) -> None:
    # Given
    worker = new_worker()
    seen = witness(worker, "doomed")
    (reply,) = await peer.enqueue(plain_jobs("doomed", [{"_fail": "no hope"}]))
    async with peer.work("doomed:1") as pool:
        await pool.until_ended(1)

    # When
    (dead,) = await worker.admin.adead()
    assert (dead.id, dead.job.fails, dead.error) == (reply["id"], 1, "no hope")
    assert await worker.admin.aretry_dead(dead.id)

    # Then
    async with running(worker):
        (job,) = await seen.until(1)
    assert (job.id, job.fails, job.error, job.args) == (reply["id"], 0, "", {"_fail": "no hope"})
    assert await left(worker) == {}


# unique

KEY = {"b": ["<&>", 1.0, 1e21, None], "a": "é～😀", "c": {"z": 2**53 - 1, "y": -0.5, "": []}}
FORMS = [
    pytest.param(by_key, delay, id=f"unique{'-in' * bool(delay)}{'-by-key' * by_key}")
    for by_key in (False, True)
    for delay in (0, 300)
]


def tell_of(peer: Peer, by_key: bool) -> None:
    """Only by the peers that know it."""
    if by_key:
        peer.knows_keys()


def unique_request(by_key: bool, delay: int, number: int = 0, **more: Any) -> Event:
    call = f"EnqueueUnique{'In' if delay else ''}{'ByKey' if by_key else ''}"
    args = {"n": number, **more} if by_key else {**KEY, **more}
    return {"call": call, "name": "single", "args": args, "in": delay, "key": KEY if by_key else None}


async def unique_perform(worker: Worker, by_key: bool, delay: int, number: int = 0, **more: Any) -> str | None:
    args = {"n": number, **more} if by_key else {**KEY, **more}
    job = Job("single", args, unique=True, unique_by=KEY if by_key else None)
    handle = await (worker.aperform_in(job, delay) if delay else worker.aperform(job))
    return handle.id if handle else None


@pytest.mark.parametrize(("by_key", "delay"), FORMS)
async def test_worksong_refuses_an_equal_job_that_the_peer_enqueued(
    peer: Peer, new_worker: NewWorker, by_key: bool, delay: int
) -> None:
    tell_of(peer, by_key)
    worker = new_worker()

    (reply,) = await peer.enqueue([unique_request(by_key, delay)])

    assert reply["id"]
    assert await unique_perform(worker, by_key, delay) is None
    assert await unique_perform(worker, by_key, 0 if delay else 300) is None
    assert sum((await left(worker)).values()) == 1


@pytest.mark.parametrize(("by_key", "delay"), FORMS)
async def test_the_peer_refuses_an_equal_job_that_worksong_enqueued(
    peer: Peer, new_worker: NewWorker, by_key: bool, delay: int
) -> None:
    tell_of(peer, by_key)
    worker = new_worker()

    assert await unique_perform(worker, by_key, delay)

    requests = [unique_request(by_key, delay), unique_request(by_key, 0 if delay else 300)]
    assert [(reply["id"], reply["error"]) for reply in await peer.enqueue(requests)] == [(None, None)] * 2
    assert sum((await left(worker)).values()) == 1


@pytest.mark.parametrize("by_key", [False, True])
async def test_the_lock_of_a_job_that_the_peer_enqueued_is_free_once_worksong_started_it(
    peer: Peer, new_worker: NewWorker, by_key: bool
) -> None:
    # Given a job of the peer that worksong is running
    tell_of(peer, by_key)
    worker, started, go_on = new_worker(1), asyncio.Event(), asyncio.Event()

    async def hold(args: dict[str, Any]) -> None:
        started.set()
        await go_on.wait()

    worker.register("single", hold)
    await peer.enqueue([unique_request(by_key, 0)])
    async with running(worker):
        async with asyncio.timeout(PATIENCE):
            await started.wait()

        # When the peer enqueues it again, and again
        replies = await peer.enqueue([unique_request(by_key, 0)] * 2)
        go_on.set()

        # Then one more is accepted
        assert [bool(reply["id"]) for reply in replies] == [True, False]
    assert await peer.client("retry") == {"count": 0, "jobs": []}


@pytest.mark.parametrize("by_key", [False, True])
async def test_the_lock_of_a_job_that_worksong_enqueued_is_free_once_the_peer_started_it(
    peer: Peer, new_worker: NewWorker, by_key: bool
) -> None:
    tell_of(peer, by_key)
    worker = new_worker()
    await unique_perform(worker, by_key, 0, _sleep_ms=60_000)
    async with peer.work("single", "-concurrency", "1") as pool:
        await pool.until_started(1)

        again = [await unique_perform(worker, by_key, 0, _sleep_ms=60_000) for _ in range(2)]

        await pool.kill()
    assert [bool(job_id) for job_id in again] == [True, False]


async def test_what_worksong_changes_by_key_is_what_the_peer_runs(peer: Peer, new_worker: NewWorker) -> None:
    peer.knows_keys()
    worker = new_worker()
    await peer.enqueue([unique_request(True, 0, 1)])

    assert await unique_perform(worker, True, 0, 2) is None

    async with peer.work("single") as pool:
        (start,) = await pool.until_started(1)
    assert start["args"] == {"n": 2}


async def test_what_the_peer_changes_by_key_is_what_worksong_runs(peer: Peer, new_worker: NewWorker) -> None:
    peer.knows_keys()
    worker = new_worker()
    seen = witness(worker, "single")
    assert await unique_perform(worker, True, 0, 1)

    (reply,) = await peer.enqueue([unique_request(True, 0, 2)])

    assert reply == {"id": None, "error": None}
    async with running(worker):
        (job,) = await seen.until(1)
    assert job.args == {"n": 2}
    assert await left(worker) == {}


# scheduled, periodic


async def test_jobs_scheduled_by_either_side_run_on_the_other_and_not_too_early(
    peer: Peer, new_worker: NewWorker
) -> None:
    # Given a job of the peer
    worker = new_worker()
    seen = witness(worker, "ours")
    args = {"n": 2**53 - 1, "items": [], "ratio": 1 / 3, "é": "a/b<>"}
    (reply,) = await peer.enqueue([{"call": "EnqueueIn", "name": "ours", "args": args, "in": 1}])

    # When worksong moves and runs it
    async with running(worker):
        (job,) = await seen.until(1)
        arrived = time.time()

    # Then nothing of it is changed
    assert (job.id, job.args) == (reply["id"], args)
    assert arrived >= reply["run_at"]

    # And a job of worksong runs in the peer
    handle = await new_worker().aperform_in(Job("theirs", {"n": 2}), 1)
    assert handle
    async with peer.work("theirs") as pool:
        (start,) = await pool.until_started(1)
    assert (start["id"], start["args"]) == (handle.id, {"n": 2})
    assert start["t"] >= handle.job.run_at
    assert await left(worker) == {}


async def test_a_job_that_a_peer_buried_for_its_name_is_revived_by_a_worker_with_medic(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given a due job whose name the peer does not know
    worker = new_worker(options="?medic=true")
    seen = witness(worker, "ours")
    handle = await worker.aperform_in(Job("ours", {"n": 1}), 300)
    assert handle
    make_due(store, keys.scheduled)
    async with peer.work("theirs"):
        (dead,) = await eventually(worker.admin.adead, len)
    assert dead.error == "unknown job when requeueing"

    # When
    async with running(worker):
        (job,) = await seen.until(1)

    # Then
    assert (job.id, job.fails, job.error, job.args) == (handle.id, 0, "", {"n": 1})
    assert await left(worker) == {}


async def test_what_the_peers_move_damages_is_mended_by_the_handlers_types(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given a scheduled job that the peer moved to a queue from which it may not fetch
    worker, arrived = new_worker(), asyncio.Queue[tuple[Any, ...]]()

    async def take(items: list[str], stamp: int, ratio: float, word: str) -> None:
        arrived.put_nowait((items, stamp, ratio, word))

    worker.register("moved", take)
    args = {"items": [], "stamp": 100_000_000_000_000, "ratio": 1 / 3, "word": "a/b<é>"}
    await worker.aperform_in(Job("moved", args), 300)
    await worker.admin.apause("moved")
    make_due(store, keys.scheduled)
    async with peer.work("moved"):
        await eventually(worker.admin.acounts, lambda counts: counts[State.QUEUED])

    # When worksong works it
    await worker.admin.aresume("moved")
    async with running(worker):
        items, stamp, ratio, word = await asyncio.wait_for(arrived.get(), PATIENCE)

    # Then only digits are lost
    assert (items, stamp, word) == ([], 100_000_000_000_000, "a/b<é>")
    assert type(stamp) is int
    assert ratio == pytest.approx(1 / 3, abs=1e-13)


@pytest.mark.parametrize("first", ["peer", "worksong"])
async def test_both_sides_put_each_firing_of_a_periodic_job_on_the_schedule_once(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys, first: str
) -> None:
    # Given the same expression and name on both sides
    spec, worker = "*/20 * * * * *", new_worker()
    witness(worker, "tick")
    worker.periodic(spec, "tick")

    async def scheduled() -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = {}
        for member, score in store.zrange(keys.scheduled, 0, -1, withscores=True):
            found.setdefault(int(score), []).append(member)
        return found

    async def there(key: str) -> object:
        return store.exists(key)

    # When one side comes after the other
    async with AsyncExitStack() as fleet:
        if first == "worksong":
            await fleet.enter_async_context(running(worker))
            await eventually(scheduled, lambda found: len(found) >= FIRINGS)
        await fleet.enter_async_context(peer.work("tick", "-periodic", f"{spec}=tick"))
        await eventually(lambda: there(keys.last_periodic), bool)
        if first == "peer":
            await fleet.enter_async_context(running(worker))
            last = max(await scheduled())
            await eventually(lambda: there(keys.enqueued(f"periodic:tick:{spec}:{last}")), bool)
        found = await scheduled()

    # Then every instant is there once, in the same bytes
    assert len(found) >= FIRINGS
    for tick, members in found.items():
        assert tick % 20 == 0
        text = f'{{"name":"tick","id":"periodic:tick:{spec}:{tick}","t":{tick},"args":null}}'
        assert members == [text.encode()]


# pauses and limits


async def test_the_peer_fetches_nothing_that_worksong_paused(peer: Peer, new_worker: NewWorker) -> None:
    # Given a paused job type that the peer would prefer to all others
    worker = new_worker()
    await worker.admin.apause("held")
    await worker.aperform_many([Job("held"), *(Job("free") for _ in range(50))])
    async with peer.work("held::100000,free", "-concurrency", "1") as pool:
        # When it works
        await pool.until_ended(50)
        assert {start["name"] for start in pool.named("start")} == {"free"}

        # Then the paused one comes when it may
        await worker.admin.aresume("held")
        await pool.until_ended(51)
    assert pool.named("end")[-1]["name"] == "held"
    assert await left(worker) == {}


async def test_a_limit_holds_across_both_sides_even_when_a_peer_is_killed(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys, tmp_path: Path
) -> None:
    worker, gate = new_worker(10), tmp_path / "gate"
    async with Ledger.open() as ledger, AsyncExitStack() as fleet:
        # Given a job type of which three may run at once, and a peer that runs two of them as long as it lives
        limited(worker, ledger)
        waits = [{"_until": str(gate)}] * 2 + [{"_sleep_ms": 25}] * 100
        ids = {handle.id for handle in await worker.aperform_many([Job("limited", args) for args in waits]) if handle}
        flags = ("limited:::3", "-concurrency")
        doomed = await fleet.enter_async_context(peer.work(*flags, "2", into=ledger.writing))
        await ledger.until(lambda: ledger.starts == 2)

        # When another one and worksong work beside it, and it is killed
        await fleet.enter_async_context(peer.work(*flags, "4", into=ledger.writing))
        await fleet.enter_async_context(running(worker))
        await ledger.until(lambda: len(ledger.ends) >= 10)
        pool = await pool_of(worker, doomed.pid)
        await doomed.kill()
        held = {json.loads(raw)["id"] for raw in store.lrange(keys.inprogress("limited", pool), 0, -1)}
        for job_id in held:
            ledger.write("killed", job_id)
        await ledger.until(lambda: held <= ledger.killed)
        gate.touch()
        found = await worker.backend().reap(time.time(), time.monotonic(), dead=[pool])

        # Then they are recovered, all jobs are done, and never more than three ran
        assert found.recovered == len(held) == 2
        await ledger.until(lambda: ids <= set(ledger.ends))
        await eventually(lambda: left(worker), lambda found: not found)  # one that ended unheard is run again
    assert ledger.most == 3
    assert {job_id for job_id, count in ledger.ends.items() if count > 1} <= ledger.killed
    assert set(ledger.ends) == ids
    assert int(store.get(keys.lock("limited")) or 0) == 0
    assert not any(int(count) for count in store.hvals(keys.lock_info("limited")))
    assert await left(worker) == {}


def limited(worker: Worker, ledger: Ledger) -> None:
    async def run(job: Job, args: dict[str, Any]) -> None:
        ledger.write("start", job.id)
        await asyncio.sleep(args.get("_sleep_ms", 0) / 1000)
        ledger.write("end", job.id)

    worker.register("limited", run, max_concurrency=3)


async def pool_of(worker: Worker, pid: int) -> str:
    pools = await eventually(worker.admin.apools, lambda pools: any(pool.pid == pid for pool in pools))
    return next(pool.id for pool in pools if pool.pid == pid)


async def test_the_peer_takes_back_the_jobs_of_a_worksong_pool_that_died(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given a pool that fetched a job and was never heard of again
    worker = new_worker()
    handle = await worker.aperform(Job("orphan", {"n": 1}))
    assert handle
    pool = Pool(id=new_id(), handlers=("orphan",), limits={"orphan": 1}, worker_ids=("w",))
    await worker.backend().enlist(pool, time.time())
    (delivery,) = await worker.backend().fetch(Want(pool.id, 1, 0.0, (Share("orphan", 1),)), time.time())

    # When a peer has been there for ten seconds
    async with peer.work("orphan:::1") as working:
        (start,) = await working.until_started(1)

    # Then it runs the job, and the slot is free
    assert (start["id"], start["fails"]) == (handle.id, 0)
    assert await left(worker) == {}
    assert not await worker.admin.apools()

    # And a late ending of the dead pool changes nothing
    assert await worker.backend().settle([Settlement(delivery, Buried("late"))], time.time()) == [False]
    assert await left(worker) == {}
    assert int(store.get(keys.lock("orphan")) or 0) == 0


# an operator's view


async def test_the_peers_client_sees_worksongs_queues_pools_and_busy_workers(
    peer: Peer, new_worker: NewWorker, namespace: str
) -> None:
    # Given a worksong worker that is busy, and a job that waits behind it
    worker, go_on = new_worker(1), asyncio.Event()

    async def hold(ctx: Context, args: dict[str, Any]) -> None:
        ctx.checkin("half <way>")
        await go_on.wait()

    worker.register("busy", hold)
    worker.register("other", hold)
    first, *_ = await worker.aperform_many([Job("busy", {"n": 1, "é": "<"}), Job("busy"), Job("busy")])
    assert first
    async with running(worker):
        try:
            # When the peer looks
            workers = await eventually(lambda: peer.client("observations"), lambda found: busy(found, "checkin"))
            queues, (pool,) = await peer.client("queues"), await peer.client("pools")
        finally:
            go_on.set()

    # Then it sees them
    (seen,) = workers
    assert (seen["job_name"], seen["job_id"], seen["checkin"]) == ("busy", first.id, "half <way>")
    assert json.loads(seen["args_json"]) == {"n": 1, "é": "<"}
    assert abs(seen["started_at"] - time.time()) < PATIENCE
    assert abs(seen["checkin_at"] - time.time()) < PATIENCE
    assert [(queue["job_name"], queue["count"]) for queue in queues] == [("busy", 2), ("other", 0)]
    assert 0 <= queues[0]["latency"] < PATIENCE
    assert (pool["job_names"], pool["concurrency"], pool["pid"]) == (["busy", "other"], 1, os.getpid())
    assert (pool["worker_ids"], pool["host"]) == ([seen["worker_id"]], os.uname().nodename)
    assert abs(pool["heartbeat_at"] - time.time()) < PATIENCE
    assert pool["started_at"] <= pool["heartbeat_at"]
    assert not await peer.client("pools")


async def test_worksong_sees_the_peers_queues_pools_and_busy_workers(peer: Peer, new_worker: NewWorker) -> None:
    # Given a peer that is busy
    worker = new_worker()
    (reply, *_) = await peer.enqueue(plain_jobs("busy", [{"_checkin": "half <way>", "_sleep_ms": 60_000}, None, None]))
    async with peer.work("busy,other", "-concurrency", "1") as pool:
        await pool.until_started(1)

        # When worksong looks
        (seen,) = await eventually(worker.admin.abusy, lambda found: found and found[0].checkin)
        queues = await eventually(worker.admin.aqueues, lambda queues: len(queues) == 2)
        (view,) = await worker.admin.apools()
        await pool.kill()

    # Then it sees them
    assert (seen.handler, seen.job_id, seen.checkin) == ("busy", reply["id"], "half <way>")
    assert json.loads(seen.args) == {"_checkin": "half <way>", "_sleep_ms": 60_000}
    assert (seen.pool_id, (seen.worker_id,)) == (view.id, view.worker_ids)
    assert [(queue.name, queue.count, queue.running) for queue in queues] == [("busy", 2, 1), ("other", 0, 0)]
    assert (view.handlers, view.concurrency, view.pid) == (("busy", "other"), 1, pool.pid)


def busy(workers: list[Event] | None, field: str) -> bool:
    return any(worker["is_busy"] and worker[field] for worker in workers or ())


async def test_the_peers_client_lists_and_deletes_what_waits_in_worksongs_sets(
    peer: Peer, new_worker: NewWorker
) -> None:
    # Given a scheduled, a failed and a dead job of worksong
    worker = new_worker()
    shaky = witness(worker, "shaky", error="later", backoff=retry.fixed(3600.0))
    doomed = witness(worker, "doomed", error="never", max_fails=1)
    later = await worker.aperform_in(Job("shaky", {"n": 1}, unique=True), 300)
    await worker.aperform_many([Job("shaky", {"n": 2}), Job("doomed", {"n": 3})])
    assert later
    async with running(worker):
        await asyncio.gather(shaky.until(1), doomed.until(1))

    # When the peer lists them
    found = {zset: (await peer.client(zset))["jobs"] for zset in ("scheduled", "retry", "dead")}

    # Then it finds each, at its time
    times = {"scheduled": "run_at", "retry": "retry_at", "dead": "died_at"}
    assert [job["args"]["n"] for jobs in found.values() for job in jobs] == [1, 2, 3]
    assert found["scheduled"][0]["run_at"] - later.job.run_at < 1
    assert await peer.client("retry", "-page", "2") == {"count": 1, "jobs": []}

    # And deletes each once
    for zset, (job,) in found.items():
        words = (f"delete-{zset}", job["id"], str(job[times[zset]]))
        assert await peer.client(*words) == {"status": "ok"}
        with pytest.raises(ClientRefused, match="nothing deleted"):
            await peer.client(*words)
    assert await left(worker) == {}
    assert await new_worker().aperform(Job("shaky", {"n": 1}, unique=True)), "its lock went with it"


async def test_worksong_lists_and_deletes_what_waits_in_the_peers_sets(peer: Peer, new_worker: NewWorker) -> None:
    # Given a scheduled, a failed and a dead job of the peer
    worker = new_worker()
    unique = {"call": "EnqueueUniqueIn", "name": "shaky", "args": {"n": 1, "k": "é"}, "in": 300}
    await peer.enqueue([unique, *plain_jobs("shaky", [{"_fail": "x", "n": 2}])])
    await peer.enqueue(plain_jobs("doomed", [{"_fail": "y", "n": 3}]))
    async with peer.work("shaky,doomed:1", *HOUR) as pool:
        await pool.until_ended(2)

    # When worksong lists them
    admin = worker.admin
    (scheduled,), (failed,), (dead,) = await admin.ascheduled(), await admin.aretries(), await admin.adead()

    # Then it finds each, and deletes each once
    assert [view.job.args["n"] for view in (scheduled, failed, dead)] == [1, 2, 3]
    deletions = ((admin.adelete_scheduled, scheduled), (admin.adelete_retry, failed), (admin.adelete_dead, dead))
    for delete, view in deletions:
        assert [await delete(view.id), await delete(view.id)] == [True, False]
    (reply,) = await peer.enqueue([unique])
    assert reply["id"], "its lock went with it"


async def test_all_dead_jobs_of_both_sides_are_revived_by_either(peer: Peer, new_worker: NewWorker) -> None:
    # Given a dead job from each side
    worker = new_worker()
    seen = witness(worker, "doomed", error="ours", max_fails=1)

    async def bury_one_each() -> None:
        count = len(seen.jobs)
        await new_worker().aperform(Job("doomed", {"_fail": "ours"}))
        async with running(worker):
            await seen.until(count + 1)
        await peer.enqueue(plain_jobs("doomed", [{"_fail": "theirs"}]))
        async with peer.work("doomed:1") as pool:
            await pool.until_ended(1)

    # When either revives all
    await bury_one_each()
    assert await peer.client("retry-all-dead") == {"status": "ok"}
    assert await left(worker) == {State.QUEUED: 2}
    assert await worker.admin.apurge("doomed") == 2
    await bury_one_each()

    # Then both are queued
    assert await worker.admin.aretry_all_dead() == 2
    assert await left(worker) == {State.QUEUED: 2}


# large integers


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63 - 1, 2**64])
async def test_worksong_does_not_enqueue_integers_that_the_peer_would_change(
    new_worker: NewWorker, number: int
) -> None:
    worker = new_worker()

    with pytest.raises(InvalidArguments, match=r"args\.n"):
        await worker.aperform(Job("large", {"n": number}))

    assert await left(worker) == {}


LARGE = {"odd": 2**53 + 1, "most": 2**63 - 1, "least": -(2**63), "list": [10**18 + 1]}


async def test_large_integers_of_the_peer_reach_worksong_exactly_even_after_it_failed_them(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given
    worker = new_worker()
    seen = witness(worker, "large", error="again", backoff=retry.fixed(3600.0))
    await peer.enqueue(plain_jobs("large", [LARGE]))

    # When it runs, and runs again
    async with running(worker):
        await seen.until(1)
        await eventually(lambda: left(worker), lambda counts: counts == {State.RETRY: 1})
        make_due(store, keys.retry)
        await seen.until(2)

    # Then
    assert [job.args for job in seen.jobs] == [LARGE, LARGE]


async def test_large_integers_lose_digits_when_the_peer_writes_a_failed_job(peer: Peer, new_worker: NewWorker) -> None:
    worker = new_worker()
    await peer.enqueue(plain_jobs("large", [{**LARGE, "_fail": "x"}]))

    async with peer.work("large", *HOUR) as pool:
        await pool.until_ended(1)

    (failed,) = await worker.admin.aretries()
    assert isinstance(failed.job.args, dict)
    assert failed.job.args["odd"] == 2**53
    assert failed.job.args["most"] == 9223372036854776000
