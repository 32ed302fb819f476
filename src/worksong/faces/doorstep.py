"""Who stands at the door of a server and says nothing, or never comes to the point, is shut out.

uvicorn waits for the head of a request for ever, and counts who keeps it waiting among those it has room for: a few
silent connections could shut a server for all others.
"""

from __future__ import annotations

import asyncio
from functools import cache, partial
from typing import Any, cast

from worksong.faces.asgi.body import WHOLE
from worksong.faces.asgi.envelope import ENVELOPE
from worksong.faces.cork import Cork

PATIENCE = 10.0
"""Seconds in which the head of a request must have come."""
LARGEST = 1 << 14
"""Bytes of the head of a request."""


@cache
def doorstep(patience: float = PATIENCE) -> type[asyncio.Protocol]:
    """For `uvicorn.Config(http=...)`: its protocol, which hangs up on whoever takes longer than `patience` seconds."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    return on(AutoHTTPProtocol, patience)


def on(protocol: type[asyncio.Protocol], patience: float) -> type[asyncio.Protocol]:
    """The same of one of uvicorn's protocols."""

    class Doorstep(_Doorstep, cast("Any", protocol)):  # type: ignore[misc]  # of two, whichever is installed
        _patience = patience

    return cast("type[asyncio.Protocol]", Doorstep)


class _Doorstep:
    """Before the protocol, whose `cycle` is the request that is under way, once its head is there."""

    transport: Any
    cycle: Any
    scope: Any
    flow: Any
    _patience = PATIENCE
    _alarm: asyncio.TimerHandle | None = None
    _said = 0
    _headed = False
    """Of httptools: a head is there, and its body may be on its way."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        served: Any = super()
        served.connection_made(Cork(transport, asyncio.get_running_loop()))
        self._wait()

    def data_received(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            room = LARGEST + 1 - self._said  # a head that is too large must not be taken in as a whole
            self._take(data[:room])
            data = data[room:]

    def _take(self, data: bytes) -> None:
        self._said += len(data)
        served: Any = super()
        served.data_received(data)
        if self._in_body or (self.cycle is not None and not self.cycle.response_complete):
            self._calm()
        elif self._said > LARGEST:
            self.transport.close()
        elif self._alarm is None:
            self._wait()

    @property
    def _in_body(self) -> bool:
        """Whether what comes belongs to a request that is known, though it may have been answered."""
        h11: Any = getattr(self, "conn", None)
        return str(h11.their_state) == "SEND_BODY" if h11 else self._headed

    def on_headers_complete(self) -> None:
        """As httptools calls it."""
        served: Any = super()
        served.on_headers_complete()
        self._headed = True

    def on_message_complete(self) -> None:
        """As httptools calls it."""
        served: Any = super()
        served.on_message_complete()
        self._headed = False
        self.scope.setdefault("extensions", {}).update({WHOLE: {}, ENVELOPE: partial(self._send_at_once, self.cycle)})

    def _send_at_once(self, cycle: Any, head: bytes, body: bytes) -> bool:
        """What the cycle makes of two messages, each checked and written by itself, without looking at every header."""
        if cycle.response_started or cycle.disconnected or self.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        own = [b"%b: %b\r\n" % header for header in cycle.default_headers]
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((head, *own, end, body)))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        served: Any = super()
        served.connection_lost(exc)

    def _wait(self) -> None:
        self._alarm = asyncio.get_running_loop().call_later(self._patience, self.transport.close)

    def _calm(self) -> None:
        self._said = 0
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
