"""gocraft/work's documents and keys, byte for byte as recorded from the real library; and poison."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worksong.domain.errors import InvalidArguments
from worksong.domain.firing import firing_id
from worksong.domain.job import Job
from worksong.domain.poison import Poison, Reason
from worksong.wire import gocraft, gojson
from worksong.wire.gocraft_keys import Keys

TESTS = Path(__file__).parents[1]
GOLDEN: dict[str, dict[str, Any]] = {
    case["case"]: case for case in json.loads((TESTS / "golden" / "gocraft-work.json").read_text())
}
CORPUS: list[tuple[str, bytes, Reason | None]] = runpy.run_path(str(TESTS / "corpus.py"))["CORPUS"]


def recorded() -> list[str]:
    """The cases of one call to enqueue whose arguments JSON can tell."""
    return [
        name
        for name, case in GOLDEN.items()
        if case["inputs"].get("call", "").startswith("Enqueue")
        and isinstance(case["inputs"].get("args", 0), dict | list | None)
    ]


def texts(part: Any) -> Iterator[str]:
    """Every text somewhere in a recording."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from texts(value)
    elif isinstance(part, str):
        yield part


def written(case: dict[str, Any]) -> list[str]:
    """The commands of the recorded client that carry a document, as flat lists."""
    return [text for call in case["calls"] if call["from"] == "client" for text in call["cmd"]]


@pytest.mark.parametrize("name", recorded())
def test_enqueued_jobs_have_the_bytes_and_keys_go_writes(name: str) -> None:
    # Given what the recorded client was asked for, in its last call
    case = GOLDEN[name]
    asked, sent = case["inputs"], written(case)
    args = asked.get("args")
    args = args[-1] if isinstance(args, list) else args
    keys = Keys(asked["namespace"])
    document = json.loads(next(text for text in reversed(sent) if '"args":' in text))
    handler = asked.get("job_name", document.get("name"))

    # When we are asked for the same
    by = asked.get("key_map") if asked.get("key_map") is not None else args
    unique = "Unique" in asked["call"]
    key = gocraft.unique_key(keys.unique_prefix, handler, by) if unique else ""
    job = Job(
        handler,
        args,
        id=document["id"],
        enqueued_at=document["t"] + 0.9,
        unique="until_start" if unique else None,
        unique_key=key,
    )

    # Then we write the same
    assert gocraft.encode(job, max_int=None).decode() in sent
    assert keys.known_jobs in sent
    assert keys.scheduled in sent if "In" in asked["call"] else keys.jobs(handler) in sent
    assert not unique or key in sent


def test_the_recorded_calls_are_all_compared() -> None:
    assert len(recorded()) == 34


DOCUMENTS = sorted(
    {
        text
        for case in GOLDEN.values()
        for text in texts([case["calls"], case["redis_before"], case["redis_after"]])
        if text.startswith('{"') and ('"t":' in text or '"NAME"' in text)
    }
)
NAMELESS = {text for text in DOCUMENTS if '"name"' not in text and '"NAME"' not in text}
ARRAYS = {text for text in DOCUMENTS if '"args":[' in text}


@pytest.mark.parametrize("text", sorted(set(DOCUMENTS) - NAMELESS - ARRAYS))
def test_every_recorded_document_is_read(text: str) -> None:
    members = {name.lower(): value for name, value in json.loads(text).items()}

    job = gocraft.decode(text.encode())

    assert job.handler == members["name"]
    assert job.id == members.get("id", "")
    assert job.args == members.get("args")
    assert job.enqueued_at == members.get("t", 0)
    assert (job.fails, job.error, job.failed_at) == tuple(members.get(name, no) for name, no in FAILURE.items())
    assert job.unique == ("until_start" if members.get("unique") else None)
    assert job.unique_key == members.get("unique_key", "")


FAILURE: dict[str, object] = {"fails": 0, "err": "", "failed_at": 0}


def test_what_go_lost_or_could_not_read_has_a_reason() -> None:
    assert len(DOCUMENTS) > 100
    assert {reason_of(text.encode()) for text in NAMELESS} == {Reason.MISSING_NAME}
    assert {reason_of(text.encode()) for text in ARRAYS} == {Reason.BAD_FIELD_TYPE}
    assert reason_of(b"{not json") == reason_of(b"{bad") == Reason.INVALID_JSON


def reason_of(raw: bytes) -> Reason | None:
    try:
        gocraft.decode(raw)
    except Poison as poison:
        return poison.reason
    return None


@pytest.mark.parametrize(("raw", "reason"), [pytest.param(raw, reason, id=name) for name, raw, reason in CORPUS])
def test_poison_has_the_right_reason_and_near_poison_is_read(raw: bytes, reason: Reason | None) -> None:
    assert reason_of(raw) == reason


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw, reason in CORPUS if reason])
def test_wrapped_poison_is_a_sound_document_and_gives_the_original_bytes_back(raw: bytes) -> None:
    wrapped = gocraft.wrap_poison(
        raw, "send <mail>", "1", reason=Reason.BAD_NUMBER, detail="1e400", now=1700000000.5, where="retry"
    )
    job = gocraft.decode(wrapped, limit=1 << 30)

    assert (job.handler, job.id, job.enqueued_at, job.failed_at) == ("send <mail>", "1", 1700000000, 1700000000)
    assert job.error == "poison: bad_number: 1e400"
    assert gocraft.unwrap_poison(job) == (Reason.BAD_NUMBER, raw)


