"""Cron expressions and the instants they name: robfig/cron v3, with gocraft/work's options, to the second.

Pools written in Go that share a schedule must find the same instants, so the grammar, the error texts and the search
for the next instant are robfig's, oddities included. A local time that a clock change skips does not fire; one that it
repeats fires twice. What happens where a change skips midnight is told at `_Search`.
"""

from __future__ import annotations

import math
import re
from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from worksong.domain import go_duration
from worksong.domain.errors import ConfigError


class CronError(ConfigError):
    """the cron expression cannot work"""


def parse(spec: str, *, zone: str = "UTC") -> Schedule:
    """Read five fields, six with seconds first, a descriptor such as ``@daily``, or ``@every DURATION``.

    `zone` names the clock of a `spec` without a ``TZ=`` or ``CRON_TZ=`` prefix, or with the prefix ``TZ=Local``.
    What robfig/cron refuses is a `CronError` with robfig's text. An expression that can never fire is accepted, as
    robfig accepts it: ask `Schedule.never`.
    """
    if not spec:
        raise CronError("empty spec string")
    named, text = _split_zone(spec)
    place = zone if named in (None, "Local") else named
    tz = _load_zone(place)
    if text.startswith("@every "):
        return Schedule(spec, place or "UTC", every=_every(text))
    civil = _civil(_fields(text), tz)
    return Schedule(spec, place or "UTC", never=not _is_possible(civil), civil=civil)


class Schedule(msgspec.Struct, frozen=True):
    """When something periodic is due. Times are Unix seconds, always whole ones."""

    spec: str
    """The text as given, zone prefix included."""
    zone: str
    """The name of the time zone in force."""
    every: float | None = None
    """Seconds between two ticks of ``@every``, at least 1; None for all other expressions."""
    never: bool = False
    """No calendar has such a time (30 February, an empty field); known without searching."""
    civil: _Civil | None = None
    """What the expression allows, on which clock; None for ``@every``."""

    def next(self, after: float) -> float | None:
        """The first time later than `after`; None if there is none before the end of the fifth year from then.

        ``@every`` counts from `after`, as robfig does, in elapsed time. ValueError beyond the years 1 to 9990.
        """
        if self.civil is None:
            return math.floor(after) + (self.every or 1.0)
        if self.never:
            return None
        return _Search(self.civil, math.floor(after) + 1).first()

    def ticks(self, after: float, before: float) -> Iterator[float]:
        """Every time T with after < T < before, in order.

        ``@every`` ticks at the multiples of its period since the Unix epoch, so that all processes agree. robfig counts
        from the start of each process: every process has ticks of its own, and n of them run a job n times a period.
        """
        at = self.next(after) if self.every is None else (after // self.every + 1) * self.every
        while at is not None and at < before:
            yield at
            at = self.next(at)


class _Civil(NamedTuple):
    """What each field allows on the clock of `tz`: bit n is set where the value n is allowed."""

    second: int
    minute: int
    hour: int
    day: int
    month: int
    weekday: int
    either: bool
    """Both day fields restrict; then one of them is enough."""
    tz: tzinfo


# ---- reading ---------------------------------------------------------------------------------------------------------


class _Bounds(NamedTuple):
    low: int
    high: int
    names: Sequence[str] = ()


_MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_SIXTY: Final = _Bounds(0, 59)
_DATES: Final = (_Bounds(1, 31), _Bounds(1, 12, _MONTHS), _Bounds(0, 6, _WEEKDAYS))
_BOUNDS: Final = (_SIXTY, _SIXTY, _Bounds(0, 23), *_DATES)

_DESCRIPTORS: Final = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}

_BLANKS: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""White space as Go knows it; Python's own idea has four characters more."""
_WORD: Final = re.compile(f"[^{_BLANKS}]+")

_STAR: Final = 1 << 63
"""Marks a field with an unrestricted item; such a day field leaves the choice to the other day field."""


def _split_zone(spec: str) -> tuple[str | None, str]:
    if not spec.startswith(("TZ=", "CRON_TZ=")):
        return None, spec
    name, blank, rest = spec.partition("=")[2].partition(" ")
    if not blank:  # robfig/cron v3.0.1 panics here
        raise CronError(f"no schedule after the time zone: {spec}")
    return name, rest.strip(_BLANKS)


def _load_zone(name: str | None) -> tzinfo:
    if not name or name == "UTC":
        return UTC
    if ".." in name or name.startswith(("/", "\\")):
        raise CronError(f"provided bad location {name}: time: invalid location name")
    try:
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise CronError(f"provided bad location {name}: unknown time zone {name}") from error


