"""A cork in a connection: what is written in one turn of the event loop goes out together, in one message."""

from __future__ import annotations

import asyncio
from typing import Any

MOST = 1 << 16
"""Bytes that are held back at most."""


class Cork:
    """A transport of bytes around another one. The head of an answer and its body are written one after the other, and
    to send them apart would cost a call of the system more, and wake whoever waits for them twice."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Send it before the loop turns; at once when that is much."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST:
            self._send()

    def close(self) -> None:
        """Send what was written, and hang up."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        held, self._held, self._size = self._held, [], 0
        if held and not self._transport.is_closing():  # whoever it was for may have left within this turn
            self._transport.write(b"".join(held))

    def __getattr__(self, name: str) -> Any:
        """Everything else is as without it."""
        return getattr(self._transport, name)
