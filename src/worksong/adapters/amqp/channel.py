"""A channel to RabbitMQ: pika's callbacks behind calls that are answered in time, or fail."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

import pika  # pyright: ignore[reportMissingTypeStubs]

from worksong.adapters.amqp.frames import Incoming, Outgoing
from worksong.adapters.amqp.headroom import check_size
from worksong.adapters.amqp.names import Arguments
from worksong.adapters.amqp.reader import Reader
from worksong.wire.amqp import Message, Received
from worksong.wire.amqp_table import encode_properties
from worksong.wire.gojson import carried

_pika = cast("Any", pika)
_AMQPError: type[Exception] = _pika.exceptions.AMQPError
_ChannelClosed: type[Exception] = _pika.exceptions.ChannelClosed
_ACK = _pika.spec.Basic.Ack
_numbers = itertools.count(1)

NOT_FOUND = 404
REFUSED = 403
LOCKED = 405
OTHERWISE = 406


class ChannelClosed(Exception):
    """The server closed a channel, and says why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


class Declared(NamedTuple):
    """What the server says of a queue."""

    name: str
    messages: int
    consumers: int


class Delivered(NamedTuple):
    """A message and the tag under which it is acknowledged."""

    tag: int
    consumer: str
    received: Received
    correlation: str
    reply_to: str


class Watch(Protocol):
    """Whoever sees to it that a server that gives no answer is given up."""

    async def in_time(self, answer: asyncio.Future[Any]) -> Any: ...


