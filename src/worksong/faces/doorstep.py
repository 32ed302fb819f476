"""Who stands at the door of a server and says nothing, or never comes to the point, is shut out.

uvicorn waits for the head of a request for ever, and counts who keeps it waiting among those it has room for: a few
silent connections could shut a server for all others.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any, cast

PATIENCE = 10.0
"""Seconds in which the head of a request must have come."""
LARGEST = 1 << 14
"""Bytes of the head of a request."""


@cache
def doorstep(patience: float = PATIENCE) -> type[asyncio.Protocol]:
    """For `uvicorn.Config(http=...)`: its protocol, which hangs up on whoever takes longer than `patience` seconds."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class Doorstep(cast("Any", AutoHTTPProtocol)):  # type: ignore[misc]  # of two, whichever is installed
        """`cycle` is the request that is under way, once its head is there."""

        _alarm: asyncio.TimerHandle | None = None
        _said = 0

        def connection_made(self, transport: asyncio.Transport) -> None:
            served: Any = super()
            served.connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            self._said += len(data)
            served: Any = super()
            served.data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._calm()
            elif self._said > LARGEST:
                self.transport.close()
            elif self._alarm is None:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._calm()
            served: Any = super()
            served.connection_lost(exc)

        def _wait(self) -> None:
            self._alarm = asyncio.get_running_loop().call_later(patience, self.transport.close)

        def _calm(self) -> None:
            self._said = 0
            if self._alarm:
                self._alarm.cancel()
                self._alarm = None

    return cast("type[asyncio.Protocol]", Doorstep)
