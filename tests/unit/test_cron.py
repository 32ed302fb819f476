"""Cron expressions against what robfig/cron v3.0.1 answered, and against a clock that is simply watched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worksong.domain import go_duration
from worksong.domain.cron import CronError, parse
from worksong.domain.errors import ConfigError

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "cron.json").read_text(encoding="utf-8"))
ROWS: list[dict[str, Any]] = GOLDEN["table"]
STARTS: list[dict[str, Any]] = GOLDEN["starts"]


def instant(zone: str, local: str, *, fold: int = 0) -> float:
    return datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


# ---- what robfig/cron answered ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start["id"])
@pytest.mark.parametrize("row", [row for row in ROWS if "next" in row], ids=lambda row: repr(row["spec"]))
def test_an_expression_fires_when_robfig_cron_fires(row: dict[str, Any], start: dict[str, Any]) -> None:
    # Given
    schedule = parse(row["spec"], zone=start["zone"])
    expected = [tick["unix"] if tick else None for tick in row["next"][start["id"]]]

    # When
    found: list[float | None] = []
    at: float | None = start["start_unix"]
    while at is not None and len(found) < len(expected):
        at = schedule.next(at)
        found.append(at)

    # Then
    assert found == expected


@pytest.mark.parametrize("row", [row for row in ROWS if "error" in row], ids=lambda row: repr(row["spec"]))
def test_an_expression_is_refused_in_robfig_cron_s_words(row: dict[str, Any]) -> None:
    with pytest.raises(CronError) as refusal:
        parse(row["spec"])

    assert str(refusal.value) == row["error"]


@pytest.mark.parametrize("row", [row for row in ROWS if "panic" in row], ids=lambda row: repr(row["spec"]))
def test_an_expression_on_which_robfig_cron_panics_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(CronError, match=r"^no schedule after the time zone: "):
        parse(row["spec"])


def test_the_recorded_table_is_read_whole() -> None:
    assert sorted({key for row in ROWS for key in row}) == ["error", "next", "note", "panic", "spec"]
    assert all(len({"next", "error", "panic"} & row.keys()) == 1 for row in ROWS)
    assert all(row["next"].keys() == {start["id"] for start in STARTS} for row in ROWS if "next" in row)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "empty spec string"),
        (" ", "expected 5 to 6 fields, found 0: []"),
        ("* * * * * * *", "expected 5 to 6 fields, found 7: [* * * * * * *]"),
        (" @daily", "expected 5 to 6 fields, found 1: [@daily]"),
        ("@daily ", "unrecognized descriptor: @daily "),
        ("TZ=UTC @every ", "unrecognized descriptor: @every"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1-x-3 * * * *", "too many hyphens: 1-x-3"),
        ("x-1-3 * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("*/-2 * * * *", "negative number (-2) not allowed: -2"),
        ("*/-0 * * * *", "step of range should be a positive number: */-0"),
        ("*/mon * * * mon", 'failed to parse int from mon: strconv.Atoi: parsing "mon": invalid syntax'),
        ("+ * * * *", 'failed to parse int from +: strconv.Atoi: parsing "+": invalid syntax'),
        ('"\\ * * * *', 'failed to parse int from "\\: strconv.Atoi: parsing "\\"\\\\": invalid syntax'),
        ("\x00 * * * *", 'failed to parse int from \x00: strconv.Atoi: parsing "\\x00": invalid syntax'),
        ("1\x1f2 * * * *", 'failed to parse int from 1\x1f2: strconv.Atoi: parsing "1\\x1f2": invalid syntax'),
        (f"{2**63 - 1} * * * *", f"end of range ({2**63 - 1}) above maximum (59): {2**63 - 1}"),
        (f"{2**63} * * * *", f'failed to parse int from {2**63}: strconv.Atoi: parsing "{2**63}": value out of range'),
        ("TZ=../UTC 0 9 * * *", "provided bad location ../UTC: time: invalid location name"),
        ("TZ=/UTC 0 9 * * *", "provided bad location /UTC: time: invalid location name"),
        ("TZ=UTC\t0 9 * * *", "provided bad location UTC\t0: unknown time zone UTC\t0"),
        ("TZ=Nowhere @every 1h", "provided bad location Nowhere: unknown time zone Nowhere"),
    ],
)
def test_other_refusals_read_as_go_s_too(spec: str, message: str) -> None:
    with pytest.raises(CronError) as refusal:
        parse(spec)

    assert str(refusal.value) == message


def test_the_first_bad_field_is_the_one_reported() -> None:
    with pytest.raises(CronError, match=r"^end of range \(24\)"):
        parse("0 24 32 13 7")


def test_a_refusal_is_an_error_of_configuration() -> None:
    assert issubclass(CronError, ConfigError)


@given(
    st.text()
    | st.text("*?/-,0123456789 @everyTZ=jansu\t", max_size=40)
    | st.text("0123456789").map("{} * * * *".format)
)
def test_any_text_is_either_a_schedule_or_refused(text: str) -> None:
    try:
        schedule = parse(text)
    except CronError:
        return
    assert schedule.spec == text


def test_thousands_of_digits_are_refused_like_any_large_number() -> None:
    with pytest.raises(CronError, match=r"value out of range$"):
        parse(f"{'9' * 5000} * * * *")
    assert parse(f"{'0' * 5000}7 * * * *").next(0) == 7 * 60


# ---- zones -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "zone"),
    [
        ("0 9 * * *", "Asia/Tokyo"),
        ("TZ=Local 0 9 * * *", "Asia/Tokyo"),
        ("TZ= 0 9 * * *", "UTC"),
        ("CRON_TZ=Europe/Berlin 0 9 * * *", "Europe/Berlin"),
        ("TZ=Europe/Berlin @daily", "Europe/Berlin"),
    ],
)
def test_a_prefix_overrules_the_given_zone(spec: str, zone: str) -> None:
    assert parse(spec, zone="Asia/Tokyo").zone == zone


def test_without_prefix_and_zone_the_clock_is_utc() -> None:
    schedule = parse("0 9 * * *")

    assert schedule.zone == "UTC"
    assert schedule.next(0) == 9 * 3600


def test_an_unknown_given_zone_is_refused() -> None:
    with pytest.raises(CronError, match=r"^provided bad location Europe/Nowhere: unknown time zone Europe/Nowhere$"):
        parse("0 9 * * *", zone="Europe/Nowhere")


@pytest.mark.parametrize("name", ["Europe", "\0", "x" * 5000, "\ud800"])
def test_a_zone_name_that_upsets_the_file_system_is_merely_unknown(name: str) -> None:
    with pytest.raises(CronError, match="unknown time zone"):
        parse("0 9 * * *", zone=name)


# ---- against a watched clock -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """A field's text and, made along with it and not read from it, what it means."""

    text: str
    values: frozenset[int]
    star: bool