class Channel:
    """One channel. A closed one answers every call with `ChannelClosed`."""

    def __init__(self, link: Watch, raw: Any, reader: Reader) -> None:
        """`reader`: of the connection that the channel is one of."""
        self._link, self._raw = link, raw
        self._consumers = reader.channels[raw.channel_number] = {}
        self._loop = asyncio.get_running_loop()
        self.number = next(_numbers)
        """Of this one alone, as long as the process lives."""
        self._asked: set[asyncio.Future[Any]] = set()
        self._got: asyncio.Future[Any] | None = None
        self._prefetch = 0
        self._told = self._latest = 0
        self.closed: ChannelClosed | None = None
        self.on_closed: Callable[[ChannelClosed], None] = lambda _: None
        raw.add_on_close_callback(self._on_close)
        raw.add_callback(self._on_empty, [_pika.spec.Basic.GetEmpty], one_shot=False)

    @property
    def open(self) -> bool:
        return self.closed is None

    @property
    def complete(self) -> bool:
        """Whether whoever asked has seen all that came: the server counts its deliveries from 1, without gaps."""
        return self._told == self._latest

    def _tell(self, tag: int) -> None:
        self._told += 1
        self._latest = max(self._latest, tag)

    def _on_close(self, _: Any, reason: Exception) -> None:
        code = cast("Any", reason).reply_code if isinstance(reason, _ChannelClosed) else 0  # else the connection's end
        text = getattr(reason, "reply_text", "") or str(reason)
        self.closed = ChannelClosed(code, text)
        self._consumers.clear()
        for answer in (*self._asked, *([self._got] if self._got else [])):
            if not answer.done():
                answer.set_exception(self.closed)
        self._asked.clear()
        self._got = None
        self.on_closed(self.closed)

    async def _ask(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """The method of the server's answer."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._asked.add(answer)

        def answering(frame: Any) -> None:
            answered(answer, frame.method)

        try:
            self._do(call, *args, callback=answering, **options)
            return await self._link.in_time(answer)
        finally:
            self._asked.discard(answer)

    def _do(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self.closed:
            raise self.closed
        try:
            return call(*args, **options)
        except _AMQPError as wrong:
            raise ChannelClosed(0, str(wrong) or type(wrong).__name__) from wrong

    # queues and exchanges

    async def look(self, queue: str) -> Declared:
        """What there is under this name; a missing one closes the channel."""
        return _declared(await self._ask(self._raw.queue_declare, queue, passive=True))

    async def declare(self, queue: str, arguments: Arguments, *, passing: bool = False) -> Declared:
        """A durable queue; `passing`: one that goes with its last consumer."""
        options = {"durable": not passing, "auto_delete": passing, "arguments": dict(arguments) or None}
        return _declared(await self._ask(self._raw.queue_declare, queue, **options))

    async def declare_own(self) -> str:
        """A queue of this connection alone; answers its name."""
        return _declared(await self._ask(self._raw.queue_declare, "", exclusive=True, auto_delete=True)).name

    async def delete(self, queue: str) -> int:
        return int((await self._ask(self._raw.queue_delete, queue)).message_count)

    async def purge(self, queue: str) -> int:
        return int((await self._ask(self._raw.queue_purge, queue)).message_count)

    async def exchange(self, name: str, kind: str, *, durable: bool = True) -> None:
        await self._ask(self._raw.exchange_declare, name, exchange_type=kind, durable=durable, auto_delete=not durable)

    async def delete_exchange(self, name: str) -> None:
        await self._ask(self._raw.exchange_delete, name)

    async def look_exchange(self, name: str) -> None:
        """A missing one closes the channel."""
        await self._ask(self._raw.exchange_declare, name, passive=True)

    async def bind(self, queue: str, exchange: str, key: str) -> None:
        await self._ask(self._raw.queue_bind, queue, exchange, routing_key=key)

    # messages out

    async def confirm(self, on_confirmed: Callable[[int, bool, bool], None], on_returned: Callable[..., None]) -> None:
        """From now on the server confirms: (tag, whether also all before it, whether it took them)."""

        def confirmed(frame: Any) -> None:
            on_confirmed(frame.method.delivery_tag, frame.method.multiple, isinstance(frame.method, _ACK))

        def returned(_: Any, method: Any, properties: Any, __: Any) -> None:
            on_returned(properties.read.message_id or "", method.routing_key, method.reply_text)

        self._raw.add_on_return_callback(returned)
        await self._ask(self._raw.confirm_delivery, confirmed)

    def publish(
        self,
        exchange: str,
        key: str,
        message: Message,
        *,
        reply_to: str = "",
        correlation: str = "",
        mandatory: bool = True,
    ) -> None:
        """Write it to the socket."""
        properties = encode_properties(
            message.headers, message.id, message.timestamp, message.type, correlation=correlation, reply_to=reply_to
        )
        check_size(message.type, len(properties))
        self._do(self._raw.basic_publish, exchange, key, message.body, Outgoing(properties), mandatory=mandatory)

    # messages in

    async def get(self, queue: str) -> Delivered | None:
        """The next message; None: there is none. What comes for one who was cancelled goes back."""
        while self._got:  # one who was cancelled asked before, and the server answers one at a time
            await self._link.in_time(self._got)
        answer: asyncio.Future[Any] = self._loop.create_future()

        def got(_: Any, method: Any, properties: Any, body: bytes) -> None:
            self._got = None
            answered(answer, (method, properties, body))

        self._do(self._raw.basic_get, queue, got)
        self._got = answer
        try:
            found = await self._link.in_time(answer)
        except BaseException:
            answer.add_done_callback(self._unwanted)
            raise
        if found is None:
            return None
        method, properties, body = found
        self._tell(method.delivery_tag)
        return _delivered("", method.delivery_tag, method.redelivered, properties, body)

    def _unwanted(self, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled() and not answer.exception() and (late := answer.result()) and self.open:
            self._tell(late[0].delivery_tag)
            self.requeue(late[0].delivery_tag)

    def _on_empty(self, _: Any) -> None:
        answer, self._got = self._got, None
        if answer:
            answered(answer, None)

    async def consume(
        self, queue: str, tag: str, prefetch: int, on_message: Callable[[Delivered], None], *, no_ack: bool = False
    ) -> None:
        """Have messages delivered, at most `prefetch` of them unacknowledged; 0: all there are."""
        if prefetch != self._prefetch:
            self._prefetch = prefetch
            await self._ask(self._raw.basic_qos, prefetch_count=prefetch)

        def heard(number: int, again: bool, properties: Incoming, body: bytes) -> None:
            self._told += 1
            self._latest = number
            on_message(_delivered(tag, number, again, properties, body))

        def delivered(_: Any, method: Any, properties: Any, body: bytes) -> None:
            heard(method.delivery_tag, method.redelivered, properties, body)

        self._consumers[tag.encode()] = heard
        await self._ask(self._raw.basic_consume, queue, delivered, consumer_tag=tag, auto_ack=no_ack)

    def on_cancelled(self, heard: Callable[[str], None]) -> None:
        """The server ends a consumer by itself, as when its queue is deleted: its tag."""

        def cancelled(frame: Any) -> None:
            self._consumers.pop(frame.method.consumer_tag.encode(), None)
            heard(frame.method.consumer_tag)

        self._raw.add_on_cancel_callback(cancelled)

    async def cancel(self, tag: str) -> None:
        """Return when nothing more comes for it."""
        try:
            await self._ask(self._raw.basic_cancel, consumer_tag=tag)
        finally:
            self._consumers.pop(tag.encode(), None)

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """`multiple`: and all before it, also what is still on its way to whoever asked; see `complete`."""
        self._do(self._raw.basic_ack, tag, multiple)

    def requeue(self, tag: int) -> None:
        """To where it was in its queue, if nothing else came back meanwhile."""
        self._do(self._raw.basic_nack, tag, False, True)

    def pass_on(self, tag: int) -> None:
        """To where the dead letters of its queue go."""
        self._do(self._raw.basic_nack, tag, False, False)

    async def settled(self) -> None:
        """Return when the server has carried out all that was said on this channel."""
        await self._ask(self._raw.basic_qos, prefetch_count=self._prefetch)

    async def close(self) -> None:
        """Return when the server has taken back all that was delivered and not ended."""
        if self.open:
            gone: asyncio.Future[Any] = self._loop.create_future()

            def closed(*_: Any) -> None:
                answered(gone, None)

            self._raw.add_on_close_callback(closed)
            with contextlib.suppress(ChannelClosed):  # its connection is closing, and it goes with that
                self._do(self._raw.close)
            await self._link.in_time(gone)


def answered(answer: asyncio.Future[Any], value: Any) -> None:
    if not answer.done():
        answer.set_result(value)


def _declared(method: Any) -> Declared:
    return Declared(method.queue, method.message_count, method.consumer_count)


def _readable(message_id: str | None) -> str | None:
    """A foreign one of invalid UTF-8 could be neither listed nor written as JSON; still short enough for a message."""
    if message_id is None or message_id.isascii():
        return message_id
    return carried(message_id).encode()[:255].decode(errors="ignore")


def _delivered(consumer: str, tag: int, again: bool, properties: Incoming, body: bytes) -> Delivered:
    read = properties.read
    received = Received(body, _readable(read.message_id), read.timestamp, read.headers, again, wrong=properties.wrong)
    return Delivered(tag, consumer, received, read.correlation_id, read.reply_to)
