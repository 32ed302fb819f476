"""Whatever lies in the store, nothing stumbles over it: it goes to the dead as it is, and all else goes on."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from golden_redis.steps import a_job, a_pool, beat, fetch, good, good_ids, ids, join, lend, listed, push, settle
from golden_redis.stored import State as Dump
from golden_redis.stored import Stored, T, comparable
from worksong.adapters.gocraft import GocraftBackend, intake
from worksong.adapters.redis.client import Script
from worksong.domain.errors import BackendRefused, PayloadTooLarge
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.domain.poison import Reason
from worksong.ports.backend import Window
from worksong.wire import gocraft

Open = Callable[..., GocraftBackend]

CORPUS: list[tuple[str, bytes, Reason | None]] = runpy.run_path(str(Path(__file__).parent.parent / "corpus.py"))[
    "CORPUS"
]
POISON = [(raw, reason) for _, raw, reason in CORPUS if reason]
ODD = [raw for _, raw, reason in CORPUS if not reason]
"""Strange, and yet jobs."""
BEHIND = 100
"""Good jobs that wait behind the poison."""
OUTCOMES: list[Outcome] = [Done(), Retried(T + 1, "no"), Snoozed(T + 1), Buried("no"), Discarded("no"), Released()]
GONE = OUTCOMES[0], OUTCOMES[4], OUTCOMES[5]
"""After these nothing is kept in the sorted sets."""
KINDS = ("string", "list", "set", "zset", "hash")


async def drained(backend: GocraftBackend, *names: str) -> list[str]:
    """Ids of all jobs that can be lent, each of them done."""
    pool, found = await join(backend, *names), []
    while lent := await fetch(backend, pool, 100):
        for delivery in lent:
            assert await settle(backend, delivery)
        found += ids(lent)
    return found


async def buried(backend: GocraftBackend) -> Counter[tuple[str, bytes]]:
    """(reason, original bytes) of all poison among the dead."""
    found: Counter[tuple[str, bytes]] = Counter()
    for view in await listed(backend, State.DEAD):
        whole = view if view.raw or view.reason != Reason.TOO_LARGE else await backend.job(view.id)
        assert whole is not None
        assert view.reason == whole.reason
        found[whole.reason, whole.raw] += 1
    return found


EXPECTED = Counter((str(reason), raw) for raw, reason in POISON)


# each way in


async def test_poison_in_a_queue_is_buried_and_all_behind_it_is_lent(backend: GocraftBackend, stored: Stored) -> None:
    # Given every poison before a hundred good jobs
    for raw in [raw for raw, _ in POISON] + good(BEHIND):
        stored.call("LPUSH", "work:jobs:a", raw)
    # When the queue is drained
    assert await drained(backend, "a") == good_ids(BEHIND)
    # Then each poison is dead for the right reason with its bytes, and no slot is taken
    assert await buried(backend) == EXPECTED
    assert stored.balanced("a")
    assert stored.call("GET", "work:jobs:a:lock") == b"0"


@pytest.mark.parametrize("key", ["work:scheduled", "work:retry"])
async def test_poison_that_is_due_is_buried_and_all_behind_it_is_queued(
    backend: GocraftBackend, stored: Stored, key: str
) -> None:
    # Given every poison due before a hundred good jobs
    await join(backend, "a")
    for number, raw in enumerate([raw for raw, _ in POISON] + good(BEHIND)):
        stored.call("ZADD", key, T - 1000 + number, raw)
    # When all that is due is promoted
    while await backend.promote(T, 50):
        pass
    # Then each poison is dead, and the good ones run
    assert await buried(backend) == EXPECTED
    assert await drained(backend, "a") == good_ids(BEHIND)
    assert stored.kind(key) == "none"


async def test_poison_in_the_hands_of_a_dead_pool_is_buried(backend: GocraftBackend, stored: Stored) -> None:
    # Given a pool that died with every poison and a hundred good jobs in progress
    raws = [raw for raw, _ in POISON] + good(BEHIND)
    plant_in_progress(stored, "dead", raws)
    # When it is reaped
    found = await backend.reap(T, 0.0, dead=["dead"])
    # Then each poison is dead, the good ones wait again, and no slot is taken
    assert (found.recovered, found.crashed) == (BEHIND, len(POISON))
    assert await buried(backend) == EXPECTED
    assert stored.balanced("a")
    assert await drained(backend, "a") == good_ids(BEHIND)


async def test_poison_in_the_hands_of_our_own_pool_is_buried(backend: GocraftBackend, stored: Stored) -> None:
    # Given a pool whose list holds poison and jobs of which it knows nothing
    pool = await join(backend, "a")
    plant_in_progress(stored, pool.id, [raw for raw, _ in POISON] + good(BEHIND))
    # When it has compared twice
    for now in (T + 5, T + 10, T + 15):
        assert not (await beat(backend, pool, now=now)).evicted
    # Then each poison is dead, the good ones wait again, and no slot is taken
    assert await buried(backend) == EXPECTED
    assert stored.balanced("a")
    assert sorted(await drained(backend, "a")) == sorted(good_ids(BEHIND))


async def test_poison_put_among_the_dead_is_listed_and_deleted(backend: GocraftBackend, stored: Stored) -> None:
    # Given all poison but what is only too large for a queue
    raws = {raw: str(reason) for raw, reason in POISON if reason is not Reason.TOO_LARGE}
    for number, raw in enumerate(raws):
        stored.call("ZADD", "work:dead", T + number, raw)
    # Then it is listed as what it is, cannot be requeued, and can be deleted
    assert await buried(backend) == Counter((reason, raw) for raw, reason in raws.items())
    assert (await backend.counts())[State.DEAD] == len(raws)
    assert await backend.requeue(State.DEAD, None, T) == 0
    assert await backend.delete(State.DEAD, None) == len(raws)
    assert stored.dump() == {}


async def test_buried_poison_can_be_deleted_one_by_one(backend: GocraftBackend, stored: Stored) -> None:
    for raw, _ in POISON:
        stored.call("LPUSH", "work:jobs:a", raw)
    assert await drained(backend, "a") == []
    for view in await listed(backend, State.DEAD):
        assert await backend.delete(State.DEAD, [view.id]) == 1
    assert stored.kind("work:dead") == "none"


async def test_requeued_poison_is_buried_again_as_it_was(backend: GocraftBackend, stored: Stored) -> None:
    # Given buried poison, the large ones of which the server keeps apart
    for raw, _ in POISON:
        stored.call("LPUSH", "work:jobs:a", raw)
    await drained(backend, "a")
    small = [raw for raw, reason in POISON if reason is not Reason.TOO_LARGE]
    # When everything is requeued and lent again
    assert await backend.requeue(State.DEAD, None, T) == len(small)
    assert await drained(backend, "a") == []
    # Then nothing has changed
    assert await buried(backend) == EXPECTED


def plant_in_progress(stored: Stored, pool: str, raws: list[bytes]) -> None:
    """A registered pool with these in its hands, the oldest first, and the lock as it should be."""
    stored.call("SADD", "work:known_jobs", "a")
    stored.call("SADD", "work:worker_pools", pool)
    for raw in raws:
        stored.call("LPUSH", f"work:jobs:a:{pool}:inprogress", raw)
    stored.call("SET", "work:jobs:a:lock", len(raws))
    stored.call("HSET", "work:jobs:a:lock_info", pool, len(raws))


# strange jobs are jobs


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
async def test_strange_jobs_are_lent_and_end_like_all_others(
    backend: GocraftBackend, stored: Stored, outcome: Outcome
) -> None:
    # Given every strange document in one queue
    for raw in ODD:
        stored.call("LPUSH", "work:jobs:a", raw)
    pool = await join(backend, "a")
    # When all are lent and end
    found = await fetch(backend, pool, 1000)
    assert [delivery.receipt.raw for delivery in found] == ODD
    ended = [await settle(backend, delivery, outcome) for delivery in found]
    # Then each was held, no slot is taken, and what is kept can be read
    assert ended == [True] * len(ODD)
    assert stored.balanced("a")
    kept = [view for state in (State.RETRY, State.SCHEDULED, State.DEAD) for view in await listed(backend, state)]
    assert [view.reason for view in kept if view.reason] == []
    assert {view.id for view in kept} == (set() if outcome in GONE else {gocraft.decode(raw).id for raw in ODD})


async def test_strange_jobs_of_a_dead_pool_wait_again_as_they_were(backend: GocraftBackend, stored: Stored) -> None:
    plant_in_progress(stored, "dead", ODD)
    assert (await backend.reap(T, 0.0, dead=["dead"])).recovered == len(ODD)
    assert list(reversed(stored.entries("work:jobs:a"))) == ODD


async def test_strange_jobs_that_are_due_are_queued_with_their_members(backend: GocraftBackend, stored: Stored) -> None:
    # Given every strange document due, whose names somebody knows
    names = {gocraft.decode(raw).handler for raw in ODD}
    stored.call("SADD", "work:known_jobs", *names)
    for raw in ODD:
        stored.call("ZADD", "work:retry", 1, raw)
    # When they are promoted
    while await backend.promote(T, 100):
        pass
    # Then each lies in the queue of its name with all it had but its time
    moved = [raw for name in names for raw in stored.entries(f"work:jobs:{name}")]
    assert sorted(map(timeless, moved), key=repr) == sorted(map(timeless, ODD), key=repr)
    assert stored.kind("work:retry") == "none"


def timeless(raw: bytes) -> dict[str, Any]:
    """What a document means, but for its time and the spelling of its members."""
    return {name.lower(): value for name, value in json.loads(raw).items() if name.lower() != "t"}


@pytest.mark.parametrize("score", ["-inf", "+inf", "1.5", "1e300"])
async def test_a_strange_score_spoils_no_listing(backend: GocraftBackend, stored: Stored, score: str) -> None:
    await join(backend, "a")
    (raw,) = good(1)
    for key in ("work:scheduled", "work:retry", "work:dead"):
        stored.call("ZADD", key, score, raw)
    for state in (State.SCHEDULED, State.RETRY, State.DEAD):
        assert [view.id for view in await listed(backend, state)] == ["good-0"]
    assert await backend.promote(T, 100) == (2 if float(score) < T else 0)


# strange names, heartbeats and observations


NAMES = (
    *(b"", b" ", b"\xff\xfe", b"a\0b", b"*", b"[a-", b"{}", b"a\nb", b"a:b", b"?", b"\\", b"a,b"),
    *("\u202e".encode(), "\U0001f600".encode(), b"n" * 10_240, b"a:somebody:inprogress", b"lock"),
)


async def look_at_everything(backend: GocraftBackend) -> None:
    """Every listing there is."""
    await backend.queues(T)
    await backend.counts()
    await backend.pools()
    await backend.busy()
    for state in (State.QUEUED, State.SCHEDULED, State.RUNNING, State.RETRY, State.DEAD):
        await backend.jobs(state, Window())
    await backend.job("nobody")


async def test_strange_known_names_disturb_nothing(backend: GocraftBackend, stored: Stored) -> None:
    # Given names that nobody would choose, each with a job, and a good one
    stored.call("SADD", "work:known_jobs", *NAMES)
    for name in NAMES:
        stored.call("LPUSH", b"work:jobs:" + name, *good(1, "b"))
    await push(backend, a_job())
    # When everything is done that is done with names
    await look_at_everything(backend)
    await backend.promote(T, 100)
    for monotonic in (0.0, 31.0, 62.0, 93.0):
        await backend.reap(T, monotonic)
    assert not await backend.cancel("nobody", T)
    # Then the jobs are still where they were
    assert (await backend.counts())[State.QUEUED] == len(NAMES) + 1
    assert len(await drained(backend, "a")) == 1


BEATS: dict[bytes, dict[str, Any]] = {
    b"words": {"heartbeat_at": "soon", "started_at": "x", "concurrency": "1e3", "pid": "-", "job_names": "a"},
    b"bytes": {"heartbeat_at": b"\xff", "job_names": b"\xff,a,\xfe", "host": b"\xff", "worker_ids": b"\xff,,w"},
    b"nothing": {"x": "y"},
    b"many": {"job_names": ",".join(f"n{n}" for n in range(10_000)), "worker_ids": "," * 1000},
    b"a:b": {"heartbeat_at": "1", "job_names": "a"},
    b"": {"heartbeat_at": "1", "job_names": "a"},
    b"*": {"heartbeat_at": "9" * 5000, "job_names": "*,?,[a-"},
    b"\xff": {"heartbeat_at": "1", "job_names": "a"},
}
"""Pool -> the fields of its heartbeat."""


async def test_strange_heartbeats_disturb_nothing_and_are_reaped(backend: GocraftBackend, stored: Stored) -> None:
    # Given pools with strange heartbeats, one that is no hash, each with a job in progress, and a pool that lives
    for number, (pool, fields) in enumerate(BEATS.items()):
        stored.call("SADD", "work:worker_pools", pool)
        stored.call("HSET", b"work:worker_pools:" + pool, *(part for field in fields.items() for part in field))
        stored.call("LPUSH", b"work:jobs:a:" + pool + b":inprogress", good(20)[number])
    stored.call("SADD", "work:worker_pools", "no hash")
    stored.call("SET", "work:worker_pools:no hash", "x")
    living, (delivery,) = await lend(backend, a_job())
    # When they are looked at, and reaped after their silence
    await look_at_everything(backend)
    await backend.reap(T, 0.0)
    stored.call("HSET", f"work:worker_pools:{living.id}", "heartbeat_at", T + 15)
    found = await backend.reap(T, 15.0)
    # Then all are gone, their jobs wait again, and the living one is untouched
    assert (len(found.pools), found.recovered) == (len(BEATS) + 1, len(BEATS))
    assert stored.call("SMEMBERS", "work:worker_pools") in ({living.id.encode()}, [living.id.encode()])
    assert len(stored.entries("work:jobs:a")) == len(BEATS)
    assert await settle(backend, delivery)


async def test_a_live_pool_with_a_colon_in_its_id_is_no_orphan(backend: GocraftBackend, stored: Stored) -> None:
    # Given a pool `x:y` in the middle of a job
    await push(backend, a_job())
    pool = await join(backend, "a", pool_id="x:y")
    (delivery,) = await fetch(backend, pool)
    # When two sweeps have looked at all lists, and the pool beats
    for step in range(13):
        await beat(backend, pool, [delivery], now=T + 10 * step)
        stored.call("HSET", "work:worker_pools:x:y", "heartbeat_at", T + 10 * step)
        await backend.reap(T, 10.0 * step)
    # Then it still has its job
    assert await settle(backend, delivery)


async def test_a_queue_called_like_a_list_in_progress_is_no_orphan(backend: GocraftBackend, stored: Stored) -> None:
    # Given a job of such a type, as a Go program would enqueue it; ours refuses the name
    name = "a:somebody:inprogress"
    stored.call("SADD", "work:known_jobs", name)
    stored.call("LPUSH", f"work:jobs:{name}", b'{"name":"a:somebody:inprogress","id":"1","t":1,"args":null}')

    for monotonic in (0.0, 61.0, 122.0):
        assert (await backend.reap(T, monotonic)).recovered == 0

    assert stored.call("LLEN", f"work:jobs:{name}") == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"job_name": b"\xff", "args": b"\xff", "started_at": "x", "checkin_at": "1e9"},
        {"": "", "x": "y"},
        {"job_name": "a" * 100_000, "job_id": "<script>", "started_at": "9" * 5000},
    ],
    ids=["bytes", "nothing", "much"],
)
async def test_a_strange_observation_spoils_no_listing(
    backend: GocraftBackend, stored: Stored, fields: dict[str, Any]
) -> None:
    await join(backend, "a", worker_ids=("w1", "w2", "w3"))
    stored.call("HSET", "work:worker:w1", *(part for field in fields.items() for part in field))
    stored.call("SET", "work:worker:w2", "no hash")
    stored.call("HSET", "work:worker:w3", "job_name", "a", "started_at", T)
    found = await backend.busy()
    assert [busy.worker_id for busy in found] == ["w1", "w3"]
    assert (found[1].handler, found[1].started_at) == ("a", T)


# sizes


async def test_a_hundred_megabytes_stay_in_the_server(stored: Stored) -> None:
    # Given a text of 100 MB in a queue before a good job, and the patience of a busy machine
    backend, size = GocraftBackend(f"{stored.url}?timeout=60", namespace="work"), 100_000_000
    stored.call("SETRANGE", "text", size - 1, "x")
    stored.call("EVAL", "redis.call('LPUSH', KEYS[1], redis.call('GET', KEYS[2]))", 2, "work:jobs:a", "text")
    stored.call("LPUSH", "work:jobs:a", *good(1))
    sent = output_of(stored)
    # When the queue is drained and the dead are listed
    assert await drained(backend, "a") == good_ids(1)
    (view,) = await listed(backend, State.DEAD)
    # Then it is dead as too large, the server has sent next to nothing, and keeps all of it
    assert (view.reason, view.handler) == (Reason.TOO_LARGE, "a")
    assert f"{size} bytes" in view.error
    assert output_of(stored) - sent < 100_000
    (key,) = stored.call("KEYS", "work:worksong:poison:*")
    assert stored.call("STRLEN", key) == size
    assert stored.balanced("a")
    await backend.close()


async def test_what_the_server_keeps_apart_can_be_had_whole(backend: GocraftBackend, stored: Stored) -> None:
    raw = b"x" * (gocraft.LIMIT + 1)
    stored.call("LPUSH", "work:jobs:a", raw)
    assert await drained(backend, "a") == []
    (listed_view,) = await listed(backend, State.DEAD)
    assert listed_view.raw == b""
    view: JobView | None = await backend.job(listed_view.id)
    assert view is not None
    assert (view.reason, view.raw) == (Reason.TOO_LARGE, raw)
    # And it goes with its entry
    assert await backend.delete(State.DEAD, [view.id]) == 1
    assert stored.call("KEYS", "work:worksong:poison:*") == []


@pytest.mark.parametrize("key", ["work:jobs:a", "work:unique:a:"])
async def test_arguments_that_look_like_poison_kept_apart_name_no_key(
    backend: GocraftBackend, stored: Stored, key: str
) -> None:
    stored.call("SET", key, "x")
    args = {"poison": {"reason": "too_large", "where": "queue", "key": key}}
    job = a_job(args=args, run_at=T + 60)
    await push(backend, job)
    view = await backend.job(job.id)
    assert view is not None
    assert view.raw == b""
    assert await backend.delete(State.SCHEDULED, [job.id]) == 1
    assert stored.call("GET", key) == b"x"


@pytest.mark.parametrize("room", [0, 1, 100, 9000])
async def test_a_job_of_the_largest_size_is_retried_like_all_others(backend: GocraftBackend, room: int) -> None:
    # Given a job as large as can be enqueued, or somewhat smaller
    empty = a_job(args={"text": ""})
    text = "x" * (intake.WRITTEN - len(gocraft.encode(empty)) - room)
    pool, (delivery,) = await lend(backend, a_job(args={"text": text}))
    with pytest.raises(PayloadTooLarge):
        await push(backend, a_job(args={"text": text + "x" * (room + 1)}))
    # When it fails with the longest error there is, again and again
    for number in range(3):
        at = T + 10 * number
        assert await settle(backend, delivery, Retried(at, "é" * 8192), now=at)
        assert await backend.promote(at, 1) == 1
        (delivery,) = await fetch(backend, pool, now=at)
    # Then it is the same job, with as much of the error as there is room for
    assert (delivery.job.attempt, delivery.job.args) == (4, {"text": text})
    assert delivery.job.error.startswith("ééé")


def output_of(stored: Stored) -> int:
    """Bytes that the server has sent to all its clients."""
    info = stored.call("INFO", "stats").decode()
    return int(info.split("total_net_output_bytes:")[1].split()[0])


# keys of a wrong type


def plant(stored: Stored, key: str, kind: str) -> None:
    """A key of this type, whatever was there."""
    stored.call("DEL", key)
    command = {"string": "SET", "list": "RPUSH", "set": "SADD", "hash": "HSET", "zset": "ZADD"}[kind]
    stored.call(command, key, *{"hash": ("f", "v"), "zset": (1, "v")}.get(kind, ("v",)))


BELONGS = {
    "": "list",
    ":dead:inprogress": "list",
    ":lock": "string",
    ":lock_info": "hash",
    ":max_concurrency": "string",
}
"""What a job type's keys end in -> what they should hold."""
WRONG = [(end, kind) for end, right in BELONGS.items() for kind in KINDS if kind != right]