@dataclass(frozen=True)
class Spec:
    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def text(self) -> str:
        fields = [self.minute, self.hour, self.day, self.month, self.weekday]
        return " ".join(field.text for field in ([] if self.second == ON_THE_MINUTE else [self.second]) + fields)

    def includes_day(self, day: date) -> bool:
        """The day rule, as the manual words it: a star leaves the choice to the other field, else either will do."""
        dated, weekly = day.day in self.day.values, (day.weekday() + 1) % 7 in self.weekday.values
        if self.day.star:
            matches = weekly and dated
        elif self.weekday.star:
            matches = dated
        else:
            matches = dated or weekly
        return matches and day.month in self.month.values


ON_THE_MINUTE = Field("0", frozenset([0]), star=False)
MONTHS = dict(enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1))
WEEKDAYS = dict(enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"]))


@st.composite
def items(draw: st.DrawFn, low: int, high: int, names: dict[int, str]) -> Field:
    def written(value: int) -> str:
        spellings = [str(value), f"{value:02}", f"+{value}"]
        if value in names:
            spellings += [names[value], names[value].upper(), names[value].title()]
        return draw(st.sampled_from(spellings))

    def stepped(text: str, first: int, last: int) -> Field:
        step = draw(st.integers(1, high + 2))
        return Field(f"{text}/{step}", frozenset(range(first, last + 1, step)), star=text in "*?" and step == 1)

    star = draw(st.sampled_from("*?"))
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    shapes = [
        lambda: Field(star, frozenset(range(low, high + 1)), star=True),
        lambda: stepped(star, low, high),
        lambda: Field(written(first), frozenset([first]), star=False),
        lambda: stepped(written(first), first, high),
        lambda: Field(f"{written(first)}-{written(last)}", frozenset(range(first, last + 1)), star=False),
        lambda: stepped(f"{written(first)}-{written(last)}", first, last),
    ]
    return draw(st.sampled_from(shapes))()


def fields(low: int, high: int, names: dict[int, str] | None = None) -> st.SearchStrategy[Field]:
    def listed(members: list[Field]) -> Field:
        values = frozenset[int]().union(*(member.values for member in members))
        return Field(",".join(m.text for m in members), values, star=any(m.star for m in members))

    return st.lists(items(low, high, names or {}), min_size=1, max_size=3).map(listed)


STAR_DAY = Field("*", frozenset(range(1, 32)), star=True)
STAR_MONTH = Field("*", frozenset(range(1, 13)), star=True)
STAR_WEEKDAY = Field("?", frozenset(range(7)), star=True)
EMPTY = Field(",", frozenset(), star=False)

SECONDS = st.just(ON_THE_MINUTE) | fields(0, 59)
DAYS, ALL_MONTHS, ALL_WEEKDAYS = fields(1, 31), fields(1, 12, MONTHS), fields(0, 6, WEEKDAYS)
SPECS = st.builds(
    Spec,
    SECONDS,
    fields(0, 59),
    fields(0, 23),
    st.just(STAR_DAY) | DAYS,
    st.just(STAR_MONTH) | ALL_MONTHS,
    st.just(STAR_WEEKDAY) | ALL_WEEKDAYS,
)
DAILY_SPECS = st.builds(
    Spec, SECONDS, fields(0, 59), fields(0, 23), st.just(STAR_DAY), st.just(STAR_MONTH), st.just(STAR_WEEKDAY)
)
MANY = 200


@lru_cache
def minutes_around(zone: str, change: str) -> list[tuple[int, datetime]]:
    """Every minute from a day before the day of the change until two days later, as that clock shows them."""
    midnight = int(instant(zone, change)) - 86400
    clock = ZoneInfo(zone)
    return [(at, datetime.fromtimestamp(at, clock)) for at in range(midnight, midnight + 3 * 86400 + 7200, 60)]


def watched(spec: Spec, zone: str, change: str) -> Iterator[int]:
    """The instants at which somebody who looks at the clock every minute sees the expression come true."""
    for at, local in minutes_around(zone, change):
        if local.minute in spec.minute.values and local.hour in spec.hour.values and spec.includes_day(local.date()):
            yield from (at + second for second in sorted(spec.second.values))


def check_against_watching(spec: Spec, zone: str, change: str) -> None:
    (begin, _), *_, (end, _) = minutes_around(zone, change)
    ticks = parse(spec.text, zone=zone).ticks(begin - 1, end + 60)

    assert list(islice(ticks, MANY)) == list(islice(watched(spec, zone, change), MANY))


@settings(deadline=None)
@given(SPECS)
@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("UTC", "2024-02-29"),
        ("Europe/Berlin", "2024-03-31"),
        ("Europe/Berlin", "2024-10-27"),
        ("America/New_York", "2024-03-10"),
        ("America/New_York", "2024-11-03"),
        ("America/Sao_Paulo", "2018-02-18"),
    ],
)
def test_it_fires_whenever_the_clock_shows_such_a_time(zone: str, change: str, spec: Spec) -> None:
    check_against_watching(spec, zone, change)


