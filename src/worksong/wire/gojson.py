"""JSON exactly as Go's encoding/json writes it, and the guards before reading JSON that anybody may have written.

msgspec does the writing; what it writes differently from Go is mended afterwards: HTML characters, U+2028 and U+2029,
backspace and form feed, floats. Most arguments need none of it, so the first look (`_plain`) only asks whether they do.
"""

from __future__ import annotations

import datetime
import decimal
import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import accumulate
from math import copysign, isfinite
from typing import Any, NoReturn, TypeAlias, cast

import msgspec

from worksong.domain.errors import InvalidArguments
from worksong.domain.poison import Poison, Reason

MAX_DEPTH = 64
MAX_KEYS = 10_000
HARMLESS = 2 * MAX_DEPTH
"""A document of so many bytes can be neither too deep nor have too many keys."""
MAX_INT = 2**53 - 1
"""The largest integer that Go, JavaScript and Lua read without losing digits."""

_MAX_VALUES = 1_000_000  # a list of so many zeros is 2 MB of text; ends the walk over lists that hold one another
_HUGE = 2**1023  # Go refuses numbers beyond its float64
_SIMPLE = frozenset({str, bool, type(None)})
_TEXT = frozenset({str})
_kind: Callable[[object], type[object]] = type
_SCALARS = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID, decimal.Decimal)
_sorted = msgspec.json.Encoder(order="deterministic")
_reader = msgspec.json.Decoder()
_verbatim_reader = msgspec.json.Decoder(dict[str, msgspec.Raw])

Path: TypeAlias = "tuple[Path, str | int] | None"


def encode(value: object, *, legacy: bool = True, max_int: int | None = None, root: str = "args") -> bytes:
    """`value` as Go writes it, or `InvalidArguments` naming the place and the mend.

    `legacy` is Go before 1.22, which has no short form for backspace and form feed. `max_int` refuses integers beyond
    it; `root` is how messages call `value`.
    """
    try:
        return dump(prepare(value, max_int=max_int, root=root), legacy=legacy)
    except UnicodeEncodeError:
        return dump(check(value, max_int=max_int, root=root), legacy=legacy)


def prepare(
    value: object, *, max_int: int | None = None, root: str = "args", spell: Callable[[float], str] | None = None
) -> Any:
    """What `dump` writes as Go would, often `value` itself; lone surrogates may go unnoticed until then."""
    kind = _kind(value)
    if kind in _SIMPLE or (kind in _CONTAINERS and _plain(value, MAX_KEYS, max_int or _HUGE, 8) >= 0):
        return value
    return check(value, max_int=max_int, root=root, spell=spell)


def check(
    value: object, *, max_int: int | None = None, root: str = "args", spell: Callable[[float], str] | None = None
) -> Any:
    """`prepare` by a complete walk, which finds and names everything that is wrong; `spell` writes floats."""
    return _Walk(root, max_int, spell or _float).value(value, None)


def dump(tree: object, *, legacy: bool = True) -> bytes:
    """Write what `prepare` gave; `UnicodeEncodeError` on a lone surrogate."""
    text = _sorted.encode(tree)
    if 60 in text:  # `60 in` costs a tenth of `b"<" in`
        text = text.replace(b"<", rb"\u003c")
    if 62 in text:
        text = text.replace(b">", rb"\u003e")
    if 38 in text:
        text = text.replace(b"&", rb"\u0026")
    if not text.isascii():
        text = text.replace(b"\xe2\x80\xa8", rb"\u2028").replace(b"\xe2\x80\xa9", rb"\u2029")
    if legacy and 92 in text and (rb"\b" in text or rb"\f" in text):
        text = _ESCAPE.sub(lambda escape: _LEGACY.get(escape[0], escape[0]), text)
    return text


_CONTAINERS = frozenset({dict, list})
_ESCAPE = re.compile(rb"\\.")
_LEGACY = {rb"\b": rb"\u0008", rb"\f": rb"\u000c"}