def _every(text: str) -> float:
    try:
        return float(max(1, go_duration.nanoseconds(text.removeprefix("@every ")) // 10**9))
    except go_duration.DurationError as error:
        raise CronError(f"failed to parse duration {text}: {error}") from error


def _fields(text: str) -> list[str]:
    if text.startswith("@") and text not in _DESCRIPTORS:
        raise CronError(f"unrecognized descriptor: {text}")
    words: list[str] = _WORD.findall(_DESCRIPTORS.get(text, text))
    if len(words) not in (5, 6):
        raise CronError(f"expected 5 to 6 fields, found {len(words)}: [{' '.join(words)}]")
    return ["0", *words][-6:]


def _civil(fields: list[str], tz: tzinfo) -> _Civil:
    masks = [_field(text, bounds) for text, bounds in zip(fields, _BOUNDS, strict=True)]
    second, minute, hour, day, month, weekday = (mask & ~_STAR for mask in masks)
    return _Civil(second, minute, hour, day, month, weekday, not (masks[3] | masks[5]) & _STAR, tz)


def _field(text: str, bounds: _Bounds) -> int:
    mask = 0
    for item in filter(None, text.split(",")):
        mask |= _item(item, bounds)
    return mask


def _item(item: str, bounds: _Bounds) -> int:
    """``A``, ``A-B`` or ``*``, each with an optional ``/STEP``; ``A/STEP`` runs from A to the maximum."""
    span, *steps = item.split("/")
    first, *rest = span.split("-")
    star = first in ("*", "?")
    low, high = (bounds.low, bounds.high) if star else _span(first, rest, item, bounds)
    if len(steps) > 1:
        raise CronError(f"too many slashes: {item}")
    step = _number(steps[0]) if steps else 1
    if steps and not rest:
        high = bounds.high
    _check(low, high, step, item, bounds)
    return sum(1 << value for value in range(low, high + 1, step)) | (_STAR if star and step == 1 else 0)


def _span(first: str, rest: list[str], item: str, bounds: _Bounds) -> tuple[int, int]:
    low = _number(first, bounds)
    if len(rest) > 1:
        raise CronError(f"too many hyphens: {item}")
    return low, _number(rest[0], bounds) if rest else low


def _check(low: int, high: int, step: int, item: str, bounds: _Bounds) -> None:
    if low < bounds.low:
        raise CronError(f"beginning of range ({low}) below minimum ({bounds.low}): {item}")
    if high > bounds.high:
        raise CronError(f"end of range ({high}) above maximum ({bounds.high}): {item}")
    if low > high:
        raise CronError(f"beginning of range ({low}) beyond end of range ({high}): {item}")
    if step == 0:
        raise CronError(f"step of range should be a positive number: {item}")


def _number(text: str, bounds: _Bounds = _SIXTY) -> int:
    """A name, or what Go's strconv.Atoi reads unless it is negative."""
    if (name := text.lower()) in bounds.names:
        return bounds.low + bounds.names.index(name)
    found = re.fullmatch("([+-]?)0*([0-9]*)", text)
    if found is None or not text.strip("+-"):
        raise CronError(f"failed to parse int from {text}: strconv.Atoi: parsing {_quoted(text)}: invalid syntax")
    sign, digits = found.groups()
    if len(digits) > 19 or int(digits or 0) >= 2**63 + (sign == "-"):  # Python refuses to convert thousands of digits
        raise CronError(f"failed to parse int from {text}: strconv.Atoi: parsing {_quoted(text)}: value out of range")
    if sign == "-" and digits:
        raise CronError(f"negative number (-{digits}) not allowed: {text}")
    return int(digits or 0)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped) + '"'


def _is_possible(civil: _Civil) -> bool:
    """Whether some year has such a time; a leap year does if any does."""
    lengths = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    dated = any(civil.month >> month & 1 and civil.day & (2 << length) - 2 for month, length in enumerate(lengths, 1))
    days = dated or civil.weekday if civil.either else dated and civil.weekday
    return bool(civil.second and civil.minute and civil.hour and civil.month and days)


# ---- searching -------------------------------------------------------------------------------------------------------

_HOUR: Final = 3600
_DAY: Final = 86400
_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_DAY: Final = _EPOCH.toordinal()
_SIX_WEEKS: Final = sum(1 << 7 * week for week in range(6))


class _Search:
    """robfig's walk to the first allowed second: month, day, hour, minute, second, and over again when one wraps.

    Where a clock change skips midnight it errs as robfig does, so that mixed fleets agree: the hours after the change
    are searched as if they belonged to the day before, and east of Greenwich a search that comes from an earlier day
    leaves that day out. Days and units of the clock are passed in one leap unless the clock changes on the way.
    """

    __slots__ = ("_civil", "_fresh", "_now", "_wall")

    def __init__(self, civil: _Civil, start: int) -> None:
        self._civil = civil
        self._fresh = True  # no field has moved yet: those below it still show the start, not their lowest value
        self._set_now(start)

    def first(self) -> float | None:
        civil, start, last = self._civil, self._now, self._date().year + 5
        while self._date().year <= last:
            if (
                self._month()
                and self._day()
                and self._clock(civil.hour, _HOUR, 24)
                and self._clock(civil.minute, 60, 60)
                and self._clock(civil.second, 1, 60)
            ):
                if self._now >= start:
                    return float(self._now)
                self._set_now(self._now + 1)  # in Juneau, set back two hours in 1983, robfig answers with the past
        return None

    # Each step stops at an allowed value and is True, or passes into the next year, month, day ... and is False.

    def _month(self) -> bool:
        while not self._civil.month >> self._date().month & 1:
            if self._fresh:
                self._fresh = False
                self._set_wall(_midnight(self._date().replace(day=1)))
            today = self._date()
            months = today.year * 12 + today.month
            first = date(months // 12, months % 12 + 1, 1)
            self._set_wall(_midnight(first) + (today.day - 1) * _DAY + self._wall % _DAY)
            if self._date().month == 1:
                return False
        return True

    def _day(self) -> bool:
        while not (allowed := self._days(today := self._date())) >> today.day & 1:
            if self._fresh:
                self._fresh = False
                self._set_wall(_midnight(today))
            self._pass_days(_lowest(allowed >> today.day))
            if self._date().day == 1:
                return False
        return True

    def _days(self, day: date) -> int:
        """The allowed days of this month, and as a stop the day after its last."""
        weekday, length = monthrange(day.year, day.month)
        dated, weekly = self._civil.day, self._civil.weekday * _SIX_WEEKS >> weekday
        return (dated | weekly if self._civil.either else dated & weekly) | 2 << length

    def _pass_days(self, days: int) -> None:
        here, wall, leap = self._now, self._wall, days * _DAY
        self._set_wall(wall + leap)
        if (self._now, self._wall) == (here + leap, wall + leap) and wall % _DAY < _HOUR:
            return
        self._set_wall(wall + _DAY)
        if hour := self._wall % _DAY // _HOUR:
            self._set_now(self._now + (24 - hour if hour > 12 else -hour) * _HOUR)
        if self._now <= here:  # Samoa had no 30 December 2011, and robfig never gets past it
            self._set_now(here + _DAY)

    def _clock(self, allowed: int, unit: int, units: int) -> bool:
        while not allowed >> self._wall // unit % units & 1:
            if self._fresh:
                self._fresh = False
                if unit == _HOUR:  # by the clock: if this hour is a repeated one, perhaps the other of the two
                    self._set_wall(self._wall - self._wall % unit)
                else:
                    self._set_now(self._now - self._now % unit)
            leap = unit + unit * _lowest((allowed | 1 << units) >> self._wall // unit % units + 1)
            here, there = self._now, self._wall + leap
            self._set_now(here + leap)
            if self._wall != there:
                self._set_now(here + unit)
            if self._wall // unit % units == 0:
                return False
        return True

    def _date(self) -> date:
        return date.fromordinal(_EPOCH_DAY + self._wall // _DAY)

    def _set_now(self, now: int) -> None:
        self._now, self._wall = now, self._wall_at(now)

    def _set_wall(self, wall: int) -> None:
        """To the instant Go's time.Date finds for a wall time, also for one that does not exist or exists twice."""
        guess = wall - (self._wall_at(wall) - wall)
        found = self._wall_at(guess)
        self._now = wall - (found - guess)
        self._wall = wall if found == wall else self._wall_at(self._now)

    def _wall_at(self, now: int) -> int:
        """Seconds since 1970-01-01 00:00 by the zone's own clock."""
        passed = datetime.fromtimestamp(now, self._civil.tz).replace(tzinfo=None) - _EPOCH
        return passed.days * _DAY + passed.seconds


def _midnight(day: date) -> int:
    return (day.toordinal() - _EPOCH_DAY) * _DAY


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
