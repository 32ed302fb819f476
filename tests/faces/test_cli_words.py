"""Moments, durations, redaction and escapes: what is read and shown."""

from __future__ import annotations

import click
import pytest

from worksong.domain.names import one_line, wrong_with_namespace
from worksong.faces.cli.moments import duration, instant
from worksong.faces.cli.screen import clip
from worksong.service.moments import relative, span
from worksong.service.redaction import redacted, shown_url, without_logins


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("2m", 120), ("1h30m", 5400), ("500ms", 0.5), ("0", 0), ("7", 7), ("1.5", 1.5)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 s", "-5s", "-1", "nan", "inf", "5d"])
def test_what_is_no_duration_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 5s, 2m, 1h30m or 500ms"):
        duration(text)


def test_an_instant_needs_its_zone() -> None:
    assert instant("2030-12-24T18:00:00+01:00").timestamp() == 1924362000
    assert instant("2030-12-24T17:00:00Z").timestamp() == 1924362000
    with pytest.raises(click.BadParameter, match=r"write 2030-12-24T18:00:00Z for UTC"):
        instant("2030-12-24T18:00:00")
    with pytest.raises(click.BadParameter, match="no ISO 8601 time"):
        instant("tomorrow")


@pytest.mark.parametrize(
    ("at", "text"),
    [(1000, "now"), (1300, "in 5 min"), (820, "3 min ago"), (1000 + 5400, "in 1 h 30 min"), (0, "\u2013")],
)
def test_moments_are_told_from_now(at: float, text: str) -> None:
    assert relative(at, 1000) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0304, "30 ms"),
        (2.34, "2.3 s"),
        (45, "45 s"),
        (59.7, "1 min"),
        (61, "1 min 1 s"),
        (1800, "30 min"),
        (3599.9, "1 h"),
        (86400, "1 d"),
        (90000, "1 d 1 h"),
        (30 * 86400, "30 d"),
    ],
)
def test_durations_are_told_in_their_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:pw@host:6379/0", "redis://host:6379/0"),
        ("redis://:p@ss/w?rd@host/0", "redis://host/0"),
        ("redis://host/0?namespace=x&password=pw", "redis://host/0?namespace=x&password=***"),
        ("memory://", "memory://"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_arguments_that_sound_secret_are_hidden_however_deep() -> None:
    args = {"user": 1, "API_Token": "t", "deep": [{"password": {"a": 1}, "ok": None}], "u": "http://a:b@c/"}
    assert redacted(args) == {
        "user": 1,
        "API_Token": "***",
        "deep": [{"password": "***", "ok": None}],
        "u": "http://***@c/",
    }


def test_logins_vanish_from_texts() -> None:
    assert without_logins("at amqp://a:b@x/ and redis://:p@y") == "at amqp://***@x/ and redis://***@y"


@pytest.mark.parametrize("char", ["\n", "\r", "\x1b", "\x00", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\ud800"])
def test_nothing_that_a_terminal_obeys_is_printed(char: str) -> None:
    assert one_line(f"a{char}b").isprintable()
    assert one_line("Gr\u00fc\u00dfe \u2713") == "Gr\u00fc\u00dfe \u2713"


def test_long_texts_are_cut_with_a_mark() -> None:
    assert clip("x" * 10, 5) == "xxxx\u2026"
    assert clip("x" * 5, 5) == "xxxxx"


@pytest.mark.parametrize("name", ["", "work", "team:a", "work:", "{work}", "a{b}c"])
def test_namespaces_that_are_fine(name: str) -> None:
    assert wrong_with_namespace(name) == ""


@pytest.mark.parametrize("name", ["my app", "wo*k", "a\nb", "{a}{b}", "{}", "x" * 201])
def test_namespaces_that_cannot_be_are_refused_with_the_mend(name: str) -> None:
    assert "letters, digits and the characters" in wrong_with_namespace(name)
