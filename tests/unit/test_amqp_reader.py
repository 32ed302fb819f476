"""Frames of RabbitMQ: jobs are read whole, however the bytes come; all else reaches pika as it was."""

from __future__ import annotations

from functools import partial
from typing import Any

import pika
import pika.exceptions
import pytest
from pika import frame, spec

from worksong.adapters.amqp.frames import Incoming, Outgoing, read_frame
from worksong.adapters.amqp.reader import Heard, Reader
from worksong.wire.amqp_table import encode_properties

CHANNEL = 3
PROPERTIES = encode_properties({"x-job-attempt": 2}, "the id", 17, "send")


class Pika:
    """What a reader leaves to pika's connection."""

    def __init__(self) -> None:
        self.bytes_received = 0
        self.frames: list[Any] = []
        self._frame_buffer = b""
        self._read_frame = partial(read_frame, self, lambda: frame.decode_frame(self._frame_buffer))

    def _process_frame(self, read: Any) -> None:
        self.frames.append(read)


class Ear:
    """A consumer."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, bool, str | None, bytes]] = []

    def __call__(self, tag: int, again: bool, properties: Incoming, body: bytes) -> None:
        self.heard.append((tag, again, properties.read.message_id, body))


def listening(tag: bytes = b"mine") -> tuple[Pika, Ear, Reader]:
    raw, ear = Pika(), Ear()
    reader, consumers = Reader(raw), dict[bytes, Heard]()
    consumers[tag] = ear
    reader.channels[CHANNEL] = consumers
    return raw, ear, reader


def delivery(tag: int, *bodies: bytes, consumer: str = "mine", again: bool = False) -> list[bytes]:
    """The frames of one message; several bodies: one that comes in pieces."""
    head = frame.Method(CHANNEL, spec.Basic.Deliver(consumer, tag, again, "", "send")).marshal()
    header = frame.Header(CHANNEL, sum(map(len, bodies)), Outgoing(PROPERTIES)).marshal()
    return [head, header, *(frame.Body(CHANNEL, body).marshal() for body in bodies if body)]


BEAT = frame.Heartbeat().marshal()


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 50, 100, 1000])
def test_messages_are_read_whole_however_their_bytes_come(size: int) -> None:
    # Given three messages, one without a body, and a sign of life between them
    raw, ear, reader = listening()
    sent = b"".join([*delivery(1, b'{"n":1}'), *delivery(2, b"", again=True), BEAT, *delivery(3, b"x" * 300)])
    # When their bytes come in pieces
    for at in range(0, len(sent), size):
        reader.feed(sent[at : at + size])
    # Then whoever consumes is told of each, and pika of the rest
    assert ear.heard == [(1, False, "the id", b'{"n":1}'), (2, True, "the id", b""), (3, False, "the id", b"x" * 300)]
    assert [type(read) for read in raw.frames] == [frame.Heartbeat]
    assert raw.bytes_received == len(sent)


@pytest.mark.parametrize("size", [1, 64, 10_000])
def test_what_is_not_read_here_reaches_pika_frame_by_frame(size: int) -> None:
    # Given a body in two frames, a message for a consumer that is gone, one of another channel, and one for us
    raw, ear, reader = listening()
    foreign = frame.Method(CHANNEL + 1, spec.Basic.Deliver("mine", 9, False, "", "send")).marshal()
    left = [*delivery(1, b"one", b"two"), *delivery(2, b"late", consumer="gone"), foreign]
    sent = b"".join([*left, *delivery(4, b"{}")])
    # When they come
    for at in range(0, len(sent), size):
        reader.feed(sent[at : at + size])
    # Then pika has all frames of the first ones, in their order
    kinds = [frame.Method, frame.Header, frame.Body]
    assert [type(read) for read in raw.frames] == [*kinds, frame.Body, *kinds, frame.Method]
    assert [read.fragment for read in raw.frames if isinstance(read, frame.Body)] == [b"one", b"two", b"late"]
    assert ear.heard == [(4, False, "the id", b"{}")]


def test_frames_of_another_channel_within_a_message_leave_it_to_pika() -> None:
    raw, ear, reader = listening()
    method, header, body = delivery(1, b"{}")
    other = frame.Method(CHANNEL + 1, spec.Basic.QosOk()).marshal()
    reader.feed(method + other + header + other + body)
    assert [read.channel_number for read in raw.frames] == [CHANNEL, CHANNEL + 1, CHANNEL, CHANNEL + 1, CHANNEL]
    assert not ear.heard


def test_headers_that_cannot_be_read_spoil_their_message_alone() -> None:
    raw, _, reader = listening()
    wrong: list[str] = []
    reader.channels[CHANNEL][b"mine"] = lambda tag, again, properties, body: wrong.append(properties.wrong)
    broken = frame.Header(CHANNEL, 2, Outgoing(b"\x20\x00\xff\xff\xff\xff")).marshal()
    reader.feed(delivery(1, b"{}")[0] + broken + frame.Body(CHANNEL, b"{}").marshal())
    assert len(wrong) == 1
    assert wrong[0]
    assert not raw.frames


@pytest.mark.parametrize(
    "bytes_", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01" + b"\xff" * 10, b"\x09" * 40, b"\0" * 8, BEAT[:-1] + b"\0"]
)
def test_what_is_no_frame_ends_the_connection(bytes_: bytes) -> None:
    _, _, reader = listening()
    with pytest.raises(pika.exceptions.InvalidFrameError, match="no frame"):
        reader.feed(bytes_)