@settings(deadline=None)
@given(DAILY_SPECS)
def test_so_it_does_where_midnight_is_skipped_if_all_days_are_meant(spec: Spec) -> None:
    check_against_watching(spec, "America/Sao_Paulo", "2018-11-04T01:00")


@settings(deadline=None)
@given(SPECS, st.floats(946684800, 4102444800))
def test_over_years_it_finds_the_first_such_time(spec: Spec, after: float) -> None:
    assert parse(spec.text).next(after) == first_by_calendar(spec, after)


def first_by_calendar(spec: Spec, after: float) -> float | None:
    """Leafs through five years of days, in UTC, with a finger on the first time of day that is late enough."""
    start = datetime.fromtimestamp(int(after) + 1, UTC)
    day = start.date()
    while day.year <= start.year + 5:
        if spec.includes_day(day):
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
            for time_of_day in times_of_day(spec):
                if midnight + time_of_day >= start:
                    return (midnight + time_of_day).timestamp()
        day += timedelta(days=1)
    return None


def times_of_day(spec: Spec) -> Iterator[timedelta]:
    for hour in sorted(spec.hour.values):
        for minute in sorted(spec.minute.values):
            for second in sorted(spec.second.values):
                yield timedelta(hours=hour, minutes=minute, seconds=second)


ZONES = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith(("posix/", "right/")))


@settings(deadline=None)
@given(SPECS, st.sampled_from(ZONES), st.floats(0, 4102444800))
def test_the_next_time_is_later_wherever_and_whenever(spec: Spec, zone: str, after: float) -> None:
    following = parse(spec.text, zone=zone).next(after)

    assert following is None or following > after


# ---- clock changes, told one by one ----------------------------------------------------------------------------------


def test_a_time_inside_the_skipped_hour_does_not_fire_that_day() -> None:
    schedule = parse("30 2 * * *", zone="Europe/Berlin")

    assert schedule.next(instant("Europe/Berlin", "2024-03-30T12:00")) == instant("Europe/Berlin", "2024-04-01T02:30")


