"""What jobs did in numbers: how they are counted, added up, and read."""

from __future__ import annotations

import time

import pytest

from engine_bench import until
from worksong import Job
from worksong.domain.job import Delivery, new_id
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.domain.tally import BOUNDS, BUCKETS, ENDINGS, OTHER, UNKNOWN, Spread, total
from worksong.engine import board as boards
from worksong.engine import lag as lags
from worksong.engine import measures
from worksong.engine.board import Board
from worksong.engine.census import FRESH, Census
from worksong.engine.lag import Lag
from worksong.engine.measures import Measures, entries, tallied
from worksong.ports.backend import Running

T = 1_000_000.0
OUTCOMES = (Done(), Retried(T, "no"), Buried("no"), Discarded("no"), Snoozed(T), Released())


def a_run(handler: str = "send", *, queue: str = "default", waited: float = 0.0) -> Running:
    """A job that was begun at T."""
    return Running(Delivery(Job(handler, id=new_id(), queue=queue, enqueued_at=T - waited), None, 1), 0, T)


def spread(**counts: int) -> Spread:
    """Durations by bucket: b3=5 are five in the fourth."""
    return Spread(1.0, tuple(counts.get(f"b{place}", 0) for place in range(BUCKETS)))


# read


@pytest.mark.parametrize(
    ("durations", "share", "expected"),
    [
        (spread(), 0.5, None),
        (spread(b0=1), 1.0, BOUNDS[0]),
        (spread(b0=10), 0.5, BOUNDS[0] / 2),
        (spread(b0=1, b5=1), 1.0, BOUNDS[5]),
        (spread(b5=4), 0.25, BOUNDS[4] + (BOUNDS[5] - BOUNDS[4]) / 4),
        (spread(b5=4), 0.0, BOUNDS[4]),
        (spread(b0=1, b16=99), 0.99, BOUNDS[-1]),
    ],
)
def test_a_quantile_lies_within_its_bucket(durations: Spread, share: float, expected: float | None) -> None:
    found = durations.quantile(share)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_tallies_add_up_and_are_taken_apart_again() -> None:
    # Given what two processes counted
    one, two = Board(), Board()
    one.note(a_run(waited=0.2), Done(), T + 3)
    two.note(a_run(waited=0.2), Buried("no"), T + 0.01)
    (first,), (second,) = one.tallies().values(), two.tallies().values()

    # When they are added, then all of it is there
    both = total([first, second])
    assert (both.ended(), both.ended("done"), both.failed) == (2, 1, 1)
    assert both.ran.seconds == pytest.approx(3.01)
    assert both.waited.count == 2

    # And what is taken away again leaves the rest
    assert (both - first).ended("dead") == 1
    assert not both - first - second


# counted


def test_each_kind_of_ending_is_counted_as_such() -> None:
    board = Board()
    for outcome in OUTCOMES:
        board.note(a_run(), outcome, T + 1)
    (tally,) = board.by_handler().values()
    assert [tally.ended(kind) for kind in ENDINGS] == [1] * 6
    # And a run that was cut short tells nothing of how long its jobs take
    assert (tally.ended(), tally.ran.count) == (5, 5)


def test_a_clock_that_was_set_takes_no_time_away() -> None:
    board = Board()
    board.note(a_run(waited=-5), Done(), T - 7)
    (tally,) = board.by_handler().values()
    assert (tally.ran.seconds, tally.waited.seconds) == (0.0, 0.0)


def test_a_job_that_does_not_tell_since_when_it_waits_has_not_waited() -> None:
    board = Board()
    board.note(Running(Delivery(Job("send", id="1"), None, 1), 0, T), Done(), T)
    (tally,) = board.by_handler().values()
    assert (tally.ran.count, tally.waited.count) == (1, 0)


def test_strays_of_all_names_are_one_kind() -> None:
    board = Board()
    for _ in range(3):
        board.note_stray(Buried("stray"))
    assert board.by_handler()[UNKNOWN].ended("dead") == 3


def test_queues_without_end_are_one_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST", 3)
    board = Board()
    for number in range(10):
        board.note(a_run(queue=f"q{number}"), Done(), T)
    assert sorted(board.tallies()) == [("send", OTHER), ("send", "q0"), ("send", "q1"), ("send", "q2")]
    assert board.by_handler()["send"].ended() == 10


# one process, and several


def block(seconds: float) -> None:
    """Keep the event loop from its turns."""
    time.sleep(seconds)


async def test_a_blocked_loop_tells_of_itself_while_it_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a loop that should tick every hundredth of a second
    monkeypatch.setattr(lags, "EVERY", 0.01)
    lag = Lag()
    lag.start()
    # When it is blocked, then that can be read meanwhile, and until a tick that came in time
    block(0.2)
    assert lag.seconds >= 0.18
    await until(lambda: lag.seconds < 0.18)
    # And a loop that runs no jobs any more is not late
    lag.stop()
    assert lag.seconds == 0.0


def counted(outcome: Outcome, times: int, *, life: str) -> Measures:
    """What a process says that has ended so many jobs."""
    board = Board()
    for _ in range(times):
        board.note(a_run(), outcome, T)
    return Measures(life=life, entries=entries(board.tallies()), running={"send": 1}, slots=4)


def done(census: Census) -> int:
    return sum(tally.ended("done") for tally in tallied(census.measures).values())


def test_counts_outlive_the_process_that_counted_them() -> None:
    # Given two processes that report again and again
    now = T
    census = Census(lambda: now)
    census.hear(1, counted(Done(), 3, life="a"))
    census.hear(2, counted(Done(), 5, life="b"))
    census.hear(1, counted(Done(), 7, life="a"))
    assert done(census) == 12

    # When one is replaced by another, twice, then its counts stay
    census.hear(1, counted(Done(), 1, life="c"))
    census.hear(1, counted(Done(), 2, life="d"))
    assert done(census) == 5 + 7 + 1 + 2
    assert sum(one.slots for one in census.measures) == 8

    # And of those that say nothing any more, nothing is known but these, and how long they have been silent
    now += FRESH + 1
    assert done(census) == 15
    assert sum(one.slots for one in census.measures) == 0
    assert [one.lag for one in census.measures] == [FRESH + 1, FRESH + 1, 0.0]

    # And who has ended is not silent
    census.leave(1)
    census.leave(2)
    census.leave(2)
    assert done(census) == 15
    assert max(one.lag for one in census.measures) == 0.0


def test_lives_without_end_keep_no_more_queues_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process that is restarted again and again, and meets other queues each time
    monkeypatch.setattr(measures, "MOST", 3)
    census = Census(lambda: T)
    for number in range(10):
        board = Board()
        board.note(a_run(queue=f"q{number}"), Done(), T)
        census.hear(1, Measures(life=str(number), entries=entries(board.tallies())))
    census.leave(1)
    # Then the first queues are told apart, and all is counted
    assert sorted(tallied(census.measures)) == [("send", OTHER), ("send", "q0"), ("send", "q1"), ("send", "q2")]
    assert done(census) == 10