@pytest.mark.parametrize(("end", "kind"), WRONG)
async def test_a_wrong_key_of_one_job_type_stops_no_other(
    backend: GocraftBackend, stored: Stored, end: str, kind: str
) -> None:
    # Given jobs of two types, waiting, due, and in the hands of a dead pool; then a key of one type goes wrong
    for name in ("x", "b"):
        await push(backend, a_job(name), a_job(name, run_at=T - 1))
        (raw,) = good(1, name)
        stored.call("LPUSH", f"work:jobs:{name}:dead:inprogress", raw)
        stored.call("SET", f"work:jobs:{name}:lock", 1)
        stored.call("HSET", f"work:jobs:{name}:lock_info", "dead", 1)
    stored.call("SADD", "work:worker_pools", "dead")
    plant(stored, f"work:jobs:x{end}", kind)
    pool = await join(backend, "x", "b")
    # When jobs are promoted, reaped, listed, lent and settled
    await backend.promote(T, 100)
    await backend.reap(T, 0.0, dead=["dead"])
    await look_at_everything(backend)
    found = await fetch(backend, pool, 100)
    for delivery in found:
        if delivery.job.handler == "b":
            assert await settle(backend, delivery)
    await beat(backend, pool, found)
    # Then all of the other type have run
    assert sum(delivery.job.handler == "b" for delivery in found) == 3
    assert stored.balanced("b")
    assert stored.kind("work:jobs:b") == "none"


