"""The time an engine goes by: the store's, carried on by a clock that nobody sets."""

from __future__ import annotations

from worksong.ports.clock import Clock


class ServerTime:
    """This host's wall clock until a beat has told the store's time; from then on the store's.

    A wall clock that is wrong, or jumps, would queue what is not due and move every wait for a next try.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._monotonic = clock, clock.monotonic
        self._ahead: float | None = None
        """The store's clock minus our monotonic one, which no operator and no NTP sets."""

    def tell(self, server_now: float) -> None:
        """It is this late at the store."""
        self._ahead = server_now - self._clock.monotonic()

    def now(self) -> float:
        return self._clock.now() if self._ahead is None else self._monotonic() + self._ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
