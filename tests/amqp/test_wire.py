"""Names, the URL, and messages as bytes: what needs no server."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worksong.adapters.amqp import AmqpBackend
from worksong.adapters.amqp.address import parse
from worksong.adapters.amqp.names import LADDER, Names
from worksong.domain.errors import ConfigError, InvalidArguments
from worksong.domain.job import Job
from worksong.domain.poison import Poison
from worksong.wire import amqp
from worksong.wire.amqp_table import (
    Fixed,
    Stamp,
    Unreadable,
    decode_properties,
    encode_properties,
    encode_table,
)

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
"""However slow the machine is."""
HEADER = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.integers(0, 2**64 - 1).map(Stamp)
    | st.tuples(st.integers(0, 255), st.integers(-(2**31), 2**31 - 1)).map(lambda pair: Fixed(*pair)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@UNHURRIED
@given(st.dictionaries(st.text(max_size=20), HEADER, max_size=5), st.text(max_size=60))
def test_headers_come_back_as_they_went_out(headers: dict[str, Any], job_id: str) -> None:
    raw = encode_properties(headers, job_id, 1_700_000_000, "note", correlation="c", reply_to="r")
    read = decode_properties(raw)
    assert (read.headers, read.message_id, read.timestamp) == (headers, job_id, 1_700_000_000)
    assert (read.correlation_id, read.reply_to) == ("c", "r")


@UNHURRIED
@given(st.binary(max_size=200))
def test_bytes_that_are_no_properties_are_told_and_nothing_else(raw: bytes) -> None:
    for at in (b"", b"\xff\xf8", b"\x20\x00"):
        try:
            decode_properties(at + raw)
        except Unreadable:
            continue


@pytest.mark.parametrize(
    "table",
    [
        b"\x01aZ",
        b"\x01aS\x00\x00\xff\xff",
        b"\x01aF\x00\x00\xff\xff",
        b"\x05ab",
    ],
)
def test_headers_that_cannot_be_read_make_poison(table: bytes) -> None:
    with pytest.raises(Unreadable):
        decode_properties(b"\x20\x00" + struct.pack(">I", len(table)) + table)
    with pytest.raises(Poison, match="bad_field_type"):
        amqp.decode(amqp.Received(b"{}", None, None, {}, wrong="why"), "note")


def test_headers_nested_without_end_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"d": deep}
    with pytest.raises(Unreadable, match="64 levels"):
        decode_properties(b"\x20\x00" + encode_table(deep))


def received(message: amqp.Message) -> amqp.Received:
    return amqp.Received(message.body, message.id, message.timestamp, message.headers)


def test_a_job_comes_back_as_it_went() -> None:
    job = Job(
        "note",
        {"n": 1, "text": "ß"},
        queue="low",
        id="some",
        enqueued_at=1_700_000_000.25,
        attempt=3,
        error="boom",
        failed_at=1_700_000_001.5,
        meta={"trace": ["a", 1]},
    )
    assert amqp.decode(received(amqp.encode(job)), "note") == job


def test_a_body_is_always_an_object() -> None:
    assert amqp.encode(Job("note", id="a")).body == b"{}"  # null makes Go's handlers crash
    with pytest.raises(InvalidArguments, match="by name"):
        amqp.encode(Job("note", [1], id="a"))


def test_copies_carry_what_others_wrote_and_not_what_the_server_did() -> None:
    # Given a foreign message that has been through a delay queue
    headers = {"tenant": 7, "ratio": 0.5, "x-death": [{"count": 1}], "x-first-death-queue": "q", "x-delivery-count": 2}
    came = amqp.Received(b' {"a" : 1} ', None, None, headers)
    job = amqp.decode(came, "note")
    # When it is tried again, then it has an id, its bytes and its headers; the server counts none of its cycles
    copy = amqp.again(came, job, run_at=1_700_000_000.0001)
    assert (copy.body, copy.id) == (came.body, job.id)
    assert {name: copy.headers[name] for name in ("tenant", "ratio")} == {"tenant": 7, "ratio": 0.5}
    assert not [name for name in copy.headers if name.startswith(("x-death", "x-first", "x-delivery"))]
    assert copy.headers["x-job-run-at"] == 1_700_000_000_001  # never early


@pytest.mark.parametrize(
    ("first", "waits"),
    [("note_delayed_10", 10.0), ("note_delayed_x", 0.0), ("other_delayed_10", 0.0), (5, 0.0)],
)
def test_what_go_meant_by_a_delay_is_known(first: object, waits: float) -> None:
    headers = {"x-death": [{"time": Stamp(1_700_000_000)}], "x-first-death-queue": first}
    came = amqp.Received(b"{}", None, None, headers)
    assert amqp.decode(came, "note", repair=True).run_at == (1_700_000_000 + waits if waits else 0.0)
    assert amqp.decode(came, "note").run_at == 0.0


@UNHURRIED
@given(st.floats(0.0, 4e8))
def test_a_delay_queue_is_over_in_time_and_few_hops_suffice(seconds: float) -> None:
    names, left, hops = Names(""), seconds, 0
    while left > 0.0005 and left * 1000 >= LADDER[0]:
        rung = names.rung(left) / 1000
        assert rung <= left + 0.0005
        left, hops = left - rung, hops + 1
    assert hops <= len(LADDER) + seconds / (LADDER[-1] / 1000)


def test_no_name_is_one_of_gos() -> None:
    names = Names("")
    assert names.queue("note") == "note"
    assert not names.delay("note", 1000).startswith("note_delayed_")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("amqp://user@host/", "password"),
        ("amqp://host:99999/", "port"),
        ("amqp://host/a/b", "%2F"),
        ("amqp://host/?colour=red", "no option 'colour'"),
        ("amqp://host/?queue_type=quorum", "namespace"),
        ("amqp://host/?queue_type=stream&namespace=a", "classic or quorum"),
        ("amqp://host/?exchange=amq.direct", "amq."),
        ("amqp://host/?timeout=never", "span of time"),
        ("amqp://host/?cafile=/x", "amqps"),
        ("amqp://host/#x", "#"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_the_mend(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why.replace("?", r"\?").replace(".", r"\.")):
        AmqpBackend(url)


def test_a_url_says_where_and_never_the_password() -> None:
    address = parse("amqps://me:s%2Fcret@one:1,two/my%2Fhost?namespace=app&exchange=jobs&handlers=a,b")
    assert (address.nodes, address.vhost, address.user) == ((("one", 1), ("two", 5671)), "my/host", "me")
    assert (address.password, address.namespace, address.handlers) == ("s/cret", "app", ("a", "b"))
    assert "cret" not in f"{address!r}{address.shown}"


async def test_queues_of_others_are_never_erased() -> None:
    with pytest.raises(ConfigError, match="without a namespace"):
        await AmqpBackend("amqp://127.0.0.1:1/").erase()


def test_names_too_long_for_the_server_are_refused() -> None:
    backend = AmqpBackend(f"amqp://host/?namespace={'n' * 100}")
    with pytest.raises(InvalidArguments, match="200 bytes"):
        backend._message(Job("h" * 150, id="a"), 0.0)
