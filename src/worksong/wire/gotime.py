"""Times as Go's `time` package reads and writes them in RFC 3339, with its words for what it cannot read.

Clients of Valet know these texts. The layout is Go's `time.RFC3339Nano`; its parts are tried one after the other, so
that the first one that does not fit is the one that is named.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime
from typing import NamedTuple

LAYOUT = "2006-01-02T15:04:05.999999999Z07:00"
ZERO = -62_135_596_800.0
"""The first second of year 1: what Go calls the zero time, and takes for "not set"."""

_DIGITS = re.compile(r"[0-9]{1,2}")
_FRACTION = re.compile(r"[.,][0-9]+")
_OFFSET = re.compile(r"([+-])([0-9]{2}):([0-9]{2})")
_PARTS = (
    ("", "2006", 0, 9999, "year"),
    ("-", "01", 1, 12, "month"),
    ("-", "02", 0, 99, "day"),
    ("T", "15", 0, 23, "hour"),
    (":", "04", 0, 59, "minute"),
    (":", "05", 0, 59, "second"),
)
"""What stands before a part, its place in the layout, its bounds and its name; days are counted with their month."""
_ONE_DIGIT_WILL_DO = ("15",)


class Moment(NamedTuple):
    """A time that was read."""

    text: str
    """As Go writes it again."""
    at: float
    """Unix seconds."""

    @property
    def is_zero(self) -> bool:
        return self.at == ZERO


def parse(text: str) -> Moment:
    """Read a time; raises `ValueError` with Go's words."""
    rest, numbers = text, list[int]()
    for before, place, low, high, name in _PARTS:
        if not rest.startswith(before):
            raise _unlike(text, rest, before)
        number, rest = _number(text, rest.removeprefix(before), place)
        if not low <= number <= high:
            raise _out_of_range(text, name)
        numbers.append(number)
    fraction = _FRACTION.match(rest)
    digits = fraction[0][1:10] if fraction else ""
    offset, zone, rest = _zone(text, rest[fraction.end() :] if fraction else rest)
    if rest:
        raise ValueError(f"parsing time {_quoted(text)}: extra text: {_quoted(rest)}")
    year, month, day, hour, minute, second = numbers
    if not 1 <= day <= _days(year, month):
        raise _out_of_range(text, "day")
    seconds = _seconds(year, month, day) + 3600.0 * hour + 60.0 * minute + second - offset
    written = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{_fraction(digits)}{zone}"
    return Moment(written, seconds + (float(f"0.{digits}") if digits else 0.0))


def write(at: float) -> str:
    """Unix seconds as Go writes a time in UTC."""
    text = datetime.fromtimestamp(at, UTC).isoformat()[:-6]
    return f"{text.rstrip('0') if '.' in text else text}Z"


def _number(text: str, rest: str, place: str) -> tuple[int, str]:
    """The number there, and what is behind it."""
    if place == "2006":
        found = rest[:4]
        fits = len(found) == 4 and found.isascii() and found.isdecimal()
    else:
        match = _DIGITS.match(rest)
        found = match[0] if match else ""
        fits = len(found) == 2 or (len(found) == 1 and place in _ONE_DIGIT_WILL_DO)
    if not fits:
        raise _unlike(text, rest, place)
    return int(found), rest[len(found) :]


def _zone(text: str, rest: str) -> tuple[float, str, str]:
    """Seconds east of UTC, how Go writes that, and what is behind it."""
    if rest.startswith("Z"):
        return 0.0, "Z", rest[1:]
    found = _OFFSET.match(rest)
    if found is None:
        raise _unlike(text, rest, "Z07:00")
    hours, minutes = int(found[2]), int(found[3])
    for number, most, name in ((hours, 24, "hour"), (minutes, 60, "minute")):
        if number > most:
            raise _out_of_range(text, f"time zone offset {name}")
    offset = 3600.0 * hours + 60.0 * minutes
    whole, part = divmod(int(offset) // 60, 60)
    zone = f"{found[1]}{whole:02}:{part:02}" if offset else "Z"
    return (-offset if found[1] == "-" else offset), zone, rest[found.end() :]


def _seconds(year: int, month: int, day: int) -> float:
    """Unix seconds of a midnight; year 0 is one for Go, and none for Python."""
    if year:
        return (datetime(year, month, day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    return _seconds(400, month, day) - 146_097 * 86_400.0


def _days(year: int, month: int) -> int:
    return calendar.monthrange(year or 400, month)[1]


def _fraction(digits: str) -> str:
    kept = digits.rstrip("0")
    return f".{kept}" if kept else ""


def _unlike(text: str, rest: str, place: str) -> ValueError:
    shown = f"{_quoted(text)} as {_quoted(LAYOUT)}"
    return ValueError(f"parsing time {shown}: cannot parse {_quoted(rest)} as {_quoted(place)}")


def _out_of_range(text: str, what: str) -> ValueError:
    return ValueError(f"parsing time {_quoted(text)}: {what} out of range")


def _quoted(text: str) -> str:
    r"""As Go quotes it in these texts: what is not ASCII byte by byte, as in "\xc3\xa9"."""
    return f'"{"".join(map(_escaped, text.encode("utf-8", "surrogatepass")))}"'


def _escaped(byte: int) -> str:
    char = chr(byte)
    if char in '"\\':
        return f"\\{char}"
    return char if 0x20 <= byte < 0x80 else f"\\x{byte:02x}"
