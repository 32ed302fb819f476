"""An engine's time is the store's, and no jump of this host's clock moves it."""

from __future__ import annotations

from worksong.engine.servertime import ServerTime
from worksong.ports.clock import SystemClock


class Wall(SystemClock):
    """A wall clock that can be set, beside a monotonic one that only goes on."""

    def __init__(self) -> None:
        self.wall, self.passed = 1000.0, 5.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.passed


def test_before_the_store_has_told_its_time_the_wall_clock_counts() -> None:
    clock = Wall()
    time = ServerTime(clock)
    clock.wall += 7
    assert time.now() == 1007.0


def test_a_wall_clock_that_jumps_moves_nothing_once_the_store_has_told_its_time() -> None:
    # Given a store that is five minutes ahead
    clock = Wall()
    time = ServerTime(clock)
    time.tell(1300.0)
    # When two seconds pass, and the wall clock is set to tomorrow and then to last year
    clock.passed += 2
    seen = []
    for wall in (86400.0, -365 * 86400.0):
        clock.wall = wall
        seen.append(time.now())
    # Then it is two seconds later
    assert seen == [1302.0, 1302.0]
