"""The properties and headers of an AMQP message, as bytes and back.

Every value comes back as the same value: a copy of a foreign message says what the original said. What cannot be read
raises `Unreadable`, whatever is wrong with it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, NamedTuple, cast

DEEPEST = 64


class Unreadable(ValueError):
    """the bytes are no properties"""


class Stamp(int):
    """A time of the table: whole Unix seconds."""


class Fixed(NamedTuple):
    """A decimal number of the table."""

    places: int
    digits: int


class Properties(NamedTuple):
    """What we read of a message's properties."""

    headers: Mapping[str, Any]
    message_id: str | None
    timestamp: int | None
    correlation_id: str
    reply_to: str


_U16, _U32, _U64, _I64 = Struct(">H"), Struct(">I"), Struct(">Q"), Struct(">q")
_DOUBLE, _DECIMAL = Struct(">d"), Struct(">Bi")
_NUMBERS = {
    ord(kind): Struct(f">{form}")
    for kind, form in (
        *(("b", "b"), ("B", "B"), ("s", "h"), ("U", "h"), ("u", "H"), ("I", "i"), ("i", "I")),
        *(("l", "q"), ("L", "q"), ("f", "f"), ("d", "d")),
    )
}
_CONTENT_TYPE, _ENCODING, _HEADERS, _MODE, _PRIORITY = 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 11
_CORRELATION, _REPLY_TO, _EXPIRATION, _MESSAGE_ID, _TIMESTAMP = 1 << 10, 1 << 9, 1 << 8, 1 << 7, 1 << 6
_TYPE, _APP = 1 << 5, 1 << 3
_JSON = b"\x10application/json"
_PERSISTENT = b"\x02"
_OURS = b"\x08worksong"


# out


def encode_properties(
    headers: Mapping[str, Any], message_id: str, timestamp: int, kind: str, *, correlation: str = "", reply_to: str = ""
) -> bytes:
    """A persistent message of type application/json."""
    flags = _CONTENT_TYPE | _HEADERS | _MODE | _MESSAGE_ID | _TYPE | _APP
    pieces = [_JSON, encode_table(headers), _PERSISTENT]
    if correlation:
        flags |= _CORRELATION
        pieces.append(_short(correlation))
    if reply_to:
        flags |= _REPLY_TO
        pieces.append(_short(reply_to))
    pieces.append(_short(message_id))
    if timestamp > 0:
        flags |= _TIMESTAMP
        pieces.append(_U64.pack(timestamp))
    pieces += (_short(kind), _OURS)
    return _U16.pack(flags) + b"".join(pieces)


def encode_table(table: Mapping[str, Any]) -> bytes:
    pieces: list[bytes] = []
    for name, value in table.items():
        pieces += (_short(name), _value(value))
    body = b"".join(pieces)
    return _U32.pack(len(body)) + body


def _short(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")[:255]
    return bytes((len(raw),)) + raw


def _value(value: Any) -> bytes:
    write = _WRITERS.get(cast("type[object]", type(value)))
    if write is None:
        raise TypeError(f"a header cannot be of type {type(value).__name__}")
    return write(value)


def _long(kind: bytes, raw: bytes) -> bytes:
    return kind + _U32.pack(len(raw)) + raw


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    str: lambda value: _long(b"S", value.encode("utf-8", "surrogateescape")),
    bool: lambda value: b"t\x01" if value else b"t\x00",
    int: lambda value: b"l" + _I64.pack(value),
    float: lambda value: b"d" + _DOUBLE.pack(value),
    bytes: lambda value: _long(b"x", value),
    type(None): lambda value: b"V",
    Stamp: lambda value: b"T" + _U64.pack(value),
    Fixed: lambda value: b"D" + _DECIMAL.pack(*value),
    list: lambda value: _long(b"A", b"".join(map(_value, value))),
    dict: lambda value: b"F" + encode_table(value),
}


# in