def dumped(value: Any, room: int = MAX_DEPTH) -> Any:
    """Pydantic models within `value` as plain data. What is too deep stays as it is: it will be refused."""
    kind = _kind(value)
    if kind not in _CONTAINERS:
        return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    if not room:
        return value
    if kind is list:
        return [dumped(item, room - 1) for item in value]
    return {key: dumped(item, room - 1) for key, item in value.items()}


def carried(value: str) -> str:
    """`value` with U+FFFD for each lone surrogate: for texts that must be carried come what may, such as errors."""
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _plain(value: Any, room: int, high: int, depth: int) -> int:
    """The room for values that is left if msgspec writes `value` as Go does and nothing is wrong with it, or -1."""
    room -= len(value)
    if room < 0 or not depth:
        return -1
    items: Iterable[Any] = value
    if _kind(value) is dict:
        mapping: dict[Any, Any] = value
        if not _TEXT.issuperset(map(_kind, mapping)):
            return -1
        items = mapping.values()
    for item in items:
        kind = _kind(item)
        if (
            kind in _SIMPLE
            or (kind is int and -high <= item <= high)
            or (kind is float and 1e-4 < abs(item) < 1e15 and not item.is_integer())
        ):
            continue
        if kind not in _CONTAINERS:
            return -1
        room = _plain(item, room, high, depth - 1)
        if room < 0:
            return -1
    return room


class _Walk:
    """One complete look at a value: every place has a path, every fault is named with it."""

    def __init__(self, root: str, max_int: int | None, spell: Callable[[float], str]) -> None:
        self._root, self._spell = root, spell
        self._high = max_int or _HUGE
        self._open: list[object] = []
        self._keys = self._values = 0

    def value(self, value: object, path: Path) -> Any:
        """What msgspec writes as Go writes `value`."""
        self._values += 1
        if self._values > _MAX_VALUES:
            self._refuse(None, f"holds more than {_MAX_VALUES:,} values: store them elsewhere and pass where")
        kind: type[object] = type(value)
        write = _WRITERS.get(kind)
        return write(self, value, path) if write else self._unusual(value, path)

    def text(self, value: str, path: Path) -> str:
        plain = str.__str__(value)
        if not plain.isascii():
            try:
                plain.encode()
            except UnicodeEncodeError:
                self._refuse(path, "holds half of a surrogate pair, which has no UTF-8 form: encode it in another way")
        return plain

    def itself(self, value: Any, _path: Path) -> Any:
        return value

    def integer(self, value: int, path: Path) -> int:
        if not -self._high <= value <= self._high:
            limit = "2**1023" if self._high == _HUGE else f"{self._high:,}"
            self._refuse(path, f"is an integer beyond ±{limit}, which other readers change or refuse: pass it as text")
        return int.__int__(value)

    def real(self, value: float, path: Path) -> msgspec.Raw:
        if not isfinite(value):
            self._refuse(path, f"is {value}, which JSON cannot carry: pass None or a text")
        return msgspec.Raw(self._spell(float.__float__(value)).encode())

    def mapping(self, value: dict[Any, Any], path: Path) -> dict[str, Any]:
        self._keys += len(value)
        if self._keys > MAX_KEYS:
            self._refuse(None, f"holds more than {MAX_KEYS:,} keys: store them elsewhere and pass where")
        self._enter(value, path)
        tree = {self._key(key, path): self.value(item, (path, key)) for key, item in value.items()}
        self._open.pop()
        return tree

    def sequence(self, value: list[Any] | tuple[Any, ...], path: Path) -> list[Any]:
        self._enter(value, path)
        tree = [self.value(item, (path, index)) for index, item in enumerate(value)]
        self._open.pop()
        return tree

    def scalar(self, value: Any, path: Path) -> Any:
        return msgspec.to_builtins(value, enc_hook=_base)

    def _key(self, key: object, path: Path) -> str:
        if isinstance(key, Enum):
            key = key.value
        if not isinstance(key, str):
            self._refuse(path, f"has the key {key!r:.40} of type {_name(key)}: JSON keys are text, use str()")
        return self.text(key, (path, key))

    def _enter(self, value: object, path: Path) -> None:
        if len(self._open) == MAX_DEPTH:
            if any(value is container for container in self._open):
                self._refuse(path, "contains itself: pass a copy without the cycle")
            self._refuse(path, f"is nested deeper than {MAX_DEPTH} levels: flatten it")
        self._open.append(value)

    def _unusual(self, value: Any, path: Path) -> Any:
        """Subclasses as what they extend, records as objects; anything else is refused."""
        if isinstance(value, Enum):
            return self.value(value.value, path)
        for kind, write in _WRITERS.items():
            if isinstance(value, kind):
                return write(self, value, path)
        members = _members(value)
        if members is None:
            mend = next((mend for kind, mend in _MENDS.items() if isinstance(value, kind)), "pass JSON's own types")
            self._refuse(path, f"is of type {_name(value)}, which JSON cannot carry: {mend}")
        keys = self._keys
        self.mapping(members, path)  # only to refuse: msgspec would write sets and bytes that it finds inside
        self._keys = keys
        return self.value(msgspec.to_builtins(value, enc_hook=_base), path)

    def _refuse(self, path: Path, what: str) -> NoReturn:
        steps: list[str] = []
        while path is not None:
            path, step = path
            named = isinstance(step, str) and step.isidentifier()
            steps.append(f".{step:.60}" if named else f"[{step!r:.60}]")
        raise InvalidArguments(f"{self._root}{''.join(reversed(steps))} {what}")


