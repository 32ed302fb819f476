"""Jobs whose time has come: the known defects G9 to G12, G16 and G18, each as a story.

Time is told, never waited for: `now` is the wall clock, `monotonic` the reaper's own.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from golden_redis.conftest import Open
from golden_redis.mishaps import alone
from golden_redis.steps import a_job, fetch, good, ids, join, lend, listed, push, settle
from golden_redis.stored import Stored, T
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain import cron
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Retried, Snoozed
from worksong.engine.timetable import pause, schedule_ahead
from worksong.registry import Periodic

# G9, G10, G11: moved as they are, or buried; more of it in test_transitions and test_poison


async def test_a_failed_job_comes_back_with_every_digit(backend: GocraftBackend, stored: Stored) -> None:
    # Given arguments that Go and Lua would change, and members that Go would drop
    args = '{"a":[],"b":12345678901234567890,"c":1.0,"d":0.1234567890123456789,"e":{}}'
    stored.call("LPUSH", "work:jobs:a", f'{{"name":"a","id":"1","t":1,"args":{args},"trace":[1.0]}}')
    pool = await join(backend)
    # When it fails three times
    for number in range(1, 4):
        (delivery,) = await fetch(backend, pool)
        await settle(backend, delivery, Retried(T + number, "no"), now=T)
        await backend.promote(T + number, 10)
    # Then not a byte of them differs
    (raw,) = stored.entries("work:jobs:a")
    assert f'"args":{args}' in raw.decode()
    assert '"trace":[1.0]' in raw.decode()
    assert json.loads(raw)["fails"] == 3


@pytest.mark.parametrize("poison", ['{"bad', '{"id":"1","args":null}', '{"name":"a","args":{"x":NaN}}', "[" * 2000])
@pytest.mark.parametrize("key", ["work:scheduled", "work:retry"])
async def test_poison_that_is_due_neither_blocks_nor_is_lost(
    backend: GocraftBackend, stored: Stored, key: str, poison: str
) -> None:
    await join(backend)
    stored.call("ZADD", key, 1, poison, 2, *good(1))
    assert await backend.promote(T, 10) == 2
    assert len(stored.entries("work:jobs:a")) == 1
    (view,) = await listed(backend, State.DEAD)
    assert view.raw == poison.encode()


# G12: names that this pool does not serve


async def test_a_name_known_to_anybody_is_promoted(opened: Open, stored: Stored) -> None:
    # Given a job type that only somebody else ever named
    mine, other = opened(), opened()
    await join(mine, "a")
    await push(other, a_job("theirs", run_at=T + 1))
    stored.call("ZADD", "work:retry", T + 1, *good(1, "gone"))
    stored.call("SADD", "work:known_jobs", "gone")
    # When our pool promotes
    assert await mine.promote(T + 1, 10) == 2
    # Then both wait in their queues
    assert (len(stored.entries("work:jobs:theirs")), len(stored.entries("work:jobs:gone"))) == (1, 1)


@pytest.mark.parametrize(("key", "state"), [("work:scheduled", State.SCHEDULED), ("work:retry", State.RETRY)])
async def test_a_name_nobody_knows_waits_ten_minutes_and_is_dead(
    backend: GocraftBackend, stored: Stored, key: str, state: State
) -> None:
    # Given a due job that nobody serves
    await join(backend, "a")
    stored.call("ZADD", key, T, '{"name":"ghost","id":"g","t":1,"args":{"n":1.0}}')
    # When it is promoted once a minute, it waits on
    for minute in range(10):
        assert await backend.promote(T + 60 * minute, 10) == 1
        assert await backend.promote(T + 60 * minute, 10) == 0
        (view,) = await listed(backend, state)
        assert view.at == T + 60 * (minute + 1)
    # Then it is dead, with all that it came with
    assert await backend.promote(T + 600, 10) == 1
    (view,) = await listed(backend, State.DEAD)
    assert view.error.startswith("unknown_handler")
    (raw,) = stored.entries("work:dead")
    assert raw.startswith(b'{"name":"ghost","id":"g","t":1,"args":{"n":1.0},')
    assert b'"unknown"' not in raw


async def test_a_name_that_becomes_known_is_promoted_after_all(backend: GocraftBackend, stored: Stored) -> None:
    await join(backend, "a")
    stored.call("ZADD", "work:scheduled", T, *good(1, "late"))
    for minute in range(3):
        await backend.promote(T + 60 * minute, 10)
    pool = await join(backend, "late")
    assert await backend.promote(T + 180, 10) == 1
    assert ids(await fetch(backend, pool)) == ["good-0"]


async def test_the_medic_revives_what_a_go_pool_buried_for_its_name(stored: Stored, opened: Open) -> None:
    # Given two jobs as a Go pool buries them, one of which somebody serves, and one that died otherwise
    for name, error in (("a", "unknown job when requeueing"), ("ghost", "unknown job when requeueing"), ("a", "boom")):
        document = {"name": name, "id": f"{name}-{error[:4]}", "t": 1, "args": None, "err": error, "failed_at": T}
        stored.call("ZADD", "work:dead", T, json.dumps(document, separators=(",", ":")))
    backend = GocraftBackend(f"{stored.url}?medic=true", namespace="work")
    pool = await join(backend, "a")
    # When the medic comes by
    await backend.prune(T)
    # Then the one runs, and the others stay dead
    (delivery,) = await fetch(backend, pool, 10)
    assert (delivery.job.id, delivery.job.error) == ("a-unkn", "")
    assert {view.id for view in await listed(backend, State.DEAD)} == {"ghost-unkn", "a-boom"}
    await backend.close()


# G16: periodic jobs


async def test_each_tick_is_enqueued_once_however_many_pools_there_are(opened: Open, stored: Stored) -> None:
    # Given five pools with clocks apart, and one that promotes meanwhile
    entries = [Periodic(cron.parse("0 * * * * *"), "a", None, "default")]
    pools, promoter = [opened() for _ in range(5)], opened()
    # When they enqueue all the time for ten minutes
    for second in range(0, 600, 7):
        skews = (-9, -3, 0, 4, 10)
        await asyncio.gather(
            *(schedule_ahead(pool, entries, T + second + skew) for pool, skew in zip(pools, skews, strict=True))
        )
        await promoter.promote(T + second, 100)
    # Then each minute has one job
    waiting = [json.loads(raw)["id"] for raw in stored.entries("work:jobs:a") + stored.entries("work:scheduled")]
    assert Counter(waiting) == Counter(f"periodic:a:0 * * * * *:{at}" for at in range(T + 40, T + 840, 60))


# G18: whole scores


async def test_every_score_is_whole_and_never_early(backend: GocraftBackend, stored: Stored) -> None:
    # Given times with fractions everywhere
    now, at = T + 0.25, T + 10.001
    await backend.push([a_job(run_at=at)], now)
    await backend.push([alone(run_at=at)], now)
    _, held = await lend(backend, *(a_job() for _ in range(3)))
    for delivery, outcome in zip(held, (Retried(at, "no"), Snoozed(at), Buried("no")), strict=True):
        await settle(backend, delivery, outcome, now=now)
    stored.call("ZADD", "work:scheduled", T, "{bad", T, *good(1, "ghost"))
    # When the due ones have been moved
    await backend.promote(now, 10)
    # Then all scores are whole seconds, rounded up
    for key in ("work:scheduled", "work:retry", "work:dead"):
        scores = [item["score"] for item in stored.look(key)["value"]]
        assert all(score.isdigit() for score in scores)
    assert await backend.promote(T + 10.5, 10) == 0
    assert await backend.promote(T + 11, 10) == 4


# many ids at once


async def test_many_jobs_are_found_by_their_ids_in_one_pass(backend: GocraftBackend, stored: Stored) -> None:
    # Given a firing for each second of four minutes, among jobs that a pause does not concern
    secondly = Periodic(cron.parse("@every 1s"), "a", None, "default")
    others = [a_job(run_at=T + 100.0 + number) for number in range(300)]
    await push(backend, *others)
    await schedule_ahead(backend, [secondly], T)
    # When the schedule is paused
    before = stored.asked("zscan")
    await pause(backend, secondly, T)
    # Then it was passed through once, and the others are there
    assert stored.asked("zscan") - before < 20
    assert [view.id for view in await listed(backend, State.SCHEDULED)] == [job.id for job in others]
    # And jobs that have nothing in common are queued in the order in which they were named
    named = [job.id for job in reversed(others[:50])]
    await join(backend)
    assert await backend.requeue(State.SCHEDULED, [*named, "none"], T) == 50
    assert [json.loads(raw)["id"] for raw in reversed(stored.entries("work:jobs:a"))] == named
    assert await backend.delete(State.SCHEDULED, []) == 0
