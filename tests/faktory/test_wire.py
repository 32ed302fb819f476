"""Payloads and orders as text, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from faktory.store import glob, job_of, parse, written
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job
from worksong.domain.poison import Poison
from worksong.wire import faktory as wire
from worksong.wire import faktory_talk as talk

JOB = Job("send", {"user_id": 1}, id="0123456789abcdef", enqueued_at=1_700_000_000.25)


def payload(**members: Any) -> bytes:
    return json.dumps({"jid": "0123456789abcdef", "jobtype": "send", "args": [], "queue": "default"} | members).encode()


def test_the_hash_of_a_password_is_the_one_that_other_clients_make() -> None:
    proof = "6d877f8e5544b1f2598768f817413ab8a357afffa924dedae99eb91472d4ec30"
    assert talk.hashed("foobar", "55104dc76695721d", 1545) == proof
    assert talk.hashed("", "", 1) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_only_a_worker_names_itself_and_only_to_a_salt_a_password_is_proven() -> None:
    plain = json.loads(talk.hello(talk.Greeting(), None, "", "secret").removeprefix(b"HELLO "))
    assert plain == {"v": 2}
    worker = talk.Identity("w1", "host", 7, ("python-3.11",))
    said = json.loads(talk.hello(talk.Greeting(2, 3, "salt"), worker, "ann", "secret").removeprefix(b"HELLO "))
    assert said.pop("pwdhash") == talk.hashed("secret", "salt", 3)
    assert said == {
        "v": 2,
        "username": "ann",
        "wid": "w1",
        "hostname": "host",
        "pid": 7,
        "labels": ["python-3.11"],
    }


def test_a_job_with_named_arguments_is_what_fwa_writes() -> None:
    written = json.loads(wire.encode(JOB, retry=3, reserve_for=120.5))
    assert written.pop("custom") == {"worksong": {}}
    assert written == {
        "jid": "0123456789abcdef",
        "jobtype": "send",
        "args": [{"user_id": 1}],
        "queue": "default",
        "created_at": "2023-11-14T22:13:20.250000Z",
        "retry": 3,
        "reserve_for": 121,
    }


@pytest.mark.parametrize("args", [None, {}, {"a": [1]}, [], [1, "two"], [{"a": 1}], [None]], ids=str)
def test_arguments_of_our_own_come_back_in_their_form(args: Any) -> None:
    assert wire.decode(wire.encode(Job("send", args, id="12345678"))).job.args == args


@pytest.mark.parametrize(
    ("written", "read"),
    [([None], None), ([{}], [{}]), ([{"a": 1}], [{"a": 1}]), ([], []), ([1], [1]), ([1, {}], [1, {}])],
    ids=str,
)
def test_arguments_of_others_stay_a_list_but_for_fwas_nothing(written: Any, read: Any) -> None:
    assert wire.decode(payload(args=written)).job.args == read


def test_meta_travels_in_custom_beside_the_members_of_others() -> None:
    found = wire.decode(payload(custom={"locale": "de", "trace": {"id": 1}, "worksong": "strange"}))
    assert found.job.meta == {"locale": "de", "trace": {"id": 1}}
    again = wire.decode(wire.encode(Job("send", id="12345678", meta=found.job.meta)))
    assert again.job.meta == found.job.meta
    for name in ("_bid", "worksong"):
        with pytest.raises(InvalidArguments, match=name):
            wire.encode(Job("send", id="12345678", meta={name: 1}))


def test_failures_are_read_as_the_server_counts_them() -> None:
    failure = {"retry_count": 0, "errtype": "ValueError", "message": "boom", "failed_at": "2023-11-14T22:13:20.5Z"}
    job = wire.decode(payload(failure=failure)).job
    assert (job.attempt, job.fails, job.error, job.failed_at) == (2, 1, "ValueError: boom", 1_700_000_000.5)
    assert wire.decode(payload(failure=failure | {"errtype": "unknown"})).job.error == "boom"


def test_a_job_enqueued_anew_keeps_its_id_its_failures_and_its_remaining_tries() -> None:
    job = Job("send", id="first-id", attempt=3, error="boom", failed_at=5.0)
    found = wire.decode(wire.encode(job, jid="second-id", retry=wire.left(3, 2), fence=7))
    assert (found.jid, found.retry, found.failures, found.fence) == ("second-id", 1, 0, 7)
    assert (found.job.id, found.job.attempt, found.job.error, found.job.failed_at) == ("first-id", 3, "boom", 5.0)
    failed = json.loads(wire.encode(job, jid="second-id")) | {"failure": {"retry_count": 1, "message": "again"}}
    assert wire.decode(json.dumps(failed).encode()).job.attempt == 5


@pytest.mark.parametrize(("retry", "failures", "left"), [(25, 0, 25), (3, 2, 1), (3, 3, -1), (0, 1, 0), (-1, 1, -1)])
def test_the_tries_left_are_never_more_and_never_dropped(retry: int, failures: int, left: int) -> None:
    assert wire.left(retry, failures) == left


@pytest.mark.parametrize(
    "job",
    [
        Job("send", id="short"),
        Job("send", id="12345678", queue="a b"),
        Job("send", id="12345678", queue="a/b"),
        Job("send", {"big": 2**53}, id="12345678"),
        Job("send", [float("nan")], id="12345678"),
    ],
    ids=["short id", "space", "slash", "huge", "nan"],
)
def test_what_the_server_would_refuse_or_alter_is_refused_before(job: Job) -> None:
    with pytest.raises(InvalidArguments):
        wire.encode(job)


@pytest.mark.parametrize("where", [{"a": [float("inf")]}, [{"b": [float("inf")]}]], ids=["named", "listed"])
def test_the_refused_argument_is_named(where: Any) -> None:
    with pytest.raises(InvalidArguments, match=r"args(\.a\[0\]|\[0\]\.b\[0\]) is inf"):
        wire.encode(Job("send", where, id="12345678"))


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        payload(jobtype=""),
        payload(jobtype=None),
        payload(args=None),
        payload(args={}),
        payload(args=[1, 2], custom={"worksong": {"named": True}}),
        payload(jid=1),
        payload(args=json.loads("[" * 80 + "]" * 80)),
    ],
)
def test_what_is_no_job_is_poison(raw: bytes) -> None:
    with pytest.raises(Poison):
        wire.decode(raw)


def test_the_jid_is_found_in_what_cannot_be_read_otherwise() -> None:
    assert wire.jid_of(b'{"jid":"0123456789abcdef","args":[[[') == "0123456789abcdef"
    assert wire.jid_of(b"{}") == ""


@pytest.mark.parametrize("strange", [{"retry": None}, {"reserve_for": 5}, {"created_at": "soon"}, {"failure": 3}])
def test_strange_members_have_their_usual_meaning(strange: dict[str, Any]) -> None:
    found = wire.decode(payload(**strange))
    assert (found.retry, found.reserve_for in (60.0, 1800.0), found.job.attempt) == (25, True, 1)


def test_a_failure_is_told_with_its_class_its_message_and_the_last_lines_first() -> None:
    told = json.loads(talk.failed("12345678", "ValueError: böse", "first\nlast\n"))
    assert told == {"jid": "12345678", "errtype": "ValueError", "message": "böse", "backtrace": ["last", "first"]}
    assert json.loads(talk.failed("12345678", "no class at all"))["errtype"] == "unknown"
    assert len(json.loads(talk.failed("12345678", "ö" * 2000))["message"].encode()) == 1000
    assert json.loads(talk.failed("12345678", "half \ud800"))["message"] == "half \N{REPLACEMENT CHARACTER}"


def test_an_order_holds_no_space_whatever_the_ids() -> None:
    order = talk.mutation("kill", "retries", jids=["periodic:a:0 0 * * * *:1"])
    assert b" " not in order
    assert json.loads(order)["filter"] == {"jids": ["periodic:a:0 0 * * * *:1"]}


@pytest.mark.parametrize("job_id", ["plain-id-1", "star*[a-z]?id", 'quote"back\\slash', "größe-1234"])
def test_a_job_is_found_by_its_first_id_and_no_other_is(job_id: str) -> None:
    pattern = glob(json.loads(talk.mutation("kill", "dead", pattern=talk.known_as(job_id)))["filter"]["regexp"])
    assert pattern.fullmatch(stored(Job("send", {"id": "x"}, id=job_id)))
    assert not pattern.fullmatch(stored(Job("send", {"id": job_id, "as": job_id}, id="somebody-else")))


def stored(job: Job) -> str:
    """A copy of the job, as the server writes it."""
    return written(job_of(parse(wire.encode(job, jid="another-jid"))))


def test_jobs_of_a_namespace_are_found_by_their_queue_and_no_other_is() -> None:
    pattern = glob(json.loads(talk.mutation("discard", "dead", pattern=talk.queued_in("shop.")))["filter"]["regexp"])
    assert pattern.fullmatch(stored(Job("send", {"queue": "bar"}, queue="shop.low", id="12345678")))
    assert not pattern.fullmatch(stored(Job("send", {"queue": "shop.low"}, queue="bar", id="12345678")))
    assert not pattern.fullmatch(stored(Job("send", queue="bar", id="12345678", meta={"queue": "shop.low"})))


def test_ids_that_go_and_json_write_differently_are_looked_for_as_they_are_stored() -> None:
    plain, *others = talk.mutations("kill", "retries", ["plain-id", "a<b>&c-12", "größe-123"])
    assert json.loads(plain)["filter"] == {"jids": ["plain-id"]}
    for order, job_id in zip(others, ("a<b>&c-12", "größe-123"), strict=True):
        pattern = glob(json.loads(order)["filter"]["regexp"])
        found = json.dumps(job_id, ensure_ascii=False)
        for char in "<>&":
            found = found.replace(char, f"\\u{ord(char):04x}")
        assert pattern.fullmatch(f'{{"retry":25,"jid":{found},"queue":"default"}}')


@pytest.mark.parametrize(
    ("reply", "state"),
    [(b"OK", ""), (None, ""), (b'{"state":"quiet"}', "quiet"), (b'{"state": "terminate"}', "terminate"), (b"{", "")],
)
def test_the_answer_to_a_beat_is_read_in_all_its_forms(reply: object, state: str) -> None:
    assert talk.state(reply) == state