def test_a_time_inside_the_repeated_hour_fires_twice() -> None:
    schedule = parse("30 1 * * *", zone="America/New_York")
    day = instant("America/New_York", "2024-11-03T00:00"), instant("America/New_York", "2024-11-04T00:00")

    first, second = schedule.ticks(*day)

    assert first == instant("America/New_York", "2024-11-03T01:30")
    assert second == instant("America/New_York", "2024-11-03T01:30", fold=1) == first + 3600


def test_as_in_robfig_cron_a_day_without_midnight_is_taken_for_the_day_before() -> None:
    schedule = parse("30 5 3 11 *", zone="America/Sao_Paulo")

    following = schedule.next(instant("America/Sao_Paulo", "2018-11-03T12:00"))

    assert following == instant("America/Sao_Paulo", "2018-11-04T05:30")


def test_as_in_robfig_cron_a_day_without_midnight_in_the_east_is_left_out_when_seen_from_afar() -> None:
    schedule = parse("0 12 26 4 *", zone="Africa/Cairo")

    from_afar = schedule.next(instant("Africa/Cairo", "2024-04-01T00:00"))
    from_that_day = schedule.next(instant("Africa/Cairo", "2024-04-26T02:00"))

    assert from_afar == instant("Africa/Cairo", "2025-04-26T12:00")
    assert from_that_day == instant("Africa/Cairo", "2024-04-26T12:00")


def test_half_an_hour_of_clock_change_drops_the_hour_it_begins_in() -> None:
    schedule = parse("0 2 * * *", zone="Australia/Lord_Howe")

    following = schedule.next(instant("Australia/Lord_Howe", "2024-10-05T12:00"))

    assert following == instant("Australia/Lord_Howe", "2024-10-07T02:00")


def test_a_day_that_a_country_left_out_is_passed() -> None:
    # Samoa went from 29 to 31 December 2011; robfig/cron searches for ever.
    schedule = parse("0 12 * * 6", zone="Pacific/Apia")

    assert schedule.next(instant("Pacific/Apia", "2011-12-28T00:00")) == instant("Pacific/Apia", "2011-12-31T12:00")


def test_a_clock_set_back_by_hours_does_not_lead_into_the_past() -> None:
    # Juneau's clock went from 2:00 back to 0:00; robfig/cron answers with the first 1:00.
    schedule = parse("0 1 * * *", zone="America/Juneau")
    second_half_past_midnight = instant("America/Juneau", "1983-10-30T00:30", fold=1)

    assert schedule.next(second_half_past_midnight) == second_half_past_midnight + 1800


# ---- what never fires ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        "0 0 30 2 *",
        "0 0 31 2,4,6,9,11 *",
        ", * * * *",
        "0 0 , * ,",
        "0 0 30 2 ,",
        ",,, 0 0 1 1 *",
        "0 0 1 , *",
        "0 0 * * ,",
    ],
)
def test_an_impossible_time_is_known_without_searching(spec: str) -> None:
    schedule = parse(spec)

    assert schedule.never
    assert schedule.next(0) is None
    assert list(schedule.ticks(0, 1e18)) == []
    # No calendar reaches there, so none was asked.
    assert schedule.next(1e18) is None


@pytest.mark.parametrize("spec", ["0 0 29 2 *", "0 0 30 2 1", "0 0 , * 1", "0 0 31 2,3 *", "* * * * *", "@every 9999h"])
def test_a_rare_time_is_not_taken_for_an_impossible_one(spec: str) -> None:
    schedule = parse(spec)

    assert not schedule.never
    assert schedule.next(0) is not None


EMPTY_OR = st.just(EMPTY)


@settings(deadline=None)
@given(
    st.builds(
        Spec,
        EMPTY_OR | SECONDS,
        EMPTY_OR | fields(0, 59),
        EMPTY_OR | fields(0, 23),
        EMPTY_OR | st.sampled_from([Field("30,31", frozenset([30, 31]), star=False), STAR_DAY]) | DAYS,
        EMPTY_OR | st.just(Field("2", frozenset([2]), star=False)) | ALL_MONTHS,
        EMPTY_OR | st.just(STAR_WEEKDAY) | ALL_WEEKDAYS,
    )
)
def test_what_never_fires_is_what_no_calendar_has(spec: Spec) -> None:
    has_time = bool(spec.second.values and spec.minute.values and spec.hour.values)

    assert parse(spec.text).never == (not (has_time and any(map(spec.includes_day, TWENTY_EIGHT_YEARS))))