async def test_due_jobs_wait_aside_while_their_queue_is_of_a_wrong_type(
    backend: GocraftBackend, stored: Stored
) -> None:
    # Given more due jobs of a broken type than are promoted at once, before a good one
    plant(stored, "work:jobs:x", "string")
    await join(backend, "x", "a")
    await push(backend, *(a_job("x", run_at=T - 10) for _ in range(20)), a_job(run_at=T - 1))
    # When some are promoted, twice
    assert await backend.promote(T, 20) == 20
    assert await backend.promote(T, 20) == 1
    # Then the good one waits in its queue, and the others until the key is mended
    assert len(stored.entries("work:jobs:a")) == 1
    stored.call("DEL", "work:jobs:x")
    assert await backend.promote(T + 60, 100) == 20
    assert len(stored.entries("work:jobs:x")) == 20


async def op_push(backend: GocraftBackend) -> None:
    await push(backend, a_job())


async def op_push_scheduled(backend: GocraftBackend) -> None:
    await push(backend, a_job(run_at=T + 60))


async def op_push_unique(backend: GocraftBackend) -> None:
    await push(backend, a_job(unique="until_done", args={"u": 2}))


async def op_push_once(backend: GocraftBackend) -> None:
    await backend.push([a_job(run_at=T + 60)], T, once=True)


