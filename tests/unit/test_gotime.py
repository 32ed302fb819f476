"""Times as Go reads and writes them: what Valet's clients send, and what they are told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worksong.wire.gotime import LAYOUT, parse, write

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOON = datetime(2022, 6, 6, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "written", "at"),
    [
        ("2022-06-06T12:00:00Z", "2022-06-06T12:00:00Z", NOON),
        ("2022-06-06T12:00:00.500Z", "2022-06-06T12:00:00.5Z", NOON + 0.5),
        ("2022-06-06T12:00:00,25Z", "2022-06-06T12:00:00.25Z", NOON + 0.25),
        ("2022-06-06T12:00:00.1234567891Z", "2022-06-06T12:00:00.123456789Z", NOON + 0.123456789),
        ("2022-06-06T12:00:00.000Z", "2022-06-06T12:00:00Z", NOON),
        ("2022-06-06T14:00:00+02:00", "2022-06-06T14:00:00+02:00", NOON),
        ("2022-06-06T06:30:00-05:30", "2022-06-06T06:30:00-05:30", NOON),
        ("2022-06-06T12:00:00+00:00", "2022-06-06T12:00:00Z", NOON),
        ("2022-06-06T9:00:00Z", "2022-06-06T09:00:00Z", NOON - 3 * 3600),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC).timestamp()),
        ("0000-02-29T00:00:00Z", "0000-02-29T00:00:00Z", -62_162_121_600.0),
    ],
)
def test_what_go_reads_is_read_and_written_as_go_writes_it(text: str, written: str, at: float) -> None:
    moment = parse(text)
    assert moment.text == written
    assert moment.at == pytest.approx(at, abs=1e-6)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "0001-01-01T01:00:00+01:00"])
def test_the_first_second_of_year_one_means_no_time(text: str) -> None:
    assert parse(text).is_zero


@pytest.mark.parametrize(
    ("text", "rest", "place"),
    [
        ("2022-06-06T15:04:05.999", "", "Z07:00"),
        ("2022-06-06T15:04:05", "", "Z07:00"),
        ("2022-06-06", "", "T"),
        ("2022-06-06 15:04:05Z", " 15:04:05Z", "T"),
        ("", "", "2006"),
        ("tomorrow", "tomorrow", "2006"),
        ("202", "202", "2006"),
        ("2022-6-06T15:04:05Z", "6-06T15:04:05Z", "01"),
        ("2022-06-6T15:04:05Z", "6T15:04:05Z", "02"),
        ("2022-06-06T15:4:05Z", "4:05Z", "04"),
        ("2022-06-06T15:04Z", "Z", ":"),
        ("2022-06-06T15:04:05+0200", "+0200", "Z07:00"),
        ("2022-06-06T15:04:05z", "z", "Z07:00"),
    ],
)
def test_what_does_not_fit_is_told_in_gos_words(text: str, rest: str, place: str) -> None:
    with pytest.raises(ValueError, match="parsing time") as refused:
        parse(text)
    assert str(refused.value) == f'parsing time "{text}" as "{LAYOUT}": cannot parse "{rest}" as "{place}"'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2022-13-06T15:04:05Z", "month out of range"),
        ("2022-00-06T15:04:05Z", "month out of range"),
        ("2022-02-30T15:04:05Z", "day out of range"),
        ("2023-02-29T15:04:05Z", "day out of range"),
        ("2022-06-00T15:04:05Z", "day out of range"),
        ("2022-06-06T24:04:05Z", "hour out of range"),
        ("2022-06-06T15:60:05Z", "minute out of range"),
        ("2022-06-06T15:04:60Z", "second out of range"),
        ("2022-06-06T15:04:05+25:00", "time zone offset hour out of range"),
        ("2022-06-06T15:04:05+02:61", "time zone offset minute out of range"),
        ("2022-06-06T15:04:05Zulu", 'extra text: "ulu"'),
    ],
)
def test_what_cannot_be_is_told_in_gos_words(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="parsing time") as refused:
        parse(text)
    assert str(refused.value) == f'parsing time "{text}": {why}'


def test_quotes_backslashes_and_bytes_are_escaped_as_go_does() -> None:
    with pytest.raises(ValueError, match="parsing time") as refused:
        parse('"\\\n\u00e9')
    assert '"\\"\\\\\\x0a\\xc3\\xa9"' in str(refused.value)


@PATIENT
@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_what_is_written_can_be_read(when: datetime) -> None:
    text = write(when.timestamp())
    assert text.endswith("Z")
    assert not text.endswith(("0Z", ".Z")) or "." not in text
    assert parse(text).text == text
    assert parse(text).at == pytest.approx(when.timestamp(), abs=1e-6)


@PATIENT
@given(st.text(max_size=40))
def test_whatever_is_sent_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except ValueError as refused:
        assert str(refused).startswith("parsing time ")