_WRITERS: dict[type, Callable[[_Walk, Any, Path], Any]] = {
    str: _Walk.text,
    bool: _Walk.itself,
    type(None): _Walk.itself,
    int: _Walk.integer,
    float: _Walk.real,
    dict: _Walk.mapping,
    list: _Walk.sequence,
    tuple: _Walk.sequence,
    **dict.fromkeys(_SCALARS, _Walk.scalar),
}
_MENDS: dict[type | tuple[type, ...], str] = {
    (bytes, bytearray, memoryview): "pass base64.b64encode(...).decode()",
    (set, frozenset): "a set has no order, pass sorted(...)",
}


def _members(value: Any) -> dict[str, Any] | None:
    """The fields of a msgspec Struct or a dataclass."""
    if isinstance(value, msgspec.Struct):
        names: tuple[str, ...] = value.__struct_fields__
    elif is_dataclass(value) and not isinstance(value, type):
        names = tuple(field.name for field in fields(value))
    else:
        return None
    found = {name: getattr(value, name, msgspec.UNSET) for name in names}
    return {name: item for name, item in found.items() if item is not msgspec.UNSET}


def _base(value: Any) -> Any:
    """The plain value of a subclass of a known type, which msgspec alone does not write."""
    return next(plain(value) for kind, plain in _BASES.items() if isinstance(value, kind))


_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    datetime.datetime: lambda value: datetime.datetime.fromisoformat(value.isoformat()),
    datetime.date: lambda value: value.isoformat(),
    datetime.time: lambda value: value.isoformat(),
    datetime.timedelta: lambda value: datetime.timedelta(value.days, value.seconds, value.microseconds),
    decimal.Decimal: decimal.Decimal,
}


def _name(value: object) -> str:
    return type(value).__name__


def _float(value: float) -> str:
    """Shortest digits; an exponent below 1e-6 and from 1e21 on; no point in whole numbers."""
    if value == 0:
        return "-0" if copysign(1, value) < 0 else "0"
    digits, _, exponent = repr(value).partition("e")
    if not exponent:
        return digits.removesuffix(".0")
    if 1e-6 <= abs(value) < 1e21:
        return format(decimal.Decimal(repr(value)), "f")
    return f"{digits}e{int(exponent):+d}"


