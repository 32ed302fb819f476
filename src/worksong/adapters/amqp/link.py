"""A connection to RabbitMQ and its channels: pika behind few typed calls, each of which is answered in time or fails."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple, cast

import pika  # pyright: ignore[reportMissingTypeStubs]
import pika.adapters.asyncio_connection  # pyright: ignore[reportMissingTypeStubs]
import pika.exceptions  # pyright: ignore[reportMissingTypeStubs]

from worksong.adapters.amqp.address import Address, Node
from worksong.adapters.amqp.names import Arguments
from worksong.adapters.amqp.outage import Outage
from worksong.domain.errors import BackendUnavailable, ConfigError
from worksong.wire.amqp import Message, Received
from worksong.wire.amqp_table import Properties, Unreadable, decode_properties, encode_properties

_pika = cast("Any", pika)
_quiet = logging.getLogger("pika")
_quiet.setLevel(logging.CRITICAL)  # what it says of every lost connection, we say once

NOT_FOUND = 404
REFUSED = 403
LOCKED = 405
OTHERWISE = 406


class ChannelClosed(Exception):
    """The server closed a channel, and says why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


class Lost(BackendUnavailable):
    """the connection is gone"""


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


class Channel:
    """One channel. A closed one answers every call with `ChannelClosed`."""

    def __init__(self, link: Link, raw: Any) -> None:
        self._link, self._raw = link, raw
        self._loop = asyncio.get_running_loop()
        self._asked: set[asyncio.Future[Any]] = set()
        self._got: asyncio.Future[Any] | None = None
        self.closed: ChannelClosed | None = None
        self.on_closed: Callable[[ChannelClosed], None] = lambda _: None
        raw.add_on_close_callback(self._on_close)
        raw.add_callback(self._on_empty, [_pika.spec.Basic.GetEmpty], one_shot=False)

    @property
    def open(self) -> bool:
        return self.closed is None

    def _on_close(self, _: Any, reason: Exception) -> None:
        code, text = getattr(reason, "reply_code", 0), getattr(reason, "reply_text", "") or str(reason)
        self.closed = ChannelClosed(code, text)
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
        try:
            self._do(call, *args, callback=lambda frame: _answered(answer, frame.method), **options)
            return await self._link.in_time(answer)
        finally:
            self._asked.discard(answer)

    def _do(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self.closed:
            raise self.closed
        try:
            return call(*args, **options)
        except pika.exceptions.AMQPError as wrong:
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

        self._raw.add_on_return_callback(
            lambda _channel, method, properties, _body: on_returned(properties.read.message_id or "", method.reply_text)
        )
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
        properties = _Outgoing(
            encode_properties(
                message.headers, message.id, message.timestamp, message.type, correlation=correlation, reply_to=reply_to
            )
        )
        self._do(self._raw.basic_publish, exchange, key, message.body, properties, mandatory=mandatory)

    # messages in

    async def get(self, queue: str) -> Delivered | None:
        """The next message; None: there is none."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._got = answer
        try:
            self._do(self._raw.basic_get, queue, lambda _, method, props, body: _answered(answer, (method, props, body)))
            found = await self._link.in_time(answer)
        finally:
            self._got = None
        return None if found is None else _delivered("", *found)

    def _on_empty(self, _: Any) -> None:
        if self._got:
            _answered(self._got, None)

    async def consume(
        self, queue: str, tag: str, prefetch: int, on_message: Callable[[Delivered], None], *, no_ack: bool = False
    ) -> None:
        """Have messages delivered, at most `prefetch` of them unacknowledged."""
        if prefetch:
            await self._ask(self._raw.basic_qos, prefetch_count=prefetch)

        def delivered(_: Any, method: Any, properties: Any, body: bytes) -> None:
            on_message(_delivered(tag, method, properties, body))

        await self._ask(self._raw.basic_consume, queue, delivered, consumer_tag=tag, auto_ack=no_ack)

    def on_cancelled(self, heard: Callable[[str], None]) -> None:
        """The server ends a consumer by itself, as when its queue is deleted: its tag."""
        self._raw.add_on_cancel_callback(lambda frame: heard(frame.method.consumer_tag))

    async def cancel(self, tag: str) -> None:
        await self._ask(self._raw.basic_cancel, consumer_tag=tag)

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        self._do(self._raw.basic_ack, tag, multiple)

    def requeue(self, tag: int) -> None:
        """To where it was in its queue, if nothing else came back meanwhile."""
        self._do(self._raw.basic_nack, tag, False, True)

    async def settled(self) -> None:
        """Return when the server has carried out all that was said on this channel."""
        await self._ask(self._raw.basic_qos, prefetch_count=0)

    async def close(self) -> None:
        """Return when the server has taken back all that was delivered and not ended."""
        if self.open:
            gone: asyncio.Future[Any] = self._loop.create_future()
            self._raw.add_on_close_callback(lambda *_: _answered(gone, None))
            self._raw.close()
            await self._link.in_time(gone)


_ACK = _pika.spec.Basic.Ack
_HEADER_AT = 7 + 12
"""Where a content header's properties begin: behind the frame's header, class, weight and size of the body."""


class _Outgoing(_pika.BasicProperties):  # type: ignore[misc]
    """Properties that are bytes already."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def encode(self) -> list[bytes]:
        return [self._raw]


class _Incoming:
    """Properties as they came. Unreadable ones spoil their message, and not the connection."""

    __slots__ = ("read", "wrong")

    def __init__(self, raw: bytes, at: int) -> None:
        self.wrong = ""
        try:
            self.read = decode_properties(raw, at)
        except Unreadable as wrong:
            self.read, self.wrong = _NOTHING, str(wrong)


_NOTHING = Properties({}, None, None, "", "")
_Connection = pika.adapters.asyncio_connection.AsyncioConnection


class _Lenient(_Connection):  # type: ignore[misc]
    """pika's connection, but for headers: a foreign one that pika cannot read would end it, again and again."""

    def _read_frame(self) -> tuple[int, Any]:
        buffer: bytes = self._frame_buffer
        if len(buffer) < _HEADER_AT or buffer[0] != _HEADER_FRAME:
            return cast("tuple[int, Any]", super()._read_frame())
        channel, size = _FRAME.unpack_from(buffer, 1)
        end = 7 + size + 1
        if len(buffer) < end:
            return 0, None
        (body_size,) = _BODY_SIZE.unpack_from(buffer, 11)
        return end, _pika.frame.Header(channel, body_size, _Incoming(bytes(buffer[_HEADER_AT : end - 1]), 0))


_HEADER_FRAME = 2
_FRAME, _BODY_SIZE = Struct(">HI"), Struct(">Q")


def _answered(answer: asyncio.Future[Any], value: Any) -> None:
    if not answer.done():
        answer.set_result(value)


def _declared(method: Any) -> Declared:
    return Declared(method.queue, method.message_count, method.consumer_count)


def _delivered(consumer: str, method: Any, properties: Any, body: bytes) -> Delivered:
    read: Properties = properties.read
    received = Received(
        body, read.message_id, read.timestamp, read.headers, method.redelivered, wrong=properties.wrong
    )
    return Delivered(method.delivery_tag, consumer, received, read.correlation_id, read.reply_to)


class Link:
    """One connection, made anew by `reach` when it is gone. Lives in one event loop."""

    def __init__(self, address: Address, purpose: str, outage: Outage, on_lost: Callable[[], None]) -> None:
        self._address, self._purpose, self._outage, self._on_lost = address, purpose, outage, on_lost
        self._raw: Any = None
        self._lock = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self.blocked = ""
        """Why the server takes nothing in at the moment."""

    @property
    def alive(self) -> bool:
        return self._raw is not None

    async def reach(self) -> None:
        """Connect, unless that is done; at once an error while the server is given a rest."""
        if self._raw is not None:
            return
        time, failures = asyncio.get_running_loop().time, self._outage.failures
        async with self._lock:
            if self._raw is not None:
                return
            self._outage.check(time(), failures)
            try:
                self._raw = await self._dial()
            except (BackendUnavailable, ConfigError) as failure:
                self._outage.failed(time(), failure)
                raise
            self._outage.over(time())

    async def channel(self) -> Channel:
        await self.reach()
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            self._raw.channel(on_open_callback=lambda raw: _answered(opened, raw))
        except (pika.exceptions.AMQPError, AttributeError) as wrong:
            raise self._gone(str(wrong)) from wrong
        return Channel(self, await self.in_time(opened))

    async def in_time(self, answer: asyncio.Future[Any]) -> Any:
        """An answer that does not come means a connection that is dead."""
        done, _ = await asyncio.wait([answer], timeout=self._address.timeout)
        if done:
            return answer.result()
        why = f"{self._address.shown} did not answer within {self._address.timeout:g} s"
        self.drop(why)
        raise Lost(why)

    async def unblocked(self) -> bool:
        """Wait, as long as for an answer, until the server takes messages in."""
        try:
            async with asyncio.timeout(self._address.timeout):
                await self._open.wait()
        except TimeoutError:
            return False
        return True

    def drop(self, why: str) -> None:
        """Give the connection up, whatever its other end does."""
        raw = self._raw
        self._forget(why)
        if raw is not None:
            _abort(raw)

    async def close(self) -> None:
        """Say goodbye, and wait for no answer longer than it takes."""
        raw, self._raw = self._raw, None
        if raw is None or not raw.is_open:
            return
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        raw.add_on_close_callback(lambda *_: _answered(gone, None))
        raw.close()
        done, _ = await asyncio.wait([gone], timeout=self._address.timeout)
        if not done:
            _abort(raw)

    async def _dial(self) -> Any:
        wrong: BaseException | None = None
        for node in self._address.nodes:
            try:
                return await self._try(node)
            except (BackendUnavailable, ConfigError) as failure:
                wrong = failure
        assert wrong is not None, "an address has a node"
        raise wrong

    async def _try(self, node: Node) -> Any:
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        raw = _Lenient(
            self._parameters(node),
            on_open_callback=lambda raw: _answered(opened, raw),
            on_open_error_callback=lambda _, failure: _answered(opened, failure),
            on_close_callback=self._on_close,
            custom_ioloop=asyncio.get_running_loop(),
        )
        raw.add_on_connection_blocked_callback(self._on_blocked)
        raw.add_on_connection_unblocked_callback(self._on_unblocked)
        done, _ = await asyncio.wait([opened], timeout=self._address.timeout)
        if not done:
            _abort(raw)
            raise Lost(f"{self._address.shown} did not answer within {self._address.timeout:g} s")
        found = opened.result()
        if isinstance(found, BaseException):
            raise _translated(found, self._address) from found
        self.blocked = ""
        self._open.set()
        return found

    def _parameters(self, node: Node) -> Any:
        address = self._address
        return _pika.ConnectionParameters(
            host=node[0],
            port=node[1],
            virtual_host=address.vhost,
            credentials=_pika.PlainCredentials(address.user, address.password),
            heartbeat=address.heartbeat,
            ssl_options=_tls(address, node[0]),
            connection_attempts=1,
            socket_timeout=address.timeout,
            stack_timeout=address.timeout,
            client_properties={"connection_name": f"worksong {self._purpose}"},
        )

    def _on_close(self, raw: Any, reason: Exception) -> None:
        if raw is self._raw:
            self._forget(str(reason))

    def _forget(self, why: str) -> None:
        if self._raw is not None:
            self._raw = None
            self.blocked = ""
            self._open.set()
            self._outage.broke(asyncio.get_running_loop().time(), str(self._gone(why)))
            self._on_lost()

    def _gone(self, why: str) -> Lost:
        return Lost(f"the connection to {self._address.shown} broke ({why})")

    def _on_blocked(self, _: Any, method: Any) -> None:
        self.blocked = str(method.method.reason) or "it says no reason"
        self._open.clear()

    def _on_unblocked(self, _: Any, __: Any) -> None:
        self.blocked = ""
        self._open.set()


def _abort(raw: Any) -> None:
    """End it without waiting for the other side."""
    raw._terminate_stream(pika.exceptions.ConnectionClosed(0, "given up"))


def _translated(failure: BaseException, address: Address) -> Exception:
    """A login that is refused will be refused again; all else may pass."""
    cause: BaseException | None = failure
    told = str(failure) or type(failure).__name__
    seen = list(getattr(failure, "exceptions", ()))
    while cause is not None:
        seen += [cause, *getattr(cause, "exceptions", ())]
        cause = cause.__cause__ or getattr(cause, "exception", None)
    for one in seen:
        text = str(one)
        if isinstance(one, pika.exceptions.ProbableAuthenticationError) or "ACCESS_REFUSED" in text:
            return ConfigError(f"{address.shown} refuses the login: {text}; see the user, password and vhost in the URL")
        if "NOT_ALLOWED" in text or isinstance(one, pika.exceptions.ProbableAccessDeniedError):
            return ConfigError(f"{address.shown} refuses the vhost: {text}; create it, and give the user permissions")
        told = text or told
    return Lost(f"{address.shown} cannot be reached: {told}")


def _tls(address: Address, host: str) -> Any:
    if address.tls is None:
        return None
    tls = address.tls
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as wrong:
        raise ConfigError(f"{address.shown}: the certificates cannot be read: {wrong}") from wrong
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return _pika.SSLOptions(context, host)