@given(st.binary(), st.text(st.characters()), st.text(st.characters()))
def test_any_bytes_can_be_wrapped_under_any_name(raw: bytes, name: str, detail: str) -> None:
    wrapped = gocraft.wrap_poison(raw, name, name, reason=Reason.INVALID_JSON, detail=detail, now=0, where=name)

    assert gocraft.unwrap_poison(gocraft.decode(wrapped)) == (Reason.INVALID_JSON, raw)
    assert b'{"name":"' in wrapped


@pytest.mark.parametrize(
    "args",
    [
        None,
        [],
        {"poison": "arrow"},
        {"poison": {"reason": "invalid_json", "where": "queue"}},
        {"poison": {"reason": "dart", "where": "queue", "text": ""}},
        {"poison": {"reason": "invalid_json", "where": "queue", "base64": "?"}},
        {"poison": {"reason": "invalid_json", "where": "queue", "text": ""}, "n": 1},
    ],
)
def test_a_job_that_is_about_poison_is_no_wrapped_poison(args: Any) -> None:
    assert gocraft.unwrap_poison(Job("a", args)) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_job_or_poison(raw: bytes) -> None:
    for candidate in (raw, b'{"name":"a",' + raw, b'{"name":"a","args":{"b":"' + raw + b'"}}'):
        assert reason_of(candidate) in {None, *Reason}


FLOATS = st.floats(-1e9, 1e9).map(lambda number: number or 0.0)  # "-0" reads as the integer 0
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-gojson.MAX_INT, gojson.MAX_INT) | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ARGS = st.none() | st.dictionaries(st.text(), VALUES, max_size=4)
TAKEN = {"name", "id", "t", "args", "unique", "unique_key", "fails", "err", "failed_at", "queue", "unique_until"}
META = st.dictionaries(st.text().filter(lambda name: name.casefold() not in TAKEN), VALUES, max_size=3)
TIMES = st.integers(0, 2**40)
JOBS = st.builds(
    Job,
    handler=st.text(min_size=1),
    args=ARGS,
    queue=st.text(),
    id=st.text(),
    unique=st.sampled_from([None, "until_start", "until_done"]),
    enqueued_at=TIMES,
    attempt=st.integers(1, 2**62),
    error=st.text(),
    failed_at=TIMES,
    unique_key=st.text(),
    meta=META,
)


@given(JOBS)
def test_a_job_survives_the_wire(job: Job) -> None:
    assert gocraft.decode(gocraft.encode(job)) == job


@given(JOBS)
def test_a_document_is_written_again_as_it_was_read(job: Job) -> None:
    raw = gocraft.encode(job)

    assert gocraft.encode(gocraft.decode(raw)) == raw


def test_ours_are_carried_after_gos_members() -> None:
    job = Job("a", queue="slow", id="1", unique="until_done", meta={"b": 1.0, "a": "<"}, attempt=2)

    assert gocraft.encode(job).decode() == (
        r'{"name":"a","id":"1","t":0,"args":null,"unique":true,"fails":1,'
        r'"queue":"slow","unique_until":"done","a":"\u003c","b":1}'
    )


def test_members_that_only_look_like_ours_are_kept_as_found() -> None:
    job = gocraft.decode(b'{"name":"a","queue":5,"unique_until":"later","Queue":"x"}')

    assert (job.queue, job.unique) == ("default", None)
    assert job.meta == {"queue": 5, "unique_until": "later", "Queue": "x"}


def test_a_failure_count_below_zero_counts_as_none() -> None:
    assert gocraft.decode(b'{"name":"a","id":"","t":0,"args":null,"fails":-3}').attempt == 1


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Job("a", [1, 2]), "carries arguments by name only"),
        (Job("a", {"b": 2**53}), "args.b is an integer beyond"),
        (Job("a", {"b": float("nan")}), "args.b is nan"),
        (Job("a", {"b": "\ud800"}), "job.args.b holds half of a surrogate pair"),
        (Job("a\ud800", {}), "job.handler holds half of a surrogate pair"),
        (Job("a", queue="\ud800"), "job.queue holds half of a surrogate pair"),
        (Job("a", meta={"T": 1}), "meta.T is the name of a member"),
        (Job("a", meta={"queue": 1}), "meta.queue is the name of a member"),
        (Job("a", meta={"x": b""}), "meta.x is of type bytes"),
        (Job("a", "text"), "args is of type str"),
    ],
)
def test_a_job_that_gocraft_work_cannot_carry_is_refused(job: Job, message: str) -> None:
    with pytest.raises(InvalidArguments) as raised:
        gocraft.encode(job)

    assert message in str(raised.value)