def members(raw: bytes, *, limit: int) -> dict[str, Any]:
    """The members of the JSON object in `raw`, or `Poison`; of several with one name, the last."""
    value = document(raw, limit=limit)
    if not isinstance(value, dict):
        raise Poison(Reason.NOT_AN_OBJECT, f"the document is of type {_name(value)}")
    return cast("dict[str, Any]", value)


def document(raw: bytes, *, limit: int) -> object:
    """The JSON value in `raw`, or `Poison`."""
    guard(raw, limit=limit)
    try:
        return _reader.decode(raw)
    except msgspec.ValidationError as error:
        raise Poison(Reason.BAD_NUMBER, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise fault(raw, error) from None


def verbatim(raw: bytes) -> dict[str, msgspec.Raw]:
    """The members with their values as the very bytes they are; these are not looked into."""
    try:
        return _verbatim_reader.decode(raw)
    except msgspec.ValidationError as error:
        raise Poison(Reason.NOT_AN_OBJECT, str(error)) from None
    except RecursionError:
        raise Poison(Reason.TOO_DEEP, "nested too deep to be read") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise fault(raw, error) from None


def guard(raw: bytes, *, limit: int) -> None:
    """Raise `Poison` for a document too large, too deep or with too many keys to be parsed. Costs next to nothing."""
    size = len(raw)
    if size > limit:
        raise Poison(Reason.TOO_LARGE, f"{size:,} bytes, more than {limit:,}")
    if size > HARMLESS and raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        brackets = _STRING.sub(b"", raw).translate(_STEPS, _OTHERS)
        if max(accumulate(memoryview(brackets).cast("b")), default=0) > MAX_DEPTH + 1:
            raise Poison(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels")
    if size > 5 * MAX_KEYS and raw.count(b":") > MAX_KEYS:
        keys = _STRING.sub(b"", raw).count(b":")
        if keys > MAX_KEYS + 64:  # the document's own members
            raise Poison(Reason.TOO_MANY_KEYS, f"{keys:,} keys, more than {MAX_KEYS:,}")


_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # to the end if it is not closed: never tried twice
_STEPS = bytes.maketrans(b"{[]}", b"\x01\x01\xff\xff")
_OTHERS = bytes(set(range(256)) - set(b"{[]}"))


def names(raw: bytes) -> list[str]:
    """The names of the members of the JSON object in `raw`, repeated ones too. Slow."""
    pairs = json.loads(raw.decode(errors="replace"), object_pairs_hook=list, parse_int=str, parse_float=str)
    return [name for name, _ in pairs]


def refuse_repeats(raw: bytes, *once: str) -> None:
    """Of two members with one name peers take one or the other. Counts first; reads exactly only when it must."""
    values = [bytes(value) for value in verbatim(raw).values()]
    for name in once:
        written = f'"{name}"'.encode()
        outside = raw.count(written) - sum(value.count(written) for value in values)
        if outside > 1 and names(raw).count(name) > 1:
            raise Poison(Reason.DUPLICATE_MEMBER, f'more than one member "{name}"')


def fault(raw: bytes, error: Exception) -> Poison:
    """What kept msgspec from reading `raw`; the standard parser takes more, and so tells the cases apart."""
    try:
        json.loads(raw.decode(), parse_constant=_refuse_constant, parse_int=str, parse_float=str)
    except Poison as poison:
        return poison
    except UnicodeDecodeError as broken:
        return Poison(Reason.INVALID_UTF8, str(broken))
    except ValueError:
        return Poison(Reason.INVALID_JSON, str(error))
    return Poison(Reason.INVALID_UTF8, "half of a surrogate pair")


def _refuse_constant(name: str) -> NoReturn:
    raise Poison(Reason.BAD_NUMBER, f"{name} is no JSON number")
