"""What a connection brings: jobs are read here, a whole message at a time; all else is left to pika, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple, TypeAlias, cast

import pika  # pyright: ignore[reportMissingTypeStubs]

from worksong.adapters.amqp.frames import Incoming

_InvalidFrame: type[Exception] = cast("Any", pika).exceptions.InvalidFrameError
Heard: TypeAlias = Callable[[int, bool, Incoming, bytes], None]
"""Is told of a message: its delivery tag, whether it was delivered before, properties and body."""

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_KINDS = frozenset({_METHOD, _HEADER, _BODY, _HEARTBEAT})
_HEAD = Struct(">BHI")
"""How a frame begins: its kind, its channel, the size of what it carries."""
_END = 0xCE
"""The byte that ends it."""
_GREETING, _SPOKEN = b"AMQP", b"\x00\x00\x09\x01"
OTHER_VERSION = "the server does not speak AMQP 0-9-1, and asks for the protocol"
_DELIVER = bytes((0, 60, 0, 60))
"""Class and method of a delivery."""
_TAG, _BODY_SIZE = Struct(">QB"), Struct(">Q")
_PROPERTIES_AT = 12
"""Where they begin in a header: behind class, weight and the size of the body."""
LARGEST = 1 << 17
"""Bytes of a frame, at most: what pika and the server agree on."""


class Reader:
    """Stands where pika takes what came from the socket."""

    def __init__(self, raw: Any) -> None:
        """`raw`: pika's connection."""
        self._raw = raw
        self._rest = b""
        self.channels: dict[int, dict[bytes, Heard]] = {}
        """Number of a channel -> tag of a consumer -> who is told of what is delivered to it."""

    def feed(self, data: bytes) -> None:
        """These bytes came. Raises if they are no frames, and thereby ends the connection."""
        self._raw.bytes_received += len(data)
        data, at = self._rest + data, 0
        while frame := _frame(data, at):
            after = frame.end + 1
            consumers = self.channels.get(frame.channel)
            if consumers and frame.kind == _METHOD and data.startswith(_DELIVER, frame.begin):
                content = _content(data, after, frame.channel)
                if content is None:
                    break
                if content.body is not None and _told(consumers, data, frame.begin + len(_DELIVER), content):
                    at = content.after
                    continue
            self._leave(data[at:after])
            at = after
        self._rest = data[at:]

    def _leave(self, frame: bytes) -> None:
        """To pika."""
        raw = self._raw
        raw._frame_buffer = frame
        _, read = raw._read_frame()
        raw._frame_buffer = b""
        raw._process_frame(read)


class _Content(NamedTuple):
    """What stands behind a delivery: its header and its body."""

    properties: bytes
    body: bytes | None
    """None: it comes in several frames."""
    after: int
    """Where the next frame begins."""


_SPLIT = _Content(b"", None, 0)


def _content(data: bytes, at: int, channel: int) -> _Content | None:
    """None: it is not all there yet."""
    header = _frame(data, at)
    if header is None:
        return None
    if header.kind != _HEADER or header.channel != channel:
        return _SPLIT
    properties = data[header.begin + _PROPERTIES_AT : header.end]
    (length,) = _BODY_SIZE.unpack_from(data, header.begin + 4)
    if not length:
        return _Content(properties, b"", header.end + 1)
    body = _frame(data, header.end + 1)
    if body is None:
        return None
    if body.kind != _BODY or body.channel != channel or body.end - body.begin != length:
        return _SPLIT
    return _Content(properties, data[body.begin : body.end], body.end + 1)


class _Frame(NamedTuple):
    """What a frame carries is from `begin` up to `end`."""

    kind: int
    channel: int
    begin: int
    end: int


def _frame(data: bytes, at: int) -> _Frame | None:
    """The one that begins there, if it is all there."""
    begin = at + _HEAD.size
    if begin > len(data):
        return None
    kind, channel, size = _HEAD.unpack_from(data, at)
    end = begin + size
    there = end < len(data)
    if kind not in _KINDS or size > LARGEST or (there and data[end] != _END):
        if data.startswith(_GREETING, at):
            raise _InvalidFrame(_versions(data[at + 4 : at + 8]))
        raise _InvalidFrame(f"the server sent {data[at : at + 20]!r}, which is no frame")
    return _Frame(kind, channel, begin, end) if there else None


def _versions(wanted: bytes) -> str:
    """What a server means that answers a greeting with one of its own, and hangs up."""
    if wanted == _SPOKEN:
        return "the server did not understand what it was greeted with"
    return f"{OTHER_VERSION} {'.'.join(map(str, wanted))}"


def _told(consumers: dict[bytes, Heard], data: bytes, at: int, content: _Content) -> bool:
    """Whether there is somebody to tell; pika knows what to do with a message for nobody."""
    begin = at + 1
    end = begin + data[at]
    heard = consumers.get(data[begin:end])
    if heard is None:
        return False
    tag, again = _TAG.unpack_from(data, end)
    heard(tag, bool(again), Incoming(content.properties, 0), content.body or b"")
    return True
