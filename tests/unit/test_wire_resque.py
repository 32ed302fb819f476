"""Resque's payloads, failures and times, against recordings of Ruby, goworker and node-resque."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job
from worksong.domain.outcome import Failure
from worksong.domain.poison import Poison, Reason
from worksong.wire import resque, resque_failure, resque_time

CASES = {case["case"]: case for case in json.loads((Path(__file__).parents[1] / "golden" / "resque.json").read_text())}
OURS = Job("send", {"user": 1}, queue="low", id="a1", enqueued_at=1_700_000_000)


def after(case: str, key: str) -> Any:
    """What a recording left under a key."""
    return CASES[case]["redis_after"][f"resque:{key}"]["value"]


def payloads() -> Iterator[tuple[str, str]]:
    """Every payload that a peer queued or delayed in a recording."""
    for name, case in CASES.items():
        for key, what in case["redis_after"].items():
            if what["type"] == "list" and ("resque:queue:" in key or "resque:delayed:" in key):
                yield from ((name, raw) for raw in what["value"])


# payloads


@pytest.mark.parametrize(("case", "raw"), [*payloads()])
def test_the_payloads_of_all_peers_are_read(case: str, raw: str) -> None:
    job, told = resque.decode(raw.encode()), json.loads(raw)
    assert (job.handler, job.args or []) == (told["class"], told["args"] or [])
    assert job.queue == told.get("queue", "default")
    assert (job.id, job.attempt) == (resque.decode(raw.encode()).id, 1)


@pytest.mark.parametrize("case", ["enqueue_strings_oj", "enqueue_args_oj"])
def test_a_plain_payload_is_what_ruby_writes(case: str) -> None:
    (raw,) = after(case, "queue:critical")
    job = Job("Ok", CASES[case]["inputs"]["args"], queue="critical", id="a1")
    assert resque.encode(job, plain=True).decode() == raw


def test_a_plain_delayed_payload_is_what_ruby_writes() -> None:
    job = Job("Ok", [1, {"a": "<b>"}], queue="critical", id="a1")
    (raw,) = after("scheduler_enqueue_at", "delayed:4102444800")
    assert resque.encode(job, plain=True, delayed=True).decode() == raw


def test_numbers_keep_their_kind_and_all_their_digits() -> None:
    (raw,) = after("enqueue_numbers_json_gem", "queue:critical")
    job = resque.decode(raw.encode())
    assert job.args == json.loads(raw)["args"]
    assert [type(value) for value in job.args or ()] == [type(value) for value in json.loads(raw)["args"]]


def test_what_worksong_writes_ends_in_a_member_of_its_own() -> None:
    raw = resque.encode(OURS)
    assert raw == b'{"class":"send","args":[{"user":1}],"worksong":{"id":"a1","enqueued_at":1700000000}}'
    assert resque.decode(raw, queue="low") == OURS


@pytest.mark.parametrize("args", [[{"user": 1}], [{}], [1, "two", None, {"three": [3.0]}], ["x"], [[]]])
def test_arguments_by_position_stay_so(args: list[Any]) -> None:
    assert resque.decode(resque.encode(Job("send", args, id="a1"))).args == args


def test_one_foreign_object_may_be_named_arguments_or_one_by_position() -> None:
    assert resque.decode(b'{"class":"send","args":[{"user":1}]}').args == [{"user": 1}]


def test_equal_foreign_payloads_have_one_id_whatever_stands_around() -> None:
    plain, queued = b'{"class":"Ok","args":[1]}', b'{"class":"Ok","queue":"low","args":[1]}'
    assert resque.decode(plain).id == resque.decode(queued).id
    assert resque.decode(plain).id != resque.decode(b'{"class":"Ok","args":[1.0]}').id
    assert resque.decode(b'{"class":"Ok","args":null}').id == resque.decode(b'{"class":"Ok"}').id


@pytest.mark.parametrize("case", ["worker_extra_payload_members"])
def test_unknown_members_are_kept(case: str) -> None:
    (raw,) = CASES[case]["redis_before"]["resque:queue:critical"]["value"]
    job = resque.decode(raw.encode(), queue="critical")
    assert job.meta == {"id": "abc", "x": {"y": 1}}
    told = json.loads(resque.rewrite(raw.encode(), job, queue="low", attempt=2))
    assert told.pop("worksong") == {"id": job.id, "attempt": 2}
    assert told == json.loads(raw) | {"queue": "low"}


def test_a_payload_is_rewritten_without_touching_the_values_of_others() -> None:
    raw = b'{"class":"Ok","args":[1.0, 1.0e+20 ,"\\u003c"],"queue":"low"}'
    assert resque.rewrite(raw, resque.decode(raw)) == b'{"class":"Ok","args":[1.0, 1.0e+20 ,"\\u003c"]}'


@pytest.mark.parametrize(
    ("case", "queue"), [("scheduler_moves_due", "critical"), ("node_scheduler_moves_due", "critical")]
)
def test_a_due_foreign_payload_becomes_what_its_own_scheduler_makes_of_it(case: str, queue: str) -> None:
    before = [raw for key, what in CASES[case]["redis_before"].items() if ":delayed:" in key for raw in what["value"]]
    queued = [resque.queued(raw.encode(), resque.decode(raw.encode()), 5.0).decode() for raw in before]
    assert queued == after(case, f"queue:{queue}")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.INVALID_JSON),
        (b"[1]", Reason.NOT_AN_OBJECT),
        (b'{"args":[]}', Reason.MISSING_NAME),
        (b'{"class":"","args":[]}', Reason.MISSING_NAME),
        (b'{"class":1,"args":[]}', Reason.BAD_FIELD_TYPE),
        (b'{"class":"a","args":{"x":1}}', Reason.BAD_ARGS),
        (b'{"class":"a","args":"x"}', Reason.BAD_ARGS),
        (b'{"class":"a","args":[1e999]}', Reason.BAD_NUMBER),
        (b'{"class":"a","args":[NaN]}', Reason.BAD_NUMBER),
        (b'{"class":"a","args":["\xff"]}', Reason.INVALID_UTF8),
        (b'{"class":"a","args":[],"queue":1}', Reason.BAD_FIELD_TYPE),
        (b'{"class":"a","args":[],"worksong":1}', Reason.BAD_FIELD_TYPE),
        (b'{"class":"a","args":[],"worksong":{"id":1}}', Reason.BAD_FIELD_TYPE),
        (b'{"class":"a","args":[],"worksong":{"id":"1","attempt":0}}', Reason.BAD_FIELD_TYPE),
        (b'{"class":"a","class":"b","args":[]}', Reason.DUPLICATE_MEMBER),
        (b'{"class":"a","args":[],"args":[1]}', Reason.DUPLICATE_MEMBER),
        (b'{"class":"a","args":[' + b"[" * 100 + b"]" * 100 + b"]}", Reason.TOO_DEEP),
    ],
)
def test_what_is_no_job_is_poison_with_a_reason(raw: bytes, reason: Reason) -> None:
    with pytest.raises(Poison) as poison:
        resque.decode(raw)
    assert poison.value.reason is reason


@pytest.mark.parametrize("name", ["class", "args", "queue", "worksong"])
def test_no_further_member_may_have_the_name_of_a_known_one(name: str) -> None:
    with pytest.raises(InvalidArguments, match=name):
        resque.encode(Job("send", None, id="a1", meta={name: 1}))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(values, min_size=1, max_size=4) | st.dictionaries(st.text(), values, min_size=1, max_size=4))
def test_what_is_written_is_read_again(args: Any) -> None:
    job = Job("send", args, id="a1")
    try:
        raw = resque.encode(job)
    except InvalidArguments:
        return  # half of a surrogate pair
    assert repr(resque.decode(raw).args) == repr(args)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_job_or_poison_and_a_failure_of_them_keeps_them(raw: bytes) -> None:
    try:
        resque.decode(raw)
    except Poison as poison:
        document = resque_failure.poisoned(raw, poison, job_id="p", where="queue", worker="w:1:q", queue="q", now=1.0)
        assert resque_failure.decode(document).raw == raw
        assert isinstance(json.loads(document)["payload"]["args"], list)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | values.map(lambda tree: json.dumps(tree).encode()))
def test_any_entry_among_the_failures_can_be_shown(raw: bytes) -> None:
    found = resque_failure.decode(raw)
    assert found.job.error or not found.reason


# failures


FAILURES = [
    ("failure_entry_oj", 'ArgumentError: boom <x> é "q" / slash', 1),
    ("node_worker_failure", 'TypeError: boom <x> é "q" / slash', 1),
    ("goworker_failure", 'boom <x> é "q"', 1),
    ("worker_class_missing", None, 1),
]


@pytest.mark.parametrize(("case", "error", "count"), FAILURES)
def test_the_failures_of_all_peers_are_read(case: str, error: str | None, count: int) -> None:
    raws = after(case, "failed")
    assert len(raws) == count
    found = resque_failure.decode(raws[0].encode())
    assert found.job.attempt == 2
    assert 1_795_100_000 < found.job.failed_at < 1_795_300_000
    assert error is None or found.job.error == error
    assert json.loads(found.payload) == json.loads(raws[0])["payload"]


def test_a_failure_has_the_members_and_the_order_that_ruby_writes() -> None:
    failure = Failure("ValueError", "boom", "Traceback\n  File x\nValueError: boom")
    ruby = json.loads(after("failure_entry_oj", "failed")[0])
    payload = b'{"class":"Boom","args":[1]}'
    raw = resque_failure.encode(
        payload, "ValueError: boom", failure=failure, worker="h:1:q", queue="critical", now=1_700_000_000.9
    )
    told = json.loads(raw)
    assert list(told) == list(ruby)
    assert (told["exception"], told["error"], told["failed_at"]) == ("ValueError", "boom", "2023/11/14 22:13:20 UTC")
    assert told["backtrace"] == ["Traceback", "  File x", "ValueError: boom"]
    assert resque_failure.decode(raw).job.error == "ValueError: boom"


def test_the_record_of_a_busy_worker_is_what_ruby_writes() -> None:
    told = after("working_on", "worker:host1:123:critical")
    run_at = resque_time.run_at(resque_time.read(json.loads(told)["run_at"]))
    assert resque.record(b'{"class":"Ok","args":[1]}', "critical", run_at).decode() == told


def test_tries_are_counted_under_the_key_of_the_plugins() -> None:
    (key,) = [key for key in CASES["node_retry_plugin"]["redis_after"] if key.startswith("resque:resque-retry:")]
    job = resque.decode(b'{"class":"Retry1","args":[1]}')
    assert f"resque:resque-retry:{resque.identity(job)}" == key
    assert resque.identity(Job("A", ["x y", None, True, 1.5, [1, 2]])) == "A:xy--true-1.5-1-2"
    assert resque.identity(Job("A")) == "A"


# times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-20 17:27:09 +0000", 1795195629),
        ("2026-11-20 17:29:41.498045471 +0000 UTC m=+0.009236839", 1795195781.498045471),
        ("1795195936", 1795195936),
        (1795195936, 1795195936),
        ("2026-11-20T17:27:09Z", 1795195629),
        ("2026-11-20T18:29:41.497941818+01:00", 1795195781.497941818),
        ("Fri Nov 20 2026 18:32:16 GMT+0100 (Central European Standard Time)", 1795195936),
        ("2026/11/20 17:27:09 UTC", 1795195629),
        ("2026/11/20 18:27:09 CET", 1795195629),
        ("2026/11/20 18:32:34", 1795199554),
        ("2026-11-20T17:27:09+00:00", 1795195629),
    ],
)
def test_the_times_of_all_peers_are_read(text: object, seconds: float) -> None:
    assert resque_time.read(text) == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize("text", ["", "x", "2026-13-45T99:99:99Z", None, True, -5, 10**30, "9" * 100, [], "Fri Foo 20"])
def test_what_is_no_time_is_zero(text: object) -> None:
    assert resque_time.read(text) == 0.0


def test_times_are_written_as_ruby_writes_them() -> None:
    at = 1_795_195_629.9
    assert resque_time.started(at) == "2026-11-20 17:27:09 +0000"
    assert resque_time.run_at(at) == "2026-11-20T17:27:09Z"
    assert resque_time.failed_at(at) == "2026/11/20 17:27:09 UTC"
    assert resque_time.heartbeat(at) == "2026-11-20T17:27:09+00:00"
