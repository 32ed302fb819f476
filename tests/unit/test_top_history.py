"""What the dashboard knows of the last minutes."""

from __future__ import annotations

import pytest

from worksong.domain.lifecycle import State
from worksong.service.contact import Contact
from worksong.service.history import MOST, History, bars

WAITING = State.QUEUED


def seen(*counts: int, every: float = 2.0) -> History:
    history = History(every)
    for look, count in enumerate(counts):
        history.note(look * every, {WAITING: count})
    return history


def test_no_pace_is_told_from_a_single_look_or_a_few_seconds() -> None:
    assert History(2.0).per_minute(WAITING) is None
    assert seen(5).per_minute(WAITING) is None
    assert seen(5, 6, 7).per_minute(WAITING) is None


def test_the_pace_is_that_of_the_last_minute() -> None:
    rising = [0] * 100 + [10 * look for look in range(1, 31)]
    assert seen(*rising).per_minute(WAITING) == pytest.approx(300.0)


def test_a_count_that_falls_tells_when_nothing_is_left() -> None:
    history = seen(*range(100, 70, -1))
    assert history.per_minute(WAITING) == pytest.approx(-30.0)
    assert history.empty_in(WAITING) == pytest.approx(142.0)


@pytest.mark.parametrize("counts", [[5] * 10, range(10), [9]])
def test_a_count_that_does_not_fall_is_never_promised_to_end(counts: list[int]) -> None:
    assert seen(*counts).empty_in(WAITING) is None


def test_seldom_looking_still_tells_a_pace() -> None:
    assert seen(0, 60, 120, every=60.0).per_minute(WAITING) == pytest.approx(60.0)


def test_what_is_older_than_the_span_is_forgotten() -> None:
    history = seen(1000, *[1] * 400)
    assert max(count or 0 for count in history.course(WAITING, 800.0, 20)) == 1


def test_the_course_has_the_highest_count_of_each_part_and_nothing_where_nobody_looked() -> None:
    history = History(2.0)
    for at, count in ((200.0, 3), (202.0, 9), (204.0, 4), (298.0, 5)):
        history.note(at, {WAITING: count})
    course = history.course(WAITING, 300.0, 30)
    assert course[20] == 9
    assert course[29] == 5
    assert course[:20] + course[21:29] == [None] * 28


def test_looking_less_often_than_there_are_bars_leaves_no_holes() -> None:
    history = seen(*[7] * 200, every=2.0)
    assert None not in history.course(WAITING, 398.0, 280)


def test_bars_are_drawn_against_the_highest_and_one_job_is_seen() -> None:
    assert bars([None, 0, 1, 500, 1000]) == " \u2581\u2582\u2585\u2588"
    assert bars([0, 0]) == "\u2581\u2581"


def test_a_count_that_only_a_forger_would_write_is_drawn_all_the_same() -> None:
    history = seen(*[10**400] * 30)
    assert history.per_minute(WAITING) == 0
    assert set(history.course(WAITING, 58.0, 10)) <= {None, MOST}


def test_an_absence_is_measured_from_its_first_failure() -> None:
    contact = Contact()
    assert contact.made(1.0) is None
    contact.lost("no route", 5.0)
    contact.lost("refused", 9.0)
    assert (contact.away, contact.since, contact.error, contact.answered_at) == (True, 5.0, "refused", 1.0)
    assert contact.made(12.0) == 7.0
    assert not contact.away
