"""worksong on RabbitMQ, in the form of Buffalo's adapter, beside dramatiq's own broker for that server."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import pika
from msgspec.structs import replace
from tests import servers

from bench.environments import Refused
from bench.plan import Measuring
from bench.processes import cpu_seconds, family
from bench.results import Field, Subject
from bench.server import Used
from bench.system import Failed, PythonSystem

NAME = "RabbitMQ"
PEERS = ("dramatiq",)
QUEUES = ("async", "plain", "stamp", "default", "default.DQ", "default.XQ")
"""Of all who are measured here."""
CONFIRMED = "confirmed"
"""How jobs are enqueued: the server has confirmed each of them, and everybody does that as fast as it can."""
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
        super().__init__(name, server, seconds=seconds)
        self._fastest = "bulk" if "bulk" in self.description.ways else "one"
        self.description = replace(self.description, ways=[CONFIRMED])

    def enqueue(self, how: str, kind: str) -> float:
        return super().enqueue(self._fastest, kind)


def measure(peers: Sequence[str], rounds: int, seconds: float, *, quick: bool) -> Field | None:
    """None: there is no RabbitMQ here, which is said."""
    with contextlib.ExitStack() as stack:
        try:
            server = Rabbitmq(stack.enter_context(servers.rabbitmq()))
        except servers.Missing as missing:
            print(f"not measured: {missing}", file=sys.stderr)
            return None
        print(f"worksong on {NAME}", file=sys.stderr)
        worksong = Publisher("worksong", server, seconds=seconds)
        subjects, others = [_subject(worksong)], list[PythonSystem]()
        for name in PEERS:
            if name in peers:
                try:
                    others.append(Publisher(name, server, seconds=seconds))
                except (Refused, Failed) as reason:
                    subjects.append(Subject(name=name, absent=str(reason)))
        subjects += map(_subject, others)
        pairs = Measuring(worksong, others, subjects, quick=quick).carry_out(rounds, [worksong, *others])
        return Field(name=NAME, subjects=subjects, pairs=pairs)


def _subject(system: PythonSystem) -> Subject:
    found = system.description
    return Subject(name=system.name, versions=found.versions, promise=found.promise, setup=found.setup)
