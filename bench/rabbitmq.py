"""RabbitMQ of the bench: a server of its own, and those who enqueue there with confirmations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import pika
from msgspec.structs import replace
from tests import servers

from bench.processes import cpu_seconds, family
from bench.server import Used
from bench.system import PythonSystem

QUEUES = ("async", "plain", "stamp", "default", "default.DQ", "default.XQ")
"""Of all who are measured here."""
BULK = "bulk"
"""How jobs are enqueued: as many as there are, the server confirms each, and everybody does that as fast as it can."""
Kept: TypeAlias = dict[str, list[tuple[Any, bytes]]]
"""Queue -> properties and body of its messages."""


class Rabbitmq:
    """A running RabbitMQ: durable queues, persistent messages."""

    one_core = False

    def __init__(self, server: servers.Broker) -> None:
        self._server, self.url = server, server.url

    def version(self) -> str:
        return f"RabbitMQ {self._server.ask('rabbit_misc:version()')}"

    def empty(self) -> None:
        self.put_back({})

    def keep(self) -> Kept:
        """Takes them out: whoever keeps something puts it back."""
        with self._connected() as connection:
            return {queue: _taken(connection.channel(), queue) for queue in _there(connection)}

    def put_back(self, kept: Kept) -> None:
        with self._connected() as connection:
            for queue in _there(connection):
                _filled(connection.channel(), queue, kept.get(queue, []))

    def used(self) -> Used:
        return Used(None, sum(map(cpu_seconds, family([self._server.pid]))))

    def pin(self, core: int | None) -> None:
        """Left to the system: a server is many threads."""

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        connection: Any = pika.BlockingConnection(pika.URLParameters(f"{self.url}%2F"))
        try:
            yield connection
        finally:
            connection.close()


def _there(connection: Any) -> list[str]:
    """The queues that somebody has declared."""
    found: list[str] = []
    for queue in QUEUES:
        with contextlib.suppress(pika.exceptions.ChannelClosedByBroker):
            connection.channel().queue_declare(queue, passive=True)
            found.append(queue)
    return found


def _taken(channel: Any, queue: str) -> list[tuple[Any, bytes]]:
    left = channel.queue_declare(queue, passive=True).method.message_count
    found: list[tuple[Any, bytes]] = []
    if left:
        for _, properties, body in channel.consume(queue, auto_ack=True):
            found.append((properties, body))
            if len(found) == left:
                break
        channel.cancel()
    return found


def _filled(channel: Any, queue: str, messages: list[tuple[Any, bytes]]) -> None:
    """On the disk before anybody is measured: the last one is confirmed."""
    channel.queue_purge(queue)
    for number, (properties, body) in enumerate(messages, 1):
        if number == len(messages):
            channel.confirm_delivery()
        channel.basic_publish("", queue, body, properties)


class Publisher(PythonSystem):
    """One that enqueues in one way only: as fast as it can while the server confirms every job."""

    def __init__(self, name: str, server: Rabbitmq, *, seconds: float) -> None:
        self._fastest = BULK
        super().__init__(name, server, seconds=seconds)
        self._fastest = BULK if BULK in self.description.ways else "one"
        self.description = replace(self.description, ways=[BULK])

    def enqueue(self, how: str, kind: str) -> float:
        return super().enqueue(self._fastest, kind)

    def _ask(self, *order: str) -> bytes:
        return super()._ask(*(self._fastest if word == BULK else word for word in order))
