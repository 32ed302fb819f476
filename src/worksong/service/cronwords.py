"""A cron expression in words, as somebody would say it."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.domain.cron import Schedule
from worksong.service.moments import span

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
TIMES = 6
"""So many times of a day are named one by one."""
SIXTY, HOURS, DAYS = range(60), range(24), range(1, 32)


def words(schedule: Schedule) -> str:
    """When it fires, by the clock of its zone."""
    if schedule.every is not None:
        return f"every {span(schedule.every)}"
    civil = schedule.civil
    if civil is None or schedule.never:
        return "never"
    second, minute = _values(civil.second, SIXTY), _values(civil.minute, SIXTY)
    hour = _values(civil.hour, HOURS)
    dates = _dates(_values(civil.day, DAYS), _values(civil.weekday, range(7)), either=civil.either)
    month = _values(civil.month, range(1, 13))
    months = "" if len(month) == 12 else f"in {_listed([MONTHS[number - 1] for number in month], month)}"
    named = len(second) == 1 and len(minute) * len(hour) <= TIMES
    time = _times(second[0], minute, hour) if named else _pace(second, minute, hour)
    return " ".join(part for part in (time, dates or ("every day" if named else ""), months) if part)


def _values(bits: int, numbers: Sequence[int]) -> list[int]:
    return [number for number in numbers if bits >> number & 1]


def _times(second: int, minutes: Sequence[int], hours: Sequence[int]) -> str:
    """Few enough to be named."""
    tail = f":{second:02}" if second else ""
    return f"at {_joined([f'{hour:02}:{minute:02}{tail}' for hour in hours for minute in minutes])}"


def _pace(second: Sequence[int], minute: Sequence[int], hour: Sequence[int]) -> str:
    """Too many to be named: how often, and when not at all hours."""
    if len(minute) == 60:
        often = "every minute" if second == [0] else _often("second", second, of="minute")
    elif second == [0]:
        often = _often("minute", minute, of="hour")
    else:
        often = f"{_often('second', second, of='minute')}, {_in('minute', minute)}"
    if len(hour) == 24:
        return often
    step = _step(hour, 24)
    if step and minute == [0] and second == [0]:
        return f"every {step} hours"
    return f"{often}, {_in('hour', hour)}"


def _often(unit: str, values: Sequence[int], *, of: str) -> str:
    if len(values) == 60:
        return f"every {unit}"
    if step := _step(values, 60):
        return f"every {step} {unit}s"
    if values == [0]:
        return f"every {of}"
    return f"every {of} {_in(unit, values)}"


def _in(unit: str, values: Sequence[int]) -> str:
    return f"{'in' if unit == 'hour' else 'at'} {unit}{'' if len(values) == 1 else 's'} {_listed(values, values)}"


def _dates(day: Sequence[int], weekday: Sequence[int], *, either: bool) -> str:
    """On which days; empty for all."""
    dates = f"on day{'' if len(day) == 1 else 's'} {_listed(day, day)} of the month" if len(day) < 31 else ""
    names = _listed([WEEKDAYS[number] for number in weekday], weekday)
    if len(weekday) == 7:
        return dates
    if not dates:
        return f"on {names}"
    return f"{dates} or on {names}" if either else f"{dates}, if that is {names}"


def _step(values: Sequence[int], whole: int) -> int:
    """From one to the next, all the way round; 0: they are not so far apart each time."""
    step = values[1] - values[0] if len(values) > 1 else 0
    return step if step > 1 and values == list(range(0, whole, step)) and whole % step == 0 else 0


def _listed(names: Sequence[object], values: Sequence[int]) -> str:
    """Three and more in a row by the first and the last one."""
    if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
        return f"{names[0]} to {names[-1]}"
    return _joined([str(name) for name in names])


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