async def op_enlist(backend: GocraftBackend) -> None:
    await backend.enlist(a_pool("a", limits={"a": 3}, pool_id="new"), T)


async def op_fetch(backend: GocraftBackend) -> None:
    await fetch(backend, a_pool("a", pool_id="p"), 10)


async def op_promote(backend: GocraftBackend) -> None:
    await backend.promote(T, 100)


async def op_reap(backend: GocraftBackend) -> None:
    await backend.reap(T, 0.0, dead=["p"])


async def op_requeue(backend: GocraftBackend) -> None:
    for state in (State.RETRY, State.SCHEDULED, State.DEAD):
        await backend.requeue(state, ["good-0"], T)


async def op_delete(backend: GocraftBackend) -> None:
    for state in (State.RETRY, State.SCHEDULED, State.DEAD):
        await backend.delete(state, ["good-0"])


Op = Callable[[GocraftBackend], Awaitable[None]]
OPS: dict[Op, tuple[str, ...]] = {
    op_push: ("known_jobs", "scheduled"),
    op_push_scheduled: ("known_jobs", "scheduled"),
    op_push_unique: ("known_jobs",),
    op_push_once: ("known_jobs", "scheduled"),
    op_enlist: ("known_jobs",),
    op_fetch: ("dead",),
    op_promote: ("known_jobs", "retry", "scheduled", "dead"),
    op_reap: ("known_jobs",),
    op_requeue: ("known_jobs", "retry", "scheduled", "dead"),
    op_delete: ("retry", "scheduled", "dead"),
}
"""What is done -> the keys without which it cannot be."""


