"""JSON as Go's encoding/json writes it, and what cannot be written."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worksong.domain.errors import InvalidArguments
from worksong.domain.poison import Poison, Reason
from worksong.wire import gojson

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_reads_back_as_it_was(value: Any) -> None:
    assert same(json.loads(gojson.encode(value)), value)


def same(read: Any, written: Any) -> bool:
    if isinstance(written, float):
        return float(read) == written
    if isinstance(written, list):
        return len(read) == len(written) and all(map(same, read, written))
    if isinstance(written, dict):
        return read.keys() == written.keys() and all(same(read[key], written[key]) for key in written)
    return type(read) is type(written) and read == written


@given(VALUES)
def test_the_first_look_and_the_complete_walk_write_the_same(value: Any) -> None:
    assert gojson.dump(gojson.prepare(value)) == gojson.dump(gojson.check(value))


@given(st.dictionaries(st.text(), st.none()))
def test_keys_are_sorted_by_their_utf8_bytes(value: dict[str, None]) -> None:
    assert list(json.loads(gojson.encode(value))) == sorted(value, key=str.encode)


@given(VALUES)
def test_no_html_character_and_no_line_separator_is_left(value: Any) -> None:
    text = gojson.encode(value).decode()

    assert not set(text) & set("<>&\u2028\u2029")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-100.0, "-100"),
        (0.0, "0"),
        (-0.0, "-0"),
        (1e20, "100000000000000000000"),
        (1.2345678901234568e17, "123456789012345680"),
        (1e21, "1e+21"),
        (-1.5e22, "-1.5e+22"),
        (0.000001, "0.000001"),
        (1.25e-6, "0.00000125"),
        (1e-7, "1e-7"),
        (5e-324, "5e-324"),
        (123456789.125, "123456789.125"),
        (1e15, "1000000000000000"),
        (1e16, "10000000000000000"),
        (1234567890123456.5, "1234567890123456.5"),
        (0.0001, "0.0001"),
        (0.00012345, "0.00012345"),
    ],
)
def test_floats_follow_gos_rules(value: float, text: str) -> None:
    assert gojson.encode([value]) == f"[{text}]".encode()


def test_backspace_and_form_feed_have_a_short_form_only_since_go_1_22() -> None:
    value = {"\b": "\\b \b \f \\f \\\f \x0b \x00 \x1f \x7f"}

    assert gojson.encode(value) == rb'{"\u0008":"\\b \u0008 \u000c \\f \\\u000c \u000b \u0000 \u001f ' + b'\x7f"}'
    assert gojson.encode(value, legacy=False) == rb'{"\b":"\\b \b \f \\f \\\f \u000b \u0000 \u001f ' + b'\x7f"}'


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: float


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Number(float):
    pass


class Moment(dt.datetime):
    pass


@dataclass
class Order:
    id: uuid.UUID
    total: Decimal
    lines: list[Any]


class Address(msgspec.Struct, rename="camel", omit_defaults=True):
    post_code: str
    floor: int | None = None


NOON = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NOON, '"2024-02-29T12:00:00Z"'),
        (NOON.date(), '"2024-02-29"'),
        (Moment(2024, 2, 29, 12, tzinfo=dt.UTC), '"2024-02-29T12:00:00Z"'),
        (dt.timedelta(seconds=90), '"PT90S"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Decimal("1.50"), '"1.50"'),
        (Colour.RED, '"red"'),
        (Level.HIGH, "3"),
        (Word.YES, '"yes"'),
        ({Word.YES: 1}, '{"yes":1}'),
        ((1, (2,)), "[1,[2]]"),
        (Point(1, 2.0), "[1,2]"),
        (Text("<"), r'"\u003c"'),
        ({Text("k"): 1}, '{"k":1}'),
        (Number(2.0), "2"),
        (Address("10115"), '{"postCode":"10115"}'),
        (
            Order(uuid.UUID(int=1), Decimal(2), [3.0, Text("t"), Address("1", 2)]),
            '{"id":"00000000-0000-0000-0000-000000000001","lines":[3,"t",{"floor":2,"postCode":"1"}],"total":"2"}',
        ),
    ],
)
def test_values_with_a_customary_form_are_written_in_it(value: Any, text: str) -> None:
    assert gojson.encode([value]).decode() == f"[{text}]"


CYCLE: list[Any] = []
CYCLE.append({"again": CYCLE})
DEEP: list[Any] = []
for _ in range(64):
    DEEP = [DEEP]
BOMB: list[Any] = [0] * 100
for _ in range(8):
    BOMB = [BOMB] * 100


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": float("nan")}, "args.a is nan"),
        ({"a": [0, float("-inf")]}, "args.a[1] is -inf"),
        ({"items": [1, 2, 3, b"x"]}, "args.items[3] is of type bytes, which JSON cannot carry: pass base64"),
        ({"a": {1, 2}}, "args.a is of type set, which JSON cannot carry: a set has no order, pass sorted"),
        ({"a": object()}, "args.a is of type object"),
        ({"a b": {"c": 1j}}, "args['a b'].c is of type complex"),
        ({"a": "\ud800"}, "args.a holds half of a surrogate pair"),
        ({"\udc00": 1}, "holds half of a surrogate pair"),
        ({"a": {1: 2}}, "args.a has the key 1 of type int"),
        ({None: 2}, "args has the key None"),
        ({"a": CYCLE}, "contains itself"),
        (DEEP, "is nested deeper than 64 levels"),
        ({"a": Order(uuid.UUID(int=1), Decimal(1), [b"x"])}, "args.a.lines[0] is of type bytes"),
        ({"a": Order(uuid.UUID(int=1), Decimal(1), [{1}])}, "args.a.lines[0] is of type set"),
        ({"a": 2**1023 + 1}, "args.a is an integer beyond ±2**1023"),
        (dict.fromkeys(map(str, range(10_001))), "args holds more than 10,000 keys"),
        ([dict.fromkeys(map(str, range(101)))] * 100, "args holds more than 10,000 keys"),
        (BOMB, "args holds more than 1,000,000 values"),
        (Order, "is of type type"),
    ],
)
def test_what_json_cannot_carry_is_refused_with_its_place_and_the_mend(value: Any, message: str) -> None:
    with pytest.raises(InvalidArguments) as raised:
        gojson.encode(value)

    assert message in str(raised.value)


def test_integers_are_exact_unless_a_limit_is_asked_for() -> None:
    assert gojson.encode([2**64, -(2**63)]) == b"[18446744073709551616,-9223372036854775808]"
    assert gojson.encode({"a": 2**53 - 1}, max_int=gojson.MAX_INT) == b'{"a":9007199254740991}'
    for big in (2**53, -(2**53)):
        with pytest.raises(InvalidArguments, match=r"key\.a\[0\] is an integer beyond ±9,007,199,254,740,991"):
            gojson.encode({"a": [big]}, max_int=gojson.MAX_INT, root="key")


def test_64_levels_10_000_keys_and_long_lists_are_carried() -> None:
    keys = dict.fromkeys(map(str, range(10_000)), 0.5)

    assert gojson.encode(DEEP[0]) == b"[" * 64 + b"]" * 64
    assert json.loads(gojson.encode(keys)) == keys
    assert gojson.encode([0] * 300_000).count(b"0") == 300_000


def test_records_count_their_keys_once() -> None:
    assert json.loads(gojson.encode([Address("1", 2)] * 4_000)) == [{"postCode": "1", "floor": 2}] * 4_000


def test_carried_keeps_text_and_replaces_half_pairs_only() -> None:
    assert gojson.carried("\ufeffé\U0001f600<") == "\ufeffé\U0001f600<"
    assert gojson.carried("a\ud800b\udc00") == "a\ufffdb\ufffd"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_with_a_reason(raw: bytes) -> None:
    try:
        assert isinstance(gojson.members(raw, limit=1000), dict)
    except Poison as poison:
        assert poison.reason in Reason


@pytest.mark.parametrize("part", [rb"\"", b'"', b"[", b"{", b"[]", b"\\", b'"":', b"]", b'"a":{},', b'"\\\\'])
def test_a_mebibyte_of_anything_is_looked_at_in_no_time(part: bytes) -> None:
    raw = b'{"name":"' + part * ((1 << 20) // len(part) - 20)
    started = time.thread_time()

    with pytest.raises(Poison):
        gojson.members(raw, limit=1 << 20)

    assert time.thread_time() - started < 10.0, "what is quadratic takes minutes"


def test_the_names_of_members_are_told_in_order_and_with_repeats() -> None:
    raw = rb'{"a":{"x":1},"b":[{"y":2}],"a":123456789012345678901234567890,"\u0062":1e999}'

    assert gojson.names(raw) == ["a", "b", "a", "b"]
