"""The theatre on RabbitMQ: the server that other tests use as well, and a namespace for each scene."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import servers
from worksong.domain.job import new_id


class RabbitmqTheatre:
    """Quorum queues on one node: what it confirmed is on the disk, and what it passes on is confirmed as well."""

    name = "`amqp://`, quorum queues"
    connections_at_most = 2

    def __init__(self, broker: servers.Broker) -> None:
        self._broker = broker
        self._namespace = f"chaos_{new_id()}"
        self._killed = 0.0
        self.url = f"{broker.url}?namespace={self._namespace}&queue_type=quorum"
        self.version = ""
        self.outages: list[tuple[float, float]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, broker: servers.Broker) -> AsyncIterator[RabbitmqTheatre]:
        theatre = cls(broker)
        theatre.version = f"RabbitMQ {await theatre._ask(_VERSION)}"
        try:
            yield theatre
        finally:  # a scene that failed may have left it dead or frozen
            theatre.thaw()
            await theatre.restart()
            await asyncio.to_thread(delete, broker, theatre._namespace)

    async def kill(self) -> None:
        """A queue that was declared a moment ago could be lost with it, which is not what is tried here."""
        await asyncio.to_thread(self._broker.write_down)
        self._killed = self._killed or time.monotonic()
        await asyncio.to_thread(self._broker.kill)

    async def restart(self) -> None:
        """Unless it runs."""
        if self._killed:
            await asyncio.to_thread(self._broker.start)
            self.outages.append((self._killed, time.monotonic()))
            self._killed = 0.0

    def freeze(self) -> None:
        self._broker.freeze()

    def thaw(self) -> None:
        if not self._killed:
            self._broker.thaw()

    async def delete(self, handler: str) -> None:
        """A job type's queue, under those who consume."""
        await self._ask(_DELETE % f"{self._namespace}.{handler}")

    def memory(self, share: str) -> None:
        """Of the machine's, that the server may use before it takes nothing more in."""
        self._broker.call("vm_memory_monitor", "set_vm_memory_high_watermark", share)

    async def patience(self, seconds: float, look_every: float) -> None:
        """How long channels that are opened from now on may keep a delivery, and how often the server looks."""
        await self._ask(_PATIENCE % (1000 * look_every, 1000 * seconds))

    async def disorder(self) -> list[str]:
        """Jobs in the hands of a connection, and jobs that wait, when nothing is left to do."""
        return [line for line in (await self._ask(_HELD % f"{self._namespace}.")).splitlines() if line]

    async def connections(self) -> int:
        return int(await self._ask(_CONNECTIONS))

    async def blocked(self) -> bool:
        return False

    async def measure(self) -> None:
        return None

    async def measured(self) -> Mapping[str, int]:
        return {}

    async def _ask(self, expression: str) -> str:
        return await asyncio.to_thread(self._broker.ask, expression)


def in_hands(broker: servers.Broker, namespace: str) -> int:
    """How many jobs of a namespace are lent to a connection that the server does not know to be gone."""
    return int(broker.ask(_LENT % f"{namespace}."))


def delete(broker: servers.Broker, namespace: str) -> None:
    """Every queue of a namespace, also those that nobody who is left knows of."""
    broker.ask(_DELETE % f"{namespace}.")


# what the server is asked in its own language; each is one expression, whose value is text

_VERSION = "rabbit_misc:version()"
_CONNECTIONS = "integer_to_list(length(rabbit_networking:connections()))"
_OURS = """
    Ours = [Queue || Queue <- rabbit_amqqueue:list(),
        lists:prefix("%s", binary_to_list(element(4, amqqueue:get_name(Queue))))],"""
_HELD = f"""begin {_OURS}
    lists:append([io_lib:format("~s holds ~b jobs, ~b of them in somebody's hands~n", [Name, Count, Lent])
        || Queue <- Ours,
        [{{name, {{resource, _, _, Name}}}}, {{messages, Count}}, {{messages_unacknowledged, Lent}}]
            <- [rabbit_amqqueue:info(Queue, [name, messages, messages_unacknowledged])],
        Count > 0, not lists:suffix(".dead", binary_to_list(Name)), not lists:suffix(".types", binary_to_list(Name))])
end"""
_LENT = f"""begin {_OURS}
    integer_to_list(lists:sum([Lent || Queue <- Ours,
        [{{messages_unacknowledged, Lent}}] <- [rabbit_amqqueue:info(Queue, [messages_unacknowledged])]]))
end"""
_PATIENCE = """begin
    ok = application:set_env([{rabbit, [{channel_tick_interval, %d}, {consumer_timeout, %d}]}]), []
end"""
_DELETE = f"""begin {_OURS}
    [rabbit_amqqueue:delete_immediately_by_resource([amqqueue:get_name(Queue)]) || Queue <- Ours], ""
end"""