# After 28 years the weekdays come round: all that a calendar can hold is in there.
TWENTY_EIGHT_YEARS = [date(2000, 1, 1) + timedelta(days=day) for day in range(28 * 366)]


def test_nothing_is_found_beyond_the_fifth_year() -> None:
    # Given: no leap day between 2096 and 2104
    schedule = parse("0 0 29 2 *")

    assert schedule.next(instant("UTC", "2096-03-01")) is None
    assert schedule.next(instant("UTC", "2099-01-01")) == instant("UTC", "2104-02-29")


def test_beyond_the_calendar_there_is_an_error_and_no_endless_search() -> None:
    with pytest.raises(ValueError, match="year"):
        parse("0 0 * * *").next(1e12)


# ---- @every and ticks ------------------------------------------------------------------------------------------------


def test_every_counts_from_the_given_instant_on_whole_seconds() -> None:
    schedule = parse("@every 90s")

    assert schedule.every == 90
    assert schedule.next(1000.75) == 1090


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [("@every 1h30m", 5400), ("@every 1500ms", 1), ("@every 2.999s", 2), ("@every -5h", 1), ("@every 0", 1)],
)
def test_every_is_cut_to_whole_seconds_and_never_less_than_one(spec: str, seconds: float) -> None:
    assert parse(spec).every == seconds


def test_other_expressions_have_no_period() -> None:
    assert parse("@hourly").every is None


@given(st.integers(1, 10**6), st.floats(0, 4e9), st.floats(0, 4e9))
def test_every_ticks_at_the_same_instants_in_all_processes(period: int, one: float, other: float) -> None:
    # Given two processes that begin to look at different moments
    schedule = parse(f"@every {period}s")
    end = max(one, other) + 3 * period

    # When both look as far as the same moment
    mine = set(schedule.ticks(end - 5 * period, end))
    theirs = set(schedule.ticks(end - 3 * period, end))

    # Then they see the same ticks: the multiples of the period
    assert theirs == {tick for tick in mine if tick > end - 3 * period}
    assert all(tick % period == 0 for tick in mine)
    assert len(theirs) in (2, 3)


@pytest.mark.parametrize("spec", ["* * * * *", "@every 60s"])
def test_ticks_exclude_both_ends(spec: str) -> None:
    schedule = parse(spec)

    assert list(schedule.ticks(60, 240)) == [120, 180]
    assert list(schedule.ticks(59.9, 240.1)) == [60, 120, 180, 240]
    assert list(schedule.ticks(60, 120)) == []
    assert list(schedule.ticks(240, 60)) == []


@given(SPECS, st.floats(946684800, 4102444800), st.integers(1, 40), st.sampled_from(ZONES[::40]))
@settings(deadline=None)
def test_ticks_are_one_next_time_after_another(spec: Spec, after: float, count: int, zone: str) -> None:
    schedule = parse(spec.text, zone=zone)

    ticks = list(islice(schedule.ticks(after, after + 30 * 86400), count))

    assert ticks == sorted(set(ticks))
    assert [schedule.next(before) for before in [after, *ticks][: len(ticks)]] == ticks


# ---- Go's durations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("+5s", 5),
        ("1h2m3.5s", 3723.5),
        ("-1.5h", -5400),
        (".5s", 0.5),
        ("5.s", 5),
        ("1s1s", 2),
        ("007m", 420),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        ("100ns", 1e-7),
        ("0.9999999999s", 0.999999999),
        ("0.123456789012345678901234567890h", 444.444440444),
        ("-9223372036854775808ns", -9223372036.854775808),
        ("2562047h47m16.854775807s", 9223372036.854775807),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert go_duration.seconds(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("s", 'time: invalid duration "s"'),
        (".s", 'time: invalid duration ".s"'),
        (" 5s", 'time: invalid duration " 5s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1..5s", 'time: missing unit in duration "1..5s"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("5S", 'time: unknown unit "S" in duration "5S"'),
        ("5s ", 'time: unknown unit "s " in duration "5s "'),
        ("5é", 'time: unknown unit "\\xc3\\xa9" in duration "5\\xc3\\xa9"'),
        ('5"\\\n', 'time: unknown unit "\\"\\\\\\x0a" in duration "5\\"\\\\\\x0a"'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("2562048h", 'time: invalid duration "2562048h"'),
        ("2562047h1h", 'time: invalid duration "2562047h1h"'),
        ("99999999999999999999x", 'time: invalid duration "99999999999999999999x"'),
    ],
)
def test_a_bad_duration_is_refused_in_go_s_words(text: str, message: str) -> None:
    with pytest.raises(go_duration.DurationError) as refusal:
        go_duration.seconds(text)

    assert str(refusal.value) == message