@pytest.mark.parametrize("key", ["known_jobs", "retry", "scheduled", "dead"])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
async def test_a_wrong_common_key_is_refused_before_anything_is_written(
    backend: GocraftBackend, stored: Stored, op: Op, key: str
) -> None:
    # Given work of every kind, and a common key of a wrong type
    (raw,) = good(1)
    for zset in ("retry", "scheduled", "dead"):
        stored.call("ZADD", f"work:{zset}", T - 1, raw)
    stored.call("LPUSH", "work:jobs:a", raw)
    plant_in_progress(stored, "p", good(1))
    plant(stored, f"work:{key}", "string")
    before = stored.dump()
    # When something is done that needs it, or not
    refused = False
    try:
        await op(backend)
    except BackendRefused as refusal:
        refused = True
        assert "WRONGTYPE" in str(refusal)
    # Then it is said, and nothing was written
    assert refused == (key in OPS[op])
    if refused:
        assert stored.dump() == before


WRITTEN: dict[type[Outcome], str] = {Retried: "retry", Snoozed: "scheduled", Buried: "dead"}
"""Where an ending puts the job, if not back into its queue."""


@pytest.mark.parametrize("key", ["retry", "scheduled", "dead", "worksong:cancelled", "worksong:recovered"])
@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
async def test_an_ending_is_refused_whole_while_a_key_that_it_needs_is_wrong(
    backend: GocraftBackend, stored: Stored, outcome: Outcome, key: str
) -> None:
    # Given a lent job, and a key of a wrong type
    _, (delivery,) = await lend(backend, a_job())
    plant(stored, f"work:{key}", "string")
    before = comparable(stored.dump(), parsed=False)
    # When it ends, then a wrong key that its ending has no need of holds it up no longer
    if key not in ("worksong:cancelled", WRITTEN.get(type(outcome))):
        assert await settle(backend, delivery, outcome)
        return
    # And with another one nothing is written until the key is mended
    with pytest.raises(BackendRefused, match="WRONGTYPE"):
        await settle(backend, delivery, outcome)
    assert comparable(stored.dump(), parsed=False) == before
    stored.call("DEL", f"work:{key}")
    assert await settle(backend, delivery, outcome)


