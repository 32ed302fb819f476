"""A connection to RabbitMQ, made anew when it is gone."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pika  # pyright: ignore[reportMissingTypeStubs]
import pika.adapters.asyncio_connection  # pyright: ignore[reportMissingTypeStubs]
import pika.exceptions  # pyright: ignore[reportMissingTypeStubs]

from worksong.adapters.amqp.address import Address
from worksong.adapters.amqp.channel import Channel, answered
from worksong.adapters.amqp.frames import read_frame
from worksong.adapters.amqp.outage import Outage
from worksong.adapters.amqp.reader import OTHER_VERSION, Reader
from worksong.adapters.tls import trust
from worksong.adapters.url import Node
from worksong.domain.errors import BackendUnavailable, ConfigError

_pika = cast("Any", pika)
_asyncio_connection = cast("Any", pika.adapters.asyncio_connection)
_exceptions = cast("Any", pika.exceptions)
logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it says of every lost connection, we say once
RECEIVED = 1 << 16
"""Bytes that are taken from the socket at a time: with pika's 4,096 a job of a full queue costs a tenth more."""

BLOCKED = 0.8
"""Of the time for an answer, what a server gets that says it takes nothing in: its caller hears so within that time."""


class Lost(BackendUnavailable):
    """the connection is gone"""


class Link:
    """One connection, made anew by `reach` when it is gone. Lives in one event loop."""

    def __init__(self, address: Address, purpose: str, outage: Outage, on_lost: Callable[[], None]) -> None:
        self._address, self._purpose, self._outage, self._on_lost = address, purpose, outage, on_lost
        self._raw: Any = None
        self._reader: Reader
        self._lock = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self.blocked = ""
        """Why the server takes nothing in at the moment."""

    async def reach(self) -> None:
        """Connect, unless that is done; at once an error while the server is given a rest."""
        if self._raw is None:
            await self._connect()

    async def _connect(self) -> None:
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
        reader = self._reader
        try:
            self._raw.channel(on_open_callback=_told(opened)).add_on_close_callback(_told(opened))
        except (_exceptions.AMQPError, AttributeError) as wrong:
            self.drop(str(wrong))
            raise self._gone(str(wrong)) from wrong
        found = await self.in_time(opened)
        if isinstance(found, BaseException) or not found.is_open:
            raise self._gone(str(found) if isinstance(found, BaseException) else "its channel was closed")
        return Channel(self, found, reader)

    async def in_time(self, answer: asyncio.Future[Any]) -> Any:
        """An answer that does not come means a connection that is dead."""
        raw = self._raw
        done, _ = await asyncio.wait([answer], timeout=self._address.timeout)
        if done:
            return answer.result()
        why = f"{self._address.shown} did not answer within {self._address.timeout:g} s"
        if self._raw is raw:  # a new one may answer
            self.drop(why)
        raise Lost(why)

    async def unblocked(self) -> bool:
        """Wait, a little less long than for an answer, until the server takes messages in."""
        try:
            async with asyncio.timeout(self._address.timeout * BLOCKED):
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
        raw.add_on_close_callback(_told(gone))
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
        raw: Any = _asyncio_connection.AsyncioConnection(
            self._parameters(node),
            on_open_callback=_told(opened),
            on_open_error_callback=_told(opened),
            on_close_callback=self._on_close,
            custom_ioloop=asyncio.get_running_loop(),
        )
        raw._read_frame = partial(read_frame, raw, raw._read_frame)
        reader = Reader(raw)
        raw._on_data_available = reader.feed
        raw.add_on_connection_blocked_callback(self._on_blocked)
        raw.add_on_connection_unblocked_callback(self._on_unblocked)
        try:
            done, _ = await asyncio.wait([opened], timeout=self._address.timeout)
        except asyncio.CancelledError:
            _abort(raw)
            raise
        if not done:
            _abort(raw)
            raise Lost(f"{self._address.shown} did not answer within {self._address.timeout:g} s")
        found = opened.result()
        if isinstance(found, BaseException):
            raise _translated(found, self._address) from found
        if not found.is_open:  # `_on_close` knew nothing of it yet
            raise Lost(f"{self._address.shown} closed the connection at once")
        self.blocked, self._reader = "", reader
        found._transport._MAX_RECV_BYTES = RECEIVED
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
            ssl_options=_pika.SSLOptions(trust(address.tls), node[0]) if address.tls else None,
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


def _told(answer: asyncio.Future[Any]) -> Callable[..., None]:
    """A callback that answers with what it is told last."""

    def told(*said: Any) -> None:
        answered(answer, said[-1])

    return told


def _abort(raw: Any) -> None:
    """End it without waiting for the other side."""
    if not raw.is_closed:
        raw._terminate_stream(_exceptions.ConnectionClosed(0, "given up"))


def _translated(failure: BaseException, address: Address) -> Exception:
    """What is refused will be refused again; all else may pass.

    The server says why it refuses. What pika calls a probable refusal is a server that went away while it was greeted.
    """
    told = type(failure).__name__
    for one in _causes(failure):
        text = str(one)
        if isinstance(one, ssl.SSLCertVerificationError):
            mend = "give its authority with cafile=, and the host by the name in the certificate"
            return ConfigError(f"the certificate of {address.shown} is not trusted: {one.verify_message}; {mend}")
        if "connection limit" in text:  # it passes when somebody else hangs up
            return Lost(f"{address.shown} takes no more connections: {text}; raise that limit, or run fewer processes")
        if "ACCESS_REFUSED" in text:
            return ConfigError(
                f"{address.shown} refuses the login: {text}; see the user, password and vhost in the URL"
            )
        if "NOT_ALLOWED" in text:
            return ConfigError(f"{address.shown} refuses the vhost: {text}; create it, and give the user permissions")
        if OTHER_VERSION in text:
            mend = "upgrade the server, or give the port where it speaks that: RabbitMQ does on 5672, 5671 with TLS"
            return ConfigError(f"{address.shown} cannot be used: {text}; {mend}")
        told = text or told
    return Lost(f"{address.shown} cannot be reached: {told}")


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """What pika puts into its errors of what went wrong, the innermost last."""
    yield failure
    inner = [*getattr(failure, "exceptions", ()), getattr(failure, "exception", None), failure.__cause__]
    for one in inner:
        if isinstance(one, BaseException):
            yield from _causes(one)
