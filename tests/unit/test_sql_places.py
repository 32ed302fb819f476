"""Numbers drawn from the time: in order within a process, whatever the clock does."""

from __future__ import annotations

from worksong.adapters.sql.places import NEVER_BACK, Numbers

T = 1_700_000_000.0


def test_numbers_of_one_moment_follow_one_another() -> None:
    numbers = Numbers()
    assert [*numbers.take(3, T), *numbers.take(2, T)] == list(range(int(T * 1e6), int(T * 1e6) + 5))


def test_later_numbers_are_greater() -> None:
    numbers = Numbers()
    first = numbers.take(1000, T)
    assert numbers.take(1, T + 0.0001)[0] == first[-1] + 1
    assert numbers.take(1, T + 1)[0] == int((T + 1) * 1e6)


def test_places_follow_a_clock_that_is_stepped_back_and_do_not_wait_behind_everybody() -> None:
    places = Numbers()
    places.take(1, T + 3600)
    assert places.take(1, T)[0] == int(T * 1e6)


def test_fences_never_come_again_and_pass_the_last_one_of_the_job() -> None:
    fences = Numbers(NEVER_BACK)
    last = fences.take(1, T + 3600)[0]
    assert fences.take(1, T)[0] == last + 1
    assert fences.take(2, T, above=last + 100)[0] == last + 101