async def test_good_jobs_are_lent_beside_poison_that_cannot_be_buried_yet(
    backend: GocraftBackend, stored: Stored
) -> None:
    # Given poison and a good job while a key that every ending needs is wrong
    stored.call("LPUSH", "work:jobs:a", b"{bad", *good(1))
    plant(stored, "work:retry", "string")
    pool = await join(backend, "a")
    # When they are lent, and the key is mended
    (delivery,) = await fetch(backend, pool, 10)
    stored.call("DEL", "work:retry")
    # Then the good one ends, and the poison is buried by the pool's own comparing
    assert await settle(backend, delivery)
    for now in (T + 5, T + 10):
        await beat(backend, pool, now=now)
    assert await buried(backend) == Counter({("invalid_json", b"{bad"): 1})
    assert stored.balanced("a")


# locks that a document names but does not own


FOREIGN = ("other:unique:a:", "work:jobs:x", "work:known_jobs", "work:worksong:reaper", "unique:a:", "work:uniqueness")


@pytest.mark.parametrize("mode", ["", ',"unique_until":"done"'])
@pytest.mark.parametrize("key", FOREIGN)
async def test_a_document_cannot_name_a_key_that_is_no_lock(
    backend: GocraftBackend, stored: Stored, key: str, mode: str
) -> None:
    # Given jobs that name somebody else's key as their lock, and what that key holds looks like newer data
    newer = '{"name":"a","id":"stolen","t":1,"args":null}'
    stored.call("SET", key, newer)
    names = [f"job-{n}" for n in range(12)]
    raws = [
        f'{{"name":"a","id":"{name}","t":1,"args":null,"unique":true,"unique_key":"{key}"{mode}}}'.encode()
        for name in names
    ]
    if key != "work:known_jobs":
        stored.call("SADD", "work:known_jobs", "a")
    # When they are lent, end, are purged, deleted and cancelled
    for raw in raws[:6]:
        stored.call("LPUSH", "work:jobs:a", raw)
    found = await fetch(backend, a_pool("a"), 10)
    assert ids(found) == names[:6]
    for delivery, outcome in zip(found, OUTCOMES, strict=True):
        assert await settle(backend, delivery, outcome)
    stored.call("LPUSH", "work:jobs:a", raws[6])
    for raw in raws[7:]:
        stored.call("ZADD", "work:scheduled", T + 60, raw)
    await backend.cancel(names[7], T)
    await backend.delete(State.SCHEDULED, None)
    await backend.delete(State.RETRY, None)
    await backend.purge("a")
    # Then the key is as it was
    assert stored.call("GET", key) == newer.encode()


@pytest.mark.parametrize("spelling", ['"unique":true', '"unique" : true', '"unique":\ttrue'])
async def test_a_lock_is_freed_however_the_document_is_spelt(
    backend: GocraftBackend, stored: Stored, spelling: str
) -> None:
    stored.call("SET", "work:unique:a:", "1")
    stored.call("LPUSH", "work:jobs:a", f'{{"name":"a","id":"1","args":null,{spelling},"unique_key":"work:unique:a:"}}')
    await fetch(backend, a_pool("a"))
    assert stored.kind("work:unique:a:") == "none"


async def test_arguments_that_look_like_a_lock_free_none(backend: GocraftBackend, stored: Stored) -> None:
    stored.call("SET", "work:unique:a:", "1")
    inside = '"args":{"unique":true,"unique_key":"work:unique:a:"},"unique_key":"work:unique:a:"'
    stored.call("LPUSH", "work:jobs:a", f'{{"name":"a","id":"1",{inside}}}')
    (delivery,) = await fetch(backend, a_pool("a"))
    assert delivery.job.unique is None
    assert stored.call("GET", "work:unique:a:") == b"1"


# scripts alone


class Scene(NamedTuple):
    """A script with something to do: what there is, its keys, its arguments, and keys that only arguments name."""

    script: str
    there: Dump
    keys: tuple[str, ...]
    args: tuple[Any, ...]
    named: tuple[str, ...] = ()


