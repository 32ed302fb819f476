"""Every recording of the real gocraft/work, done again by worksong on a real Redis: the same is stored, or better.

None is passed over in silence: what it left is left by worksong as well, or is in BETTER, or it has a test of its own
(TOLD), or it has nothing to do with what is stored (OUT_OF_SCOPE).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable

import pytest

from golden_redis.better import BETTER
from golden_redis.redone import World, doing
from golden_redis.stored import State as Dump
from golden_redis.stored import Stored, T, comparable, recordings, without
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain import cron, retry
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Retried
from worksong.domain.turns import Sampled
from worksong.domain.verdict import Policy, of_failure
from worksong.engine.timetable import schedule_ahead
from worksong.ports.backend import Pool, Window
from worksong.registry import Periodic

Open = Callable[..., GocraftBackend]

CASES = recordings()
ASIDE: dict[str, tuple[str, ...]] = {
    "process_": ("work:worker_pools",),
    "requeue_": ("work:worker_pools", "work:known_jobs"),
    "heartbeat": ("work:known_jobs",),
    "pool_start_writes": ("work:worker_pools",),
    "observation_": ("work:worker_pools",),
}
"""What a whole pool writes, where the recording is of a part of one."""
REENCODED = ("requeue_", "client_retry_")
"""Go moves these in Lua, which writes members in any order: documents are compared as what they mean."""
TOLD = {
    "backoff_ranges": "test_the_wait_after_a_failure_has_the_recorded_range",
    "priority_sampling": "test_job_types_have_their_turn_as_often_as_recorded",
    "cjson_roundtrip": "test_a_move_changes_no_text_that_lua_would_change",
    "queues_with_poison_entry": "test_poison_at_the_end_of_a_queue_spoils_no_listing",
    "retry_all_stops_at_unknown_batch": "test_requeueing_all_passes_by_what_nobody_knows",
    "periodic_spec_that_never_fires": "test_a_time_that_never_comes_is_never_scheduled",
    "panic_in_backoff": "test_a_backoff_that_fails_costs_no_job_its_retry",
}
"""Recording -> the test below that tells what worksong does."""
OUT_OF_SCOPE = {
    "client_retry_dead_job_wrong_score": "worksong finds jobs by id alone, whatever their score",
    "arg_accessors": "handlers have typed parameters instead of accessors",
    "panics": "misuse of Go's constructors",
    "handler_signatures": "what the registry accepts, see its unit tests",
    "middleware_order_and_context": "the engine's middleware, see its unit tests",
    "typed_generic_handler": "a trap of Go's reflection",
    "drain_paused_queue": "the burst mode of the engine; that a paused queue counts as empty is fetch_paused",
    "stop_waits_for_running_job": "the engine's stop, see its unit tests",
    "workwebui_redis_flag": "a flag of Go's web program",
    **{
        name: "the HTTP face of Go's web program; what it reads and changes is told by client_*"
        for name in CASES
        if name.startswith("webui_")
    },
}
COMPARED = [name for name in CASES if name not in {*BETTER, *TOLD, *OUT_OF_SCOPE}]


def seen(name: str, state: Dump) -> Dump:
    """The part of a state that counts for this recording."""
    beginning = next((start for start in ASIDE if name.startswith(start)), "")
    namespaces = ("", "{app}:", "my app:x:", "work:")
    ours = tuple(f"{namespace}worksong:" for namespace in namespaces)
    counted = without(state, *ours, *ASIDE.get(beginning, ()))
    return comparable(counted, parsed=name.startswith(REENCODED))


async def redo(name: str, opened: Open, stored: Stored) -> Dump:
    """Load what there was, do the same with worksong, look."""
    case, do = CASES[name], doing(name)
    assert do is not None, f"nobody does {name} again"
    stored.load(case.before)
    await do(World(case, opened(case.namespace), stored))
    return seen(name, stored.dump())


# all recordings


def test_every_recording_is_compared_or_listed_once_with_its_reason() -> None:
    listed = Counter([*COMPARED, *BETTER, *TOLD, *OUT_OF_SCOPE])
    assert listed == Counter(list(CASES))
    assert all(doing(name) for name in (*COMPARED, *BETTER))
    assert all(test in globals() for test in TOLD.values())


@pytest.mark.parametrize("name", COMPARED)
async def test_worksong_leaves_what_gocraft_work_leaves(name: str, opened: Open, stored: Stored) -> None:
    assert await redo(name, opened, stored) == seen(name, CASES[name].after)


@pytest.mark.parametrize("name", BETTER)
async def test_worksong_leaves_what_is_better(name: str, opened: Open, stored: Stored) -> None:
    assert await redo(name, opened, stored) == seen(name, BETTER[name].expect(CASES[name])), BETTER[name].why


@pytest.mark.parametrize("name", BETTER)
def test_what_is_better_is_not_the_same(name: str) -> None:
    case = CASES[name]
    assert seen(name, BETTER[name].expect(case)) != seen(name, case.after)


# recordings told by a test of their own


def test_the_wait_after_a_failure_has_the_recorded_range() -> None:
    for recorded in CASES["backoff_ranges"].result:
        job = Job("alpha", attempt=recorded["fails"] + 1)
        draw = random.Random(1).random
        waits = {retry.gocraft(draw)(job) for _ in range(2000)}
        assert (min(waits), max(waits)) == (recorded["min"], recorded["max"])
        assert len(waits) == 30


def test_job_types_have_their_turn_as_often_as_recorded() -> None:
    # Given priorities 5, 2, 1 and as many draws as were recorded
    recorded = CASES["priority_sampling"].result
    total = sum(recorded.values())
    turns = Sampled({"5": 5, "2": 2, "1": 1}, random.Random(17).random)
    # When each fetch asks for one job
    drawn = Counter(" ".join(share.name for share in turns.take(1)) for _ in range(total))
    # Then no order is further from the recorded one than chance allows (chi-square, 5 degrees, p = 0.001)
    pairs = [(drawn[order.strip("[]")], count) for order, count in recorded.items()]
    assert sum(drawn.values()) == total
    assert sum((ours - theirs) ** 2 / (ours + theirs) for ours, theirs in pairs) < 20.5


async def test_a_move_changes_no_text_that_lua_would_change(backend: GocraftBackend, stored: Stored) -> None:
    # Given a due job for every text that was sent through Lua
    await backend.enlist(Pool(id="p", handlers=("alpha",)), T)
    texts = [item["in"] for item in CASES["cjson_roundtrip"].result]
    raws = [f'{{"name":"alpha","id":"{n}","t":1,"args":{{"v":{text}}}}}' for n, text in enumerate(texts)]
    for raw in raws:
        stored.call("ZADD", "work:scheduled", 1, raw)
    # When they are promoted
    assert await backend.promote(T, 1000) == len(raws)
    # Then each is queued with the same text but for its time, or buried with the same text
    queued = {raw.decode() for raw in stored.entries("work:jobs:alpha")}
    buried = {view.raw.decode() for view in await backend.jobs(State.DEAD, Window(limit=1000))}
    for raw in raws:
        assert raw in buried or raw.replace('"t":1,', f'"t":{T},') in queued
    assert len(queued) + len(buried) == len(raws)
    assert len(queued) > len(buried)


async def test_poison_at_the_end_of_a_queue_spoils_no_listing(backend: GocraftBackend, stored: Stored) -> None:
    stored.load(CASES["queues_with_poison_entry"].after)
    (queue,) = await backend.queues(T)
    assert (queue.name, queue.count, queue.latency) == ("a", 1, 0.0)
    (view,) = await backend.jobs(State.QUEUED, Window())
    assert view.raw == b"{bad"


async def test_requeueing_all_passes_by_what_nobody_knows(backend: GocraftBackend, stored: Stored) -> None:
    # Given a thousand dead jobs of an unknown name before one of a known name
    stored.call("SADD", "work:known_jobs", "alpha")
    for number in range(1000):
        stored.call("ZADD", "work:dead", T - 2000 + number, f'{{"name":"ghost","id":"g{number}","t":1,"args":null}}')
    stored.call("ZADD", "work:dead", T - 1, '{"name":"alpha","id":"d1","t":1,"args":null}')
    # When all are requeued
    assert await backend.requeue(State.DEAD, None, T) == 1
    # Then the known one is queued
    assert [json.loads(raw)["id"] for raw in stored.entries("work:jobs:alpha")] == ["d1"]
    assert len(stored.entries("work:dead")) == 1000


async def test_a_time_that_never_comes_is_never_scheduled(backend: GocraftBackend, stored: Stored) -> None:
    spec = CASES["periodic_spec_that_never_fires"].inputs["spec"]
    schedule = cron.parse(spec)
    assert schedule.never
    assert await schedule_ahead(backend, [Periodic(schedule, "never", None, "default")], T) == 0
    assert stored.dump() == {}


def test_a_backoff_that_fails_costs_no_job_its_retry() -> None:
    def broken(job: Job) -> float:
        raise RuntimeError("no number")

    outcome = of_failure(Job("alpha"), ValueError("boom"), Policy(broken), T)
    assert isinstance(outcome, Retried)
    assert outcome.run_at == T + 60
