"""Recordings after which worksong deliberately leaves something else than gocraft/work: what, and why.

Numbers in brackets are those of the known defects of gocraft/work, G-numbers those of the reliability plan.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from golden_redis.redone import WEEK, WORKERS
from golden_redis.stored import Case, State, T, recordings
from worksong.domain.poison import Reason
from worksong.wire import gocraft

Change: TypeAlias = Callable[[State], State]


class Better(NamedTuple):
    """What worksong leaves, and why."""

    why: str
    expect: Callable[[Case], State]


def after(*changes: Change) -> Callable[[Case], State]:
    """What gocraft/work left, with some changes."""
    return lambda case: _changed(case.after, changes)


def before(*changes: Change) -> Callable[[Case], State]:
    """What was there at the beginning, with some changes."""
    return lambda case: _changed(case.before, changes)


def _changed(state: State, changes: tuple[Change, ...]) -> State:
    state = copy.deepcopy(state)
    for change in changes:
        state = change(state)
    return state


# changes


def put(key: str, kind: str, value: Any) -> Change:
    """The key holds this."""
    return lambda state: state | {key: {"type": kind, "value": value}}


def drop(*parts: str) -> Change:
    """The keys whose names contain one of these are gone."""
    return lambda state: {key: entry for key, entry in state.items() if not any(part in key for part in parts)}


def ttl(part: str, seconds: int) -> Change:
    """The keys whose names contain this expire in so many seconds."""
    return lambda state: {key: entry | ({"ttl": seconds} if part in key else {}) for key, entry in state.items()}


def no_zero(state: State) -> State:
    """lock_info has no field of a pool that runs nothing."""
    for key, entry in state.items():
        if key.endswith(":lock_info"):
            entry["value"] = {pool: count for pool, count in entry["value"].items() if count != "0"}
    return {key: entry for key, entry in state.items() if entry["value"] != {}}


def queued(name: str, *documents: str) -> Change:
    """The queue holds these, the newest first."""
    return put(f"work:jobs:{name}", "list", list(documents))


def due(state: State) -> State:
    """What was scheduled is queued, unaltered but for `t`."""
    moved = [json.dumps(json.loads(item["member"]) | {"t": T}) for item in state["work:scheduled"]["value"]]
    return queued("alpha", *reversed(moved))(drop("work:scheduled")(state))


def buried(raw: str, name: str, reason: Reason, where: str) -> Change:
    """Poison lies among the dead, wrapped in a document, and nowhere else."""
    wrapped = gocraft.wrap_poison(raw.encode(), name, "", reason=reason, detail="", now=T, where=where)
    return put("work:dead", "zset", [{"member": wrapped.decode(), "score": str(T)}])


def failed(args: str, job_id: str, t: int, more: str = "", shown: str = "") -> Change:
    """The one retry entry has these arguments and further members; the worker showed the arguments."""

    def keep(state: State) -> State:
        (item,) = state["work:retry"]["value"]
        head = f'{{"name":"alpha","id":"{job_id}","t":{t},"args":{args}{more}'
        item["member"] = f'{head},"fails":1,"err":"boom","failed_at":{T}}}'
        state[f"work:worker:{WORKERS[0]}"]["value"]["args"] = shown or args
        return state

    return keep


def no_checkin(state: State) -> State:
    """No worker shows a check-in."""
    for entry in state.values():
        entry["value"] = {field: text for field, text in entry["value"].items() if not field.startswith("checkin")}
    return state


def ticks(spec: str, *times: int) -> Change:
    """These firings of `foo` are on the schedule, beside what is there."""

    def add(state: State) -> State:
        items = [
            {"member": f'{{"name":"foo","id":"periodic:foo:{spec}:{at}","t":{at},"args":null}}', "score": str(at)}
            for at in times
        ]
        there = state.get("work:scheduled", {"value": []})["value"]
        return put("work:scheduled", "zset", sorted([*there, *items], key=lambda item: int(item["score"])))(state)

    return add


def known(state: State) -> State:
    """Every name on the schedule is a known job."""
    names = {json.loads(item["member"])["name"] for item in state["work:scheduled"]["value"]}
    return put("work:known_jobs", "set", sorted(names))(state)


def revived(name: str, job_id: str) -> str:
    """What is left of a dead job when it is queued again."""
    return f'{{"name":"{name}","id":"{job_id}","t":{T},"args":{{"i":1}}}}'


NO_ZERO = "lock_info forgets a pool that runs nothing, instead of keeping a zero for each that ever ran [26]"
REFUSED = "what other readers would change or refuse is refused, and nothing is stored"
OUTLIVES = "the lock lasts until a day after the run time, not after the call [G8]"
POISON = "what cannot be read goes to the dead with its bytes, and neither keeps a slot nor blocks others [12, 13]"
UNLEAKED = "the bytes removed are those that were lent: nothing stays in progress [6]"
DIGITS = "nothing is encoded anew: digits, arrays and unknown members stay as they are [3]"
ORPHAN = "whatever its heartbeat lacks, the jobs of a pool that is gone are given back [1, 2]"
TICKS = "each tick is enqueued once under an id of its own, so no common guard is written; its name becomes known [10]"

X1 = '{"name":"alpha","id":"x1","t":1699999000,"args":null}'
ARRAY = '{"name":"alpha","id":"x1","t":1700000000,"args":[]}'
NAMELESS = '{"id":"c","t":1,"args":null}'
BIG = '{"big":9007199254740993,"max":9223372036854775807,"f":1.0,"e":1e21,"m":100000000000000000000}'
BIG_SHOWN = '{"big":9007199254740993,"e":1e+21,"f":1,"m":100000000000000000000,"max":9223372036854775807}'
NUMBERS = (
    '{"e15x":123456789012345,"max":9223372036854775807,"p53p1":9007199254740993,'
    '"third":0.3333333333333333,"umax":18446744073709551615}'
)
MINUTELY = "0 * * * * *"
TICK = f'"name":"foo","id":"periodic:foo:{MINUTELY}:{T + 40}"'
MINUTES = (T + 40, T + 100, T + 160, T + 220)
GIVEN_BACK = before(
    drop("inprogress", "lock", "worker_pools"), queued("alpha", X1), put("work:jobs:alpha:lock", "string", "0")
)

BETTER: dict[str, Better] = {
    "enqueue_invalid_utf8": Better(REFUSED, before()),
    "enqueue_ints": Better(REFUSED, before()),
    "unique_bigint": Better(REFUSED, before()),
    "unique_in_first": Better(OUTLIVES, after(ttl(":unique:", 86_700))),
    "unique_in_dup_of_unique": Better(OUTLIVES, after(ttl(":unique:", 86_700))),
    "unique_in_by_key_first": Better(OUTLIVES, after(ttl(":unique:", 86_700))),
    "unique_in_by_key_dup": Better(OUTLIVES, after(ttl(":unique:", 87_300))),
    "fetch_poison_json": Better(
        POISON,
        before(
            drop("jobs:"),
            buried("{not json", "alpha", Reason.INVALID_JSON, "queue"),
            put("work:jobs:alpha:lock", "string", "0"),
        ),
    ),
    "fetch_args_array": Better(
        POISON,
        before(
            drop("jobs:"),
            buried(ARRAY, "alpha", Reason.BAD_FIELD_TYPE, "queue"),
            put("work:jobs:alpha:lock", "string", "0"),
        ),
    ),
    **{name: Better(NO_ZERO, after(no_zero)) for name in recordings() if name.startswith("process_")},
    "process_stray": Better(
        "the slot it took is given back, not one of the type it names [15]",
        after(drop("ghost", "lock"), put("work:jobs:alpha:lock", "string", "0")),
    ),
    "process_unknown_fields_dropped": Better(
        DIGITS,
        after(no_zero, failed(BIG, "x1", 1_699_999_000, ',"extra":{"trace":"abc"},"priority":5', shown=BIG_SHOWN)),
    ),
    "process_retry_large_numbers": Better(DIGITS, after(no_zero, failed(NUMBERS, "d0c0ffee0000000000000001", T))),
    "process_middleware_mutates_args": Better(
        "what is retried is what was enqueued: a run changes a copy",
        after(no_zero, failed('{"i":1}', "d0c0ffee0000000000000001", T)),
    ),
    "process_by_key_success_after_dup": Better(UNLEAKED, after(no_zero, drop(":inprogress"))),
    "process_by_key_scheduled_after_requeue": Better(UNLEAKED, after(no_zero, drop(":inprogress"))),
    "process_unique_retry_steals_new_lock": Better(
        "a job that runs again leaves the lock to the newer one, which holds it [8]",
        lambda case: after(no_zero)(case) | {key: case.before[key] for key in case.before if ":unique:" in key},
    ),
    "requeue_empty_arrays": Better(DIGITS, before(due)),
    "requeue_numbers": Better(DIGITS, before(due)),
    "requeue_unknown_name": Better(
        "a name known to anybody in the namespace is promoted by everybody [4]", before(due)
    ),
    "requeue_missing_name": Better(
        "the job lies among the dead and is not lost [3]",
        before(drop("scheduled"), buried(NAMELESS, "", Reason.MISSING_NAME, "schedule")),
    ),
    "requeue_poison_json": Better(
        POISON,
        before(
            drop("scheduled"),
            buried("{bad", "", Reason.INVALID_JSON, "schedule"),
            queued("alpha", f'{{"name":"alpha","id":"c","t":{T},"args":null}}'),
        ),
    ),
    "client_retry_dead_job_unknown_queue": Better("what cannot be requeued is not touched", before()),
    "client_retry_all_dead": Better(
        "what cannot be requeued is not touched; all dead means those, too, that died by a clock that is ahead",
        lambda case: (
            after(queued("beta", *(revived("beta", one) for one in ("d4", "d3"))))(case)
            | {"work:dead": {"type": "zset", "value": case.before["work:dead"]["value"][1:2]}}
        ),
    ),
    "client_retry_all_dead_unique": Better(
        "a revived job gave its lock back when it first ran: it is not unique any more, lest it frees another's [8]",
        after(queued("alpha", revived("alpha", "d1"))),
    ),
    "client_delete_scheduled_by_key": Better("the lock is found under its stored name [21]", after(drop(":unique:"))),
    "heartbeat": Better("a pool that nobody reaps is forgotten after a week", after(ttl("worker_pools:", WEEK))),
    "heartbeat_no_jobs": Better(
        "a pool that nobody reaps is forgotten after a week", after(ttl("worker_pools:", WEEK))
    ),
    "pool_start_writes": Better("only a limit that was given is written [16]", after(drop("alpha:max_concurrency"))),
    "observation_stale_checkin": Better("a check-in goes with its job [25]", after(no_checkin)),
    "live_pool_running": Better(
        "as the parts: heartbeat, pool_start_writes and the periodic ones",
        after(ttl("worker_pools:", WEEK), drop("beta:max_concurrency", "last_periodic")),
    ),
    "live_pool_drained_stopped": Better(NO_ZERO, after(no_zero)),
    "reap_missing_heartbeat": Better(ORPHAN, GIVEN_BACK),
    "reap_missing_job_names": Better(ORPHAN, GIVEN_BACK),
    "reap_not_in_set": Better(ORPHAN, GIVEN_BACK),
    "reap_live_but_late_pool_then_finish": Better(
        "an ending that comes too late changes nothing [5]",
        after(drop("lock"), put("work:jobs:alpha:lock", "string", "0")),
    ),
    "periodic_minutely": Better(TICKS, after(drop("last_periodic"), known)),
    "periodic_five_field": Better(TICKS, after(drop("last_periodic"), known)),
    "periodic_boundary": Better(TICKS, after(drop("last_periodic"), known)),
    "periodic_html_in_spec": Better(TICKS, after(drop("last_periodic"), known)),
    "periodic_two_pools_same_bytes": Better(TICKS, before(known)),
    "periodic_not_skipped_at_3s": Better(TICKS, before(ticks(MINUTELY, *MINUTES), known)),
    "periodic_skipped_within_2s": Better(
        "no pool keeps another from enqueueing what is missing [10]", before(ticks(MINUTELY, *MINUTES), known)
    ),
    "periodic_no_jobs_still_sets_key": Better("a pool without periodic jobs writes nothing [10]", before()),
    "periodic_every_two_cycles": Better(
        "@every counts from the epoch, so that all pools and cycles agree [11]",
        before(ticks("@every 90s", T + 190, T + 280, T + 370), known),
    ),
    "periodic_readded_after_move": Better(
        "a tick that has left the schedule is not enqueued again [10]",
        before(drop("last_periodic"), known, queued("foo", f'{{{TICK},"t":{T + 40},"args":null}}')),
    ),
}
