"""A backend whose server's clock is turned by the test."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from amqp.server import connected
from worksong.adapters.amqp import AmqpBackend
from worksong.adapters.amqp.address import Address
from worksong.adapters.amqp.names import Names

HOUR = 3_600_000
HANDLERS = ("send", "call", "other")


class Turned(AmqpBackend):
    """`promote` is the server's clock here: it moves what is due out of the delay queue, as the server would.

    There is one delay queue to each type, in which nothing comes to its end while a test runs.
    """

    def _names(self, address: Address) -> Names:
        return Names(address.namespace, quorum=address.quorum, ladder=(HOUR,))

    async def promote(self, now: float, limit: int) -> int:
        await super().promote(now, limit)
        return await asyncio.to_thread(self._turn, now, limit)

    async def until_due(self, now: float, seconds: float) -> None:
        """Whoever turns the clock looks again."""

    def _turn(self, now: float, limit: int) -> int:
        host, port = self._address.nodes[0]
        with connected(f"amqp://guest:guest@{host}:{port}/") as channel:
            due = [
                (at, tag, handler, properties, body)
                for handler in HANDLERS
                for at, tag, properties, body in self._delayed(channel, handler)
                if at <= now
            ]
            due.sort(key=lambda one: one[0])
            for _, tag, handler, properties, body in due[:limit]:
                properties.headers["x-death"] = [{"time": datetime.fromtimestamp(int(now), UTC), "reason": "expired"}]
                channel.basic_publish("", self._queues.queue(handler), body, properties)
                channel.basic_ack(tag)
        return len(due[:limit])

    def _delayed(self, channel: Any, handler: str) -> list[tuple[float, int, Any, bytes]]:
        queue = self._queues.delay(handler, HOUR)
        channel.queue_declare(queue, durable=True, arguments=self._queues.delay_arguments(handler, HOUR))
        found = []
        while True:
            method, properties, body = channel.basic_get(queue)
            if method is None:
                return found
            found.append((properties.headers["x-job-run-at"] / 1000, method.delivery_tag, properties, body))
