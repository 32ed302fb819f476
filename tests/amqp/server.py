"""What another program on the same RabbitMQ does: pika, without any of our code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A channel of a connection of its own."""
    connection = pika.BlockingConnection(pika.URLParameters(url.rstrip("/") + "/%2F"))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
    finally:
        if connection.is_open:
            connection.close()


def put(url: str, queue: str, body: bytes, **properties: Any) -> None:
    """Declare the queue as Go's adapter does, and put a message into it."""
    with connected(url) as channel:
        channel.queue_declare(queue, durable=True)
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2, **properties), mandatory=True)


def got(url: str, queue: str) -> list[tuple[Any, bytes]]:
    """(properties, body) of all messages, which are gone then."""
    found = []
    with connected(url) as channel:
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                return found
            found.append((properties, body))