def test_an_error_text_is_carried_come_what_may() -> None:
    assert gocraft.decode(gocraft.encode(Job("a", error="\ud800 <b>"))).error == "\ufffd <b>"


@pytest.mark.parametrize(
    "name", ["process_fail_first", "process_fail_second", "process_error_html", "process_fail_to_dead"]
)
def test_a_failure_changes_the_document_as_go_does(name: str) -> None:
    sent = written(GOLDEN[name])
    before = sent[sent.index("LREM") + 3]
    after = sent[sent.index("ZADD") + 3]
    changed = json.loads(after)

    assert (
        gocraft.rewrite(before.encode(), {key: changed[key] for key in ("failed_at", "err", "fails")}) == after.encode()
    )


def test_a_rewrite_leaves_what_go_leaves_out_and_takes_any_case() -> None:
    raw = b'{"T":1.0, "Fails" : 2,"x" :[ 1,\t"\\u003c/\\/"],"ERR":"e","id":"1"}'

    assert gocraft.rewrite(raw, {"t": 5, "err": "", "name": "a<"}, drop=["fails", "failed_at"]) == (
        b'{"T":5,"x":[ 1,\t"\\u003c/\\/"],"id":"1","name":"a\\u003c"}'
    )


@given(JOBS, st.integers(-(2**63), 2**63 - 1), st.text(st.characters()))
def test_a_rewrite_keeps_every_other_value_verbatim(job: Job, time: int, error: str) -> None:
    raw = gocraft.encode(job)
    again = gocraft.rewrite(raw, {"t": time, "err": error}, drop=["fails"])

    assert members(again) == members(raw) | {"t": time, "err": gojson.carried(error)}
    for name, value in job.meta.items():
        assert gojson.encode(value) in again, name


def members(raw: bytes) -> dict[str, Any]:
    return {"err": ""} | {name: value for name, value in json.loads(raw).items() if name != "fails"}


@pytest.mark.parametrize(
    ("raw", "reason"), [(b"{", "invalid_json"), (b"[]", "not_an_object"), (b'{"\xff":1}', "invalid_utf8")]
)
def test_poison_is_not_rewritten(raw: bytes, reason: str) -> None:
    with pytest.raises(Poison) as raised:
        gocraft.rewrite(raw, {"t": 1})

    assert raised.value.reason == reason


@pytest.mark.parametrize("name", ["periodic_minutely", "periodic_html_in_spec"])
def test_periodic_jobs_have_the_ids_and_bytes_of_go(name: str) -> None:
    specs = {handler: spec for spec, handler in GOLDEN[name]["inputs"]["jobs"]}
    entries = [call["cmd"] for call in GOLDEN[name]["calls"] if call["cmd"][0] == "ZADD"]
    assert entries

    for _, _, tick, document in entries:
        handler = json.loads(document)["name"]
        job = Job(handler, id=firing_id(handler, specs[handler], float(tick)), enqueued_at=int(tick))
        assert gocraft.encode(job).decode() == document


@pytest.mark.parametrize(
    ("namespace", "prefix"),
    [("", ""), ("work", "work:"), ("work:", "work:"), ("{app}", "{app}:"), ("my app:x", "my app:x:")],
)
def test_a_namespace_ends_in_one_colon_or_is_nothing(namespace: str, prefix: str) -> None:
    assert Keys(namespace).known_jobs == f"{prefix}known_jobs"


def test_every_recorded_key_has_its_name() -> None:
    keys = Keys("work")
    fixed = {keys.known_jobs, keys.retry, keys.scheduled, keys.dead, keys.worker_pools, keys.last_periodic}
    ways: dict[str, Callable[..., str]] = {
        "work:jobs:([^:]*)": keys.jobs,
        "work:jobs:([^:]*):([^:]*):inprogress": keys.inprogress,
        "work:jobs:([^:]*):paused": keys.paused,
        "work:jobs:([^:]*):lock": keys.lock,
        "work:jobs:([^:]*):lock_info": keys.lock_info,
        "work:jobs:([^:]*):max_concurrency": keys.max_concurrency,
        "work:worker_pools:(.*)": keys.pool,
        "work:worker:(.*)": keys.worker,
        "work:unique:(.*)": lambda rest: keys.unique_prefix + rest,
        "work:jobs:(a:b .*)": keys.jobs,
    }
    used = set()

    for key in {key for case in GOLDEN.values() for key in case["redis_after"] if key.startswith("work:")} - fixed:
        found = [(form, match) for form in ways if (match := re.fullmatch(form, key, re.DOTALL))]
        assert [ways[form](*match.groups()) for form, match in found] == [key], key
        used |= {form for form, _ in found}

    assert used == set(ways)


def test_our_own_keys_stay_below_one_prefix() -> None:
    keys = Keys("{app}")
    own = [keys.recovered, keys.recovered_at, keys.cancelled, keys.reaper, keys.fence, keys.own_pools]
    own += [keys.enqueued("1"), keys.held("{app}:unique:a:"), keys.poison("1")]

    assert len(set(own)) == 9
    assert all(key.startswith("{app}:worksong:") for key in own)