def there(**keys: Any) -> Dump:
    """What a type `a` may have, keyed by what its names end in."""
    kinds = {str: "string", list: "list", dict: "hash", tuple: "zset", set: "set"}
    found: Dump = {}
    for key, value in keys.items():
        kind = kinds[type(value)]
        held = [{"member": one, "score": 1} for one in value] if kind == "zset" else value
        found[key] = {"type": kind, "value": sorted(held) if kind == "set" else held}
    return found


UNIQUE = '{"name":"a","id":"u1","args":null,"unique":true,"unique_key":"unique:u"}'
DONE = '{"name":"a","id":"u2","args":null,"unique":true,"unique_key":"unique:v","unique_until":"done"}'
NEWER = '{"name":"a","id":"n1","args":null,"unique":true,"unique_key":"unique:v","unique_until":"done"}'
LENT = there(p=["r1", "r2"], lock="2", info={"pool": "2"}, q=["w"], retry=("m",), recovered={"j": "1"})
SETTLED = ("retry", "scheduled", "dead", "cancelled", "recovered", "recovered_at", "p", "q", "lock", "info")
MOVED = there(scheduled=("m1", "m2"), dead=("d",), q=["w"])

SCENES = [
    Scene("push", there(q=["w"]), ("known", "scheduled", "q"), (1, "a", 3, 2, "d1", "d2", 2, 1, 5, "d3")),
    Scene("push_guarded", there(), ("known", "q", "once", "unique", "held"), ("a", "doc", "", "id", 9, "1", 9)),
    Scene("push_guarded", there(), ("known", "scheduled", "known", "unique", "known"), ("a", "doc", 5, "i", 9, "1", 9)),
    Scene(
        "fetch",
        there(q=["x" * 200, NEWER, DONE, UNIQUE, "plain"], r=["second"], **{"unique:u": "1", "unique:v": NEWER}),
        ("fence", "dead", "paused", "lock", "max", "rpaused", "rlock", "rmax", "q", "p", "info", "r", "rp", "rinfo"),
        ("pool", "unique:", "held:", "poison:", 150, 1000, "a", "b", 5, 10, 1, 10, 2, 10),
        ("unique:u", "unique:v", "held:unique:v"),
    ),
    *(
        Scene("settle", LENT, SETTLED, (5, "pool", 0, 1, action, "r1", "new", 9, "j", "unique:u", held), named)
        for action in ("drop", "retry", "schedule", "bury", "front", "tail")
        for held, named in (("", ()), ("held", ("held", "unique:u")))
    ),
    Scene("settle", LENT, SETTLED, (5, "pool", 2, 0, "r2", "j", "r1", "k")),
    Scene("settle", LENT, SETTLED, (5, "pool", 1, 1, "r1", "j", "front", "r2", "", 9, "k", "", "")),
    Scene(
        "settle",
        LENT | there(cancelled=("j",)),
        SETTLED,
        (5, "pool", 0, 1, "retry", "r1", "new", 9, "j", "unique:u", "held"),
        ("held", "unique:u"),
    ),
    *(
        Scene(
            "move",
            MOVED,
            ("scheduled", "retry", "scheduled", "dead", "q"),
            (target, "m1", "new", 9, "j", "unique:u", held, 4, "m2", "new2", 9, "k", "", ""),
            ("unique:u", "held"),
        )
        for target in ("drop", 2, 3, 4, 5)
        for held in ("", "held")
    ),
    Scene("remove", there(q=["r1", "r2"]), ("q",), ("r1", "j", "unique:u", "held", "r2", "k", "unique:v", ""),
          ("unique:u", "unique:v", "held")),
    *(
        Scene("beat", found, ("pools", "hash", "cancelled", "own", "told"), ("pool", first, "host", "h"))
        for found, first in (
            (there(hash={"f": "v"}), 1),
            (there(pools={"pool"}, hash={"f": "v"}), 0),
            (there(hash="no hash"), 1),
            (there(pools={"pool"}, told="quiet"), 0),
            (there(pools={"pool"}, told=["no string"]), 0),
        )
    ),
    Scene("strike", there(pools={"pool"}, hash={"f": "v"}, lock="2", info={"pool": "2"}),
          ("pools", "hash", "p", "lock", "info"), ("pool",)),
    Scene("repair", there(lock="7", info={"pool": "2", "gone": "3"}, **{"a:pool:z": ["r1"]}), ("lock", "info"),
          ("a:", ":z", 1, "other"), ("a:pool:z", "a:other:z")),
    Scene("load", there(q=["r1", "r2"], scheduled=("m1",), **{"unique:u": "1", "unique:v": "2", "held:unique:v": "k"}),
          ("aside", "q", "scheduled"),
          ("load", "held:", 2, "r1", "j", "unique:u", "0", 3, "m1", "k", "unique:v", "1"),
          ("unique:u", "unique:v", "held:unique:v")),
    Scene("unload", there(q=["w"]), ("receipt", "known", "scheduled", "retry", "dead", "q"),
          (9, "[]", "once:", "held:", 9, 6, "", "r1", "j", "a", "unique:u", "1", "1",
           3, 5, "m1", "k", "a", "", "", "0"),
          ("once:j", "once:k", "unique:u", "held:unique:u")),
    Scene("release", there(aside=["load", "q", "", "r1", "unique:u", "1"], **{"once:gone": "1"}),
          ("aside", "q", "scheduled"),
          ("load", "once:", "held:", 1, "gone", 2, "", "r1", "r1", "j", "unique:u", "1",
           3, 5, '{"unique_until":"done"}', "{}", "k", "unique:v", "1"),
          ("once:gone", "unique:u", "unique:v", "held:unique:v")),
    *(
        Scene("follow", there(p=["r2", "r1"], lock="2", info={"pool": "2"}, held="j") | more,
              ("p", "lock", "info", "cancelled", "known", "unique", "held", "q", "once", "scheduled", "once2"),
              ("pool", "r1", "j", "a", "d1", "", 9, "b", "d2", 7, 9))
        for more in (there(), there(cancelled=("j",)), there(once="1"))
    ),
    Scene("note", there(minute={"done:a": "1", "ran:a": "x"}), ("minute", "hour"), (60, 3600, "done:a", 2, "ran:a", 7)),
    Scene("result_put", there(waits={"box"}, box=["w"]), ("result", "waits"), (9, 9, "j", "{}"), ("box",)),
    Scene("result_wait", there(), ("result", "waits"), ("box", 9)),
    *(
        Scene("record_write", there(list=("j",), unsent=("job:j",), rec="1 5.0 2 1 0\n{}", **{"list:2": ("j",)}),
              ("unsent", "until", "new", "list", "rec", "list"),
              ("job:k", "k", "", "1 5.0 1 0 0\n{}", "5.0", "1", "7.5", "0", "job:j", "j", "1", *record),
              ("list:0", "list:1", "list:2", "list:4"))
        for record in (("2 5.0 4 0 9.5\n{}", "5.0", "4", "0", "9.5"), ("", "0", "0", "0", "0"))
    ),
    *(
        Scene("record_push", there(list=("j",), unsent=("job:j",), rec="1 5.0 2 1 0\n", q=["w"], **{"list:2": ("j",)}),
              ("unsent", "until", "new", "list", "rec", "list", "known", "q", "once", lock, held,
               "known", "scheduled", "once2", "known", "known"),
              (2, "job:k", "k", "", "1 5.0 1 0 0\n{}", "5.0", "1", "7.5", "0",
               "job:j", "j", "1", "2 5.0 4 0 9.5\n{}", "5.0", "4", "0", "9.5",
               "a", "doc", "", "id", 9, "1", 9, "a", "doc2", 5, "i", 9, "1", 9),
              ("list:0", "list:1", "list:2", "list:4"))
        for lock, held in (("known", "known"), ("unique", "known"), ("unique", "held"))
    ),
    *(
        Scene("record_page", there(list=("a", "c")), ("list",), last)
        for last in (("", "", 5), (1, "a", 5), (1, "b", 5))
    ),
]  # fmt: skip
VALUES = ("", "abc", "-0", "007", "1.5", "99999999999999999999", "-5", "nan")
"""What a counter may hold that is none."""


