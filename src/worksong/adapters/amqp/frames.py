"""Properties of messages on their way through pika: bytes as they are, read and written by our own codec."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, cast

import pika  # pyright: ignore[reportMissingTypeStubs]

from worksong.wire.amqp_table import Properties, Unreadable, decode_properties

_pika = cast("Any", pika)
_HEADER_AT = 7 + 12
"""Where a content header's properties begin: behind the frame's header, class, weight and size of the body."""


class Outgoing:
    """Properties that are bytes already, as pika takes them."""

    __slots__ = ("_raw",)
    INDEX = 60

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def encode(self) -> list[bytes]:
        return [self._raw]


class Incoming:
    """Properties as they came. Unreadable ones spoil their message, and not the connection."""

    __slots__ = ("read", "wrong")

    def __init__(self, raw: bytes, at: int) -> None:
        self.wrong = ""
        try:
            self.read = decode_properties(raw, at)
        except Unreadable as wrong:
            self.read, self.wrong = _NOTHING, str(wrong)


_NOTHING = Properties({}, None, None, "", "")


def read_frame(raw: Any, read: Callable[[], tuple[int, Any]]) -> tuple[int, Any]:
    """In place of pika's own for headers: a foreign one that pika cannot read would end the connection, every time."""
    buffer: bytes = raw._frame_buffer
    if len(buffer) < _HEADER_AT or buffer[0] != _HEADER_FRAME:
        return read()
    channel, size = _FRAME.unpack_from(buffer, 1)
    end = 7 + size + 1
    if len(buffer) < end:
        return 0, None
    (body_size,) = _BODY_SIZE.unpack_from(buffer, 11)
    return end, _pika.frame.Header(channel, body_size, Incoming(buffer[_HEADER_AT : end - 1], 0))


_HEADER_FRAME = 2
_FRAME, _BODY_SIZE = Struct(">HI"), Struct(">Q")