def decode_properties(raw: bytes, at: int = 0) -> Properties:
    """From the flags on."""
    try:
        return _properties(raw, at)
    except (struct.error, IndexError, RecursionError) as wrong:
        raise Unreadable(f"the message's properties cannot be read: {wrong}") from None


def _properties(raw: bytes, at: int) -> Properties:
    (flags,) = _U16.unpack_from(raw, at)
    at += 2
    headers: Mapping[str, Any] = {}
    message_id: str | None = None
    timestamp: int | None = None
    correlation = reply_to = ""
    if flags & _CONTENT_TYPE:
        at += 1 + raw[at]
    if flags & _ENCODING:
        at += 1 + raw[at]
    if flags & _HEADERS:
        headers, at = _table(raw, at, 0)
    at += bool(flags & _MODE) + bool(flags & _PRIORITY)
    if flags & _CORRELATION:
        correlation, at = _text(raw, at)
    if flags & _REPLY_TO:
        reply_to, at = _text(raw, at)
    if flags & _EXPIRATION:
        at += 1 + raw[at]
    if flags & _MESSAGE_ID:
        message_id, at = _text(raw, at)
    if flags & _TIMESTAMP:
        (timestamp,) = _U64.unpack_from(raw, at)
    return Properties(headers, message_id, timestamp, correlation, reply_to)


def _text(raw: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + raw[at]
    return raw[at + 1 : end].decode("utf-8", "surrogateescape"), end


def _table(raw: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    if depth > DEEPEST:
        raise Unreadable(f"the message's headers are nested deeper than {DEEPEST} levels")
    (size,) = _U32.unpack_from(raw, at)
    at += 4
    end, table = at + size, dict[str, Any]()
    if end > len(raw):
        raise Unreadable("the message's headers end before they should")
    while at < end:
        name, at = _text(raw, at)
        table[name], at = _read(raw, at, depth)
    return table, at


def _read(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind = raw[at]
    number = _NUMBERS.get(kind)
    if number is not None:
        return number.unpack_from(raw, at + 1)[0], at + 1 + number.size
    read = _READERS.get(kind)
    if read is None:
        raise Unreadable(f"the message's headers have a value of the unknown type {chr(kind)!r}")
    return read(raw, at + 1, depth)


def _bytes(raw: bytes, at: int, depth: int) -> tuple[bytes, int]:
    (size,) = _U32.unpack_from(raw, at)
    end = at + 4 + size
    if end > len(raw):
        raise Unreadable("the message's headers end before they should")
    return raw[at + 4 : end], end


def _string(raw: bytes, at: int, depth: int) -> tuple[str, int]:
    value, end = _bytes(raw, at, depth)
    return value.decode("utf-8", "surrogateescape"), end


def _array(raw: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    if depth > DEEPEST:
        raise Unreadable(f"the message's headers are nested deeper than {DEEPEST} levels")
    (size,) = _U32.unpack_from(raw, at)
    at += 4
    end, values = at + size, list[Any]()
    while at < end:
        value, at = _read(raw, at, depth)
        values.append(value)
    return values, at


_READERS: dict[int, Callable[[bytes, int, int], tuple[Any, int]]] = {
    ord("S"): _string,
    ord("x"): _bytes,
    ord("t"): lambda raw, at, depth: (raw[at] != 0, at + 1),
    ord("T"): lambda raw, at, depth: (Stamp(_U64.unpack_from(raw, at)[0]), at + 8),
    ord("F"): lambda raw, at, depth: _table(raw, at, depth + 1),
    ord("A"): lambda raw, at, depth: _array(raw, at, depth + 1),
    ord("D"): lambda raw, at, depth: (Fixed(*_DECIMAL.unpack_from(raw, at)), at + 5),
    ord("V"): lambda raw, at, depth: (None, at),
}


def finite(value: object, largest: float) -> float:
    """A header that should be a number; 0.0 for any other."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < largest:
        return float(value)
    return 0.0