def run(stored: Stored, scene: Scene) -> bool:
    """Whether the script went through; when it did not, nothing was written."""
    before = comparable(stored.dump(), parsed=False)
    script = Script.named(scene.script)
    try:
        stored.call("EVAL", script.text, len(scene.keys), *scene.keys, *scene.args)
    except redis.ResponseError:
        assert comparable(stored.dump(), parsed=False) == before
        return False
    return True


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.script)
def test_no_script_fails_after_its_first_write_on_a_key_of_a_wrong_type(stored: Stored, scene: Scene) -> None:
    stored.load(scene.there)
    assert run(stored, scene)
    for key in {*scene.keys, *scene.named}:
        for kind in KINDS:
            stored.call("FLUSHDB")
            stored.load(scene.there)
            plant(stored, key, kind)
            run(stored, scene)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.script)
def test_no_script_fails_after_its_first_write_on_a_number_that_is_none(stored: Stored, scene: Scene) -> None:
    for value in VALUES:
        for key in {*scene.keys, *scene.named}:
            for kind in ("string", "hash"):
                stored.call("FLUSHDB")
                stored.load(scene.there)
                stored.call("DEL", key)
                stored.call("SET", key, value) if kind == "string" else [
                    stored.call("HSET", key, field, value) for field in ("pool", "j")
                ]
                run(stored, scene)


def test_every_script_is_tried() -> None:
    scripts = {path.stem for path in (Path(gocraft.__file__).parents[1] / "adapters/redis/scripts").glob("*.lua")}
    assert {scene.script for scene in SCENES} == scripts


@pytest.mark.parametrize("value", VALUES)
async def test_a_counter_that_is_no_number_is_mended(backend: GocraftBackend, stored: Stored, value: str) -> None:
    # Given a type whose counters hold nonsense, so that it is passed over
    await push(backend, a_job())
    pool = await join(backend, "a")
    stored.call("SET", "work:jobs:a:lock", value)
    stored.call("HSET", "work:jobs:a:lock_info", pool.id, value)
    # When the reaper has looked twice
    for monotonic in (0.0, 31.0):
        await backend.reap(T, monotonic)
    # Then the job is lent
    assert stored.balanced("a")
    assert len(await fetch(backend, pool)) == 1
