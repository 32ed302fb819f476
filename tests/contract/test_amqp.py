"""`amqp://` against the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pika
import pytest

from worksong.adapters.amqp import AmqpBackend
from worksong.adapters.amqp.address import Address
from worksong.adapters.amqp.names import Names
from worksong.domain.job import new_id
from worksong.ports.backend import Backend
from worksong.testing.contract import BackendContract

HOUR = 3_600_000


class Turned(AmqpBackend):
    """The server's clock cannot be turned. Here `promote` is that clock: it takes what is due out of the delay queue.

    There is one delay queue, in which nothing comes to its end while a test runs.
    """

    handlers = ("send", "call", "other")

    def _names(self, address: Address) -> Names:
        return Names(address.namespace, ladder=(HOUR,))

    async def promote(self, now: float, limit: int) -> int:
        await super().promote(now, limit)
        return await asyncio.to_thread(self._turn, now, limit)

    async def until_due(self, now: float, seconds: float) -> None:
        return

    def _turn(self, now: float, limit: int) -> int:
        address = self._address
        connection = pika.BlockingConnection(pika.ConnectionParameters(*address.nodes[0]))
        channel = connection.channel()
        due = []
        for handler in self.handlers:
            queue = self._queues.delay(handler, HOUR)
            try:
                channel.queue_declare(queue, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                channel = connection.channel()
                continue
            while True:
                method, properties, body = channel.basic_get(queue)
                if method is None:
                    break
                at = properties.headers["x-job-run-at"] / 1000
                if at <= now:
                    due.append((at, method.delivery_tag, handler, properties, body))
        due.sort(key=lambda one: one[0])
        for _, tag, handler, properties, body in due[:limit]:
            properties.headers["x-death"] = [{"time": _stamp(now), "queue": self._queues.delay(handler, HOUR)}]
            channel.basic_publish("", self._queues.queue(handler), body, properties)
            channel.basic_ack(tag)
        channel.close()
        connection.close()
        return len(due[:limit])


def _stamp(now: float):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(now), UTC)


class TestAmqp(BackendContract):
    @pytest.fixture
    async def backend(self, rabbitmq_url: str) -> AsyncIterator[AmqpBackend]:
        self.url, self.namespace = rabbitmq_url, new_id()
        backend = Turned(f"{rabbitmq_url}?namespace={self.namespace}")
        yield backend
        await backend.erase()
        await backend.close()

    def unreachable(self) -> Backend:
        return AmqpBackend("amqp://127.0.0.1:1/")
