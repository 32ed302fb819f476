"""Poison and near-poison for readers of JSON job documents: (name, bytes, what is wrong with them or None).

Other tests load it with ``runpy.run_path(".../tests/corpus.py")["CORPUS"]``.
"""

from __future__ import annotations

import gzip
import json
import pickle

from worksong.domain.poison import Reason

MIB = 1 << 20


def document(**members: object) -> bytes:
    """A sound document with some members changed."""
    return json.dumps({"name": "a", "id": "1", "t": 1, "args": None} | members).encode()


def args(text: str | bytes) -> bytes:
    """A sound document with `text` for its arguments."""
    inside = text.encode() if isinstance(text, str) else text
    return b'{"name":"a","id":"1","t":1,"args":' + inside + b"}"


def member(text: str) -> bytes:
    """A sound document with one more member."""
    return b'{"name":"a","id":"1","args":null,' + text.encode() + b"}"


def nested(depth: int) -> bytes:
    """Arguments of so many levels, themselves the first."""
    return args('{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}")


def sized(size: int) -> bytes:
    """A sound document of exactly `size` bytes."""
    empty = args('{"s":""}')
    return args('{"s":"' + "x" * (size - len(empty)) + '"}')


SHAPES = [
    ("empty", b"", Reason.INVALID_JSON),
    ("spaces", b"   ", Reason.INVALID_JSON),
    ("null", b"null", Reason.NOT_AN_OBJECT),
    ("true", b"true", Reason.NOT_AN_OBJECT),
    ("number", b"42", Reason.NOT_AN_OBJECT),
    ("string", b'"str"', Reason.NOT_AN_OBJECT),
    ("array", b"[]", Reason.NOT_AN_OBJECT),
    ("empty object", b"{}", Reason.MISSING_NAME),
    ("resque", b'{"class":"Object"}', Reason.MISSING_NAME),
    ("trailing garbage", document() + b"x", Reason.INVALID_JSON),
    ("trailing comma", b'{"name":"a",}', Reason.INVALID_JSON),
    ("two documents", document() * 2, Reason.INVALID_JSON),
    ("comment", b'{"name":"a"/* b */}', Reason.INVALID_JSON),
    ("single quotes", b"{'name':'a'}", Reason.INVALID_JSON),
    ("cut off", document()[:-5], Reason.INVALID_JSON),
    ("yaml tag", b"!!python/object/apply:os.system ['true']", Reason.INVALID_JSON),
    ("pickle", pickle.dumps({"name": "a"}, protocol=4), Reason.INVALID_UTF8),
    ("gzip bomb", gzip.compress(bytes(MIB), mtime=0), Reason.INVALID_UTF8),
    ("msgpack", b"\x81\xa4name\xa1a", Reason.INVALID_UTF8),
    ("bson", b"\x11\x00\x00\x00\x02name\x00\x02\x00\x00\x00a\x00\x00", Reason.INVALID_JSON),
]
FIELDS = [
    ("name null", document(name=None), Reason.MISSING_NAME),
    ("name empty", document(name=""), Reason.MISSING_NAME),
    ("name number", document(name=1), Reason.BAD_FIELD_TYPE),
    ("name object", document(name={}), Reason.BAD_FIELD_TYPE),
    ("name 10 KiB", document(name="n" * 10240), None),
    *(
        (f"name {odd!a}", document(name=odd), None)
        for odd in ("a\0b", "a:b", "*", "{}", "a\nb", "\u202e", "\U0001f600")
    ),
    ("id missing", b'{"name":"a","t":1,"args":null}', None),
    ("id null", document(id=None), None),
    ("id number", document(id=1), Reason.BAD_FIELD_TYPE),
    ("id array", document(id=[]), Reason.BAD_FIELD_TYPE),
    ("id 10 KiB", document(id="i" * 10240), None),
    ("id path", document(id="../../x"), None),
    *(
        (f"id of a firing, {size} digits", document(id=f"periodic:a:* * * * *:{'9' * size}"), None)
        for size in (25, 5000)
    ),
    ("t missing", b'{"name":"a","id":"1","args":null}', None),
    ("t null", document(t=None), None),
    ("t string", document(t="1"), Reason.BAD_FIELD_TYPE),
    ("t bool", document(t=True), Reason.BAD_FIELD_TYPE),
    ("t fractional", document(t=1.5), Reason.BAD_FIELD_TYPE),
    ("t whole float", document(t=1700000000.0), None),
    ("t by cjson", member('"t":1.7e+09'), None),
    ("t 1e999", member('"t":1e999'), Reason.BAD_NUMBER),
    ("t 1e300", member('"t":1e300'), Reason.BAD_NUMBER),
    ("t negative", document(t=-1), None),
    ("t 2^63", document(t=2**63), Reason.BAD_NUMBER),
    ("args missing", b'{"name":"a","id":"1","t":1}', None),
    ("args array", document(args=[]), Reason.BAD_FIELD_TYPE),
    ("args string", document(args="{}"), Reason.BAD_FIELD_TYPE),
    ("fails 10^18", document(fails=10**18), None),
    ("fails negative", document(fails=-3), None),
    ("fails string", document(fails="3"), Reason.BAD_FIELD_TYPE),
    ("err number", document(err=1), Reason.BAD_FIELD_TYPE),
    ("err 10 MB", document(err="e" * 10_000_000), Reason.TOO_LARGE),
    ("failed_at in 9999", document(failed_at=253402300799), None),
    ("unique without key", document(unique=True), None),
    ("unique number", document(unique=1), Reason.BAD_FIELD_TYPE),
    ("unique_key of others", document(unique=True, unique_key="other:unique:a:"), None),
    ("unique_key null", document(unique_key=None), None),
    ("unique_key number", document(unique_key=1), Reason.BAD_FIELD_TYPE),
    ("queue number", document(queue=5), None),
    ("unknown members", document(extra={"a": [1]}, priority=5), None),
    ("other case", b'{"NAME":"a","Args":{}}', None),
    ("name twice", member('"name":"b"'), Reason.DUPLICATE_MEMBER),
    ("name twice beside an unknown member", member('"x":{},"name":"b"'), Reason.DUPLICATE_MEMBER),
    ("name in two cases", member('"NAME":"b"'), Reason.DUPLICATE_MEMBER),
    ("name twice beside byte ff", b'{"name":"a","x":"\xff","name":"b"}', Reason.DUPLICATE_MEMBER),
    ("id twice", member('"id":"2"'), Reason.DUPLICATE_MEMBER),
    ("id and name inside the arguments", args('{"id":"id","name":"name","x":[{"id":1,"name":2}]}'), None),
    ("a name like a name", document(**{'x"name': 1, 'y"name': '"name"'}), None),
]
VALUES = [
    ("5000 digits", args('{"a":' + "9" * 5000 + "}"), Reason.BAD_NUMBER),
    *((f"integer {big}", args(f'{{"a":{big}}}'), None) for big in (2**53, 2**53 + 1, -(2**63), 2**64)),
    ("1e400", args('{"a":1e400}'), Reason.BAD_NUMBER),
    *((word, args(f'{{"a":[{word}]}}'), Reason.BAD_NUMBER) for word in ("NaN", "Infinity", "-Infinity")),
    *((f"number {text}", args(f'{{"a":{text}}}'), None) for text in ("-0", "0.1234567890123456789", "1E+2")),
    *((f"number {text}", args(f'{{"a":{text}}}'), Reason.INVALID_JSON) for text in ("01", "+1", ".5", "1.", "0x10")),
    ("lone surrogate", args(r'{"a":"\ud800"}'), Reason.INVALID_UTF8),
    ("reversed pair", args(r'{"a":"\ude00\ud83d"}'), Reason.INVALID_UTF8),
    ("surrogate before text", args(r'{"a":"\ud800abcdef"}'), Reason.INVALID_UTF8),
    ("byte ff", args(b'{"a":"\xff"}'), Reason.INVALID_UTF8),
    ("overlong slash", args(b'{"a":"\xc0\xaf"}'), Reason.INVALID_UTF8),
    ("surrogate in UTF-8", args(b'{"a":"\xed\xa0\x80"}'), Reason.INVALID_UTF8),
    ("cut-off UTF-8", args(b'{"a":"\xe2\x82"}'), Reason.INVALID_UTF8),
    ("byte ff in an unknown member", b'{"name":"a","x":"\xff"}', Reason.INVALID_UTF8),
    ("UTF-16 with mark", document().decode().encode("utf-16"), Reason.INVALID_UTF8),
    ("UTF-16 without mark", document().decode().encode("utf-16-le"), Reason.INVALID_JSON),
    ("UTF-8 mark", b"\xef\xbb\xbf" + document(), Reason.INVALID_JSON),
    ("NUL raw", args(b'{"a":"\0"}'), Reason.INVALID_JSON),
    ("NUL escaped", args(r'{"a":"\u0000"}'), None),
    *((key, document(args={key: {key: 1}}), None) for key in ("__proto__", "constructor", "$ref")),
    *(
        (f"text {text!a}", document(args={"a": text}, err=text), None)
        for text in (
            "{{7*7}}",
            "%s%n",
            "{0.__class__}",
            "${jndi:ldap://x}",
            "<script>alert(1)</script>",
            "\"><img src=x onerror='alert(1)'>",
            "a\r\nb\x1b[31mc",
        )
    ),
]
SIZES = [
    ("depth 64", nested(64), None),
    *((f"depth {depth}", nested(depth), Reason.TOO_DEEP) for depth in (65, 1000, 1001, 100_000)),
    ("brackets in texts", document(args={"a": '["{' * 1000}), None),
    ("10 000 keys", args(json.dumps({str(key): 0 for key in range(10_000)})), None),
    (
        "100 000 keys",
        args(json.dumps(dict.fromkeys(map(str, range(100_000)), 0), separators=(",", ":"))),
        Reason.TOO_MANY_KEYS,
    ),
    ("colons in texts", document(args={"a": ":" * 100_000}), None),
    ("1 MiB - 1", sized(MIB - 1), None),
    ("1 MiB", sized(MIB), None),
    ("1 MiB + 1", sized(MIB + 1), Reason.TOO_LARGE),
    ("quotes that never end", b'{"name":"a","x":"' + rb"\"" * 500_000, Reason.INVALID_JSON),
]
CORPUS: list[tuple[str, bytes, Reason | None]] = [*SHAPES, *FIELDS, *VALUES, *SIZES]
