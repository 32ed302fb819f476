"""How many jobs of RabbitMQ are read ahead."""

from __future__ import annotations

from worksong.adapters.amqp.pace import AHEAD, MOST, WINDOW, Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def paced(per_second: float, *, seconds: float = 1.0) -> tuple[Pace, Clock]:
    """Endings at this rate for so long."""
    clock = Clock()
    pace = Pace(clock)
    for _ in range(round(seconds / WINDOW)):
        clock.now += WINDOW
        pace.ended(round(per_second * WINDOW))
    return pace, clock


def test_what_ends_within_an_instant_is_read_ahead() -> None:
    pace, _ = paced(10_000)
    assert abs(pace.ahead - 10_000 * AHEAD) <= 2


def test_of_long_jobs_none_is_read_ahead() -> None:
    pace, _ = paced(20)
    assert pace.ahead == 0


def test_however_fast_they_are_no_more_than_so_many() -> None:
    pace, _ = paced(10_000_000)
    assert pace.ahead == MOST


def test_a_pause_ends_it() -> None:
    pace, clock = paced(10_000)
    clock.now += 60.0
    assert pace.ahead == 0
