"""One connection to a Redis server, shared by many tasks: requests leave together, answers come back in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import hiredis

from worksong.adapters.keepalive import keep_alive
from worksong.adapters.outage import NoAnswer, NotSent
from worksong.adapters.redis.address import Address
from worksong.adapters.tls import trust
from worksong.adapters.url import Node
from worksong.domain.errors import BackendFull, BackendRefused, BackendUnavailable, ConfigError, WorksongError

Arg: TypeAlias = str | bytes | int | float
Reply: TypeAlias = Any
"""What the command answers: bytes, int, None or a list of these."""

_pack: Callable[[tuple[Arg, ...]], bytes] = vars(hiredis)["pack_command"]  # its stub knows neither arguments nor answer
_MORE = object()
_SECOND_LOOK = 0.01
_LOGIN = frozenset({"NOAUTH", "WRONGPASS", "NOPERM", "DENIED"})
_AWAY = frozenset(
    {"READONLY", "UNBLOCKED", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "TRYAGAIN", "NOREPLICAS", "MOVED", "ASK"}
    | {"MISCONF", "OOM"}  # it cannot write now
)

_NO_SPACE = "No space left on device"
"""What a MISCONF says of a full disk."""


class NoRoom(NotSent, BackendFull):
    """the server has no room for more; nothing was carried out"""


class ServerError(BackendRefused):
    """Redis answered with an error; `code` is its first word"""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


def meaning(error: ServerError, address: Address) -> WorksongError:
    """What an error answer means to the caller: itself, or that the server is away, or that the login is wrong."""
    if error.code in _LOGIN:
        who = f"user {address.user!r}" if address.user else "the default user"
        return ConfigError(f"{address.shown} refused {who}: {error}; correct the login in the URL or the server's ACL")
    if error.code in _AWAY or "max number of clients" in str(error):
        kind = NoRoom if error.code == "OOM" or _NO_SPACE in str(error) else NotSent
        return kind(f"{address.shown} did not carry out the command: {error}")
    if error.code == "CROSSSLOT":
        return ConfigError(
            f"{address.shown} is a cluster, where all keys of a namespace must share a slot: "
            "put its name in braces, as in ?namespace={myapp}"
        )
    return error


Lost: TypeAlias = "Callable[[Connection, str, bool], None]"
"""Called with the cause when a connection has ended, and whether somebody missed an answer."""
Heard: TypeAlias = "Callable[[list[bytes] | None], None]"
"""Called with the keys that the server says have changed; None: any may have, without a further word."""


class Connection(asyncio.Protocol):
    """A multiplexed connection; every request is answered, refused, or fails with `NotSent` or `NoAnswer`.

    A request that blocks in the server holds up all behind it, and must block for less than `timeout`.
    """

    def __init__(self, address: Address, host: str, lost: Lost | None, heard: Heard | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.born = self.loop.time()
        self.host = host
        self.alive = True
        self.cause = ""
        self._address, self._lost = address, lost
        reader = hiredis.Reader(replyError=ServerError, notEnoughData=_MORE)
        self._reader = _Sifted(reader, heard) if heard else reader
        self._outgoing: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[Reply], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] = self.loop.create_future()
        self._retired = False

    def request(self, args: tuple[Arg, ...]) -> asyncio.Future[Reply]:
        """Send at the end of this loop turn. Who cancels the future gives up the answer, not the command."""
        return self._send(_pack(args))

    async def gather(self, commands: Sequence[tuple[Arg, ...]]) -> list[Reply]:
        """Many requests in one write; what went wrong with one stands in its place."""
        futures = [self._send(packed) for packed in [_pack(command) for command in commands]]
        try:
            await asyncio.wait(futures[-1:])  # answers come in order
        finally:
            for future in futures:
                if not future.cancel():
                    future.exception()  # else asyncio complains of those that a cancelled caller did not see
        return [future.exception() or future.result() for future in futures]

    def retire(self) -> None:
        """Close after the last answer."""
        self._retired = True
        if not self._waiting:
            self.abort("retired")

    def abort(self, cause: str) -> None:
        self.cause = self.cause or cause
        self._transport.abort()

    async def close(self) -> None:
        """Close at once; what is unanswered fails."""
        self.abort("closed by this client")
        await asyncio.shield(self._gone)

    def _send(self, packed: bytes) -> asyncio.Future[Reply]:
        if not self.alive:
            raise self._failure(sent=False)
        if not self._outgoing:
            self.loop.call_soon(self._flush)
        self._outgoing.append(packed)
        future: asyncio.Future[Reply] = self.loop.create_future()
        self._waiting.append((future, self.loop.time()))
        return future

    def _flush(self) -> None:
        if self._transport.is_closing():
            return  # connection_lost tells them
        outgoing, self._outgoing = self._outgoing, []
        self._transport.write(b"".join(outgoing) if len(outgoing) > 1 else outgoing[0])
        if self._transport.is_closing():
            self._hear_last_words()
        elif self._timer is None:
            self._timer = self.loop.call_later(self._address.timeout, self._watch)

    def _hear_last_words(self) -> None:
        """A server that hung up before it was asked may have said why, as when it has too many clients."""
        if self._address.tls is None:
            sock: socket.socket = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                self.data_received(os.read(sock.fileno(), 4096))

    def _watch(self, *, second_look: bool = False) -> None:
        """The one timer: is the oldest request overdue? Looks twice, as a stalled loop may not have read the answer."""
        self._timer = None
        if not self._waiting:
            return
        left = self._waiting[0][1] + self._address.timeout - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._watch)
        elif second_look:
            self.abort(f"no answer within {self._address.timeout:g} s")
        else:
            self._timer = self.loop.call_later(_SECOND_LOOK, lambda: self._watch(second_look=True))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock: socket.socket = transport.get_extra_info("socket")
        if sock.family == socket.AF_UNIX:
            return
        keep_alive(sock)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _MORE:
                future, _ = waiting.popleft()
                if future.done():
                    continue  # its caller was cancelled
                if type(reply) is ServerError:
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:  # not Redis, or an answer to no question
            self.abort(f"what came is no Redis answer ({error})")
        if self._retired and not waiting:
            self.abort("retired")

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self.cause = self.cause or str(exc or "closed by the server")
        if self._timer is not None:
            self._timer.cancel()
        sent = len(self._waiting) - len(self._outgoing)
        missed = any(not future.done() for future, _ in self._waiting)
        for number, (future, _) in enumerate(self._waiting):
            if not future.done():
                future.set_exception(self._failure(sent=number < sent))
        self._waiting.clear()
        self._gone.set_result(None)
        if self._lost is not None:
            self._lost(self, self.cause, missed)

    def _failure(self, *, sent: bool) -> BackendUnavailable:
        if sent:
            return NoAnswer(
                f"the connection to {self._address.shown} broke before the answer came ({self.cause}): "
                "the command may or may not have been carried out"
            )
        return NotSent(f"{self._address.shown} was not asked: {self.cause}")


class _Sifted:
    """A reader of answers that hands on what the server says unasked."""

    def __init__(self, reader: hiredis.Reader, heard: Heard) -> None:
        self.feed = reader.feed
        self._reader, self._heard = reader, heard

    def gets(self) -> Any:
        while type(reply := self._reader.gets()) is hiredis.PushNotification:
            kind, what = cast("tuple[bytes, Any]", reply)
            if kind == b"invalidate":
                self._heard(what)
        return reply


async def connect(
    address: Address, *, node: Node | None = None, lost: Lost | None = None, heard: Heard | None = None
) -> Connection:
    """A connection that is logged in, to `node` if given; raises `NotSent` or `ConfigError`."""
    where = f"{address.shown} at {node[0]}:{node[1]}" if node else address.shown
    try:
        async with asyncio.timeout(address.timeout):
            connection = await _open(address, node, lost, heard)
            try:
                await _greet(connection, address)
            except BaseException:
                connection.abort("not welcome")
                raise
            return connection
    except BackendUnavailable:
        raise
    except ssl.SSLCertVerificationError as error:
        mend = "give its authority with ssl_ca_certs=, and the host by the name in the certificate"
        raise ConfigError(f"the certificate of {where} is not trusted: {error.verify_message}; {mend}") from error
    except TimeoutError as error:
        raise NotSent(f"{where} cannot be reached: no answer within {address.timeout:g} s") from error
    except (OSError, UnicodeError) as error:
        raise NotSent(f"{where} cannot be reached: {error}") from error


async def _open(address: Address, node: Node | None, lost: Lost | None, heard: Heard | None) -> Connection:
    loop = asyncio.get_running_loop()
    host, port = node or (address.nodes[0] if address.nodes else ("127.0.0.1", 0))

    def protocol() -> Connection:
        return Connection(address, host, lost, heard)

    if address.path and node is None:
        _, connection = await loop.create_unix_connection(protocol, address.path)
    else:
        context = trust(address.tls) if address.tls else None
        _, connection = await loop.create_connection(protocol, host, port, ssl=context)
    return connection


async def _greet(connection: Connection, address: Address) -> None:
    """RESP2 stays: no HELLO."""
    commands: list[tuple[Arg, ...]] = []
    if address.password is not None:
        commands.append(("AUTH", address.user, address.password) if address.user else ("AUTH", address.password))
    if address.db:
        commands.append(("SELECT", address.db))
    if address.master:
        commands.append(("ROLE",))
    commands.append(("CLIENT", "SETNAME", "worksong"))
    for command, answer in zip(commands, await connection.gather(commands), strict=True):
        if isinstance(answer, ServerError):
            _refused(command[0], answer, address)
        elif isinstance(answer, Exception):
            raise ConnectionError(connection.cause)
        elif command == ("ROLE",) and answer[0] != b"master":
            raise ConnectionError(f"it is a {answer[0].decode()}, not the master: a failover is under way")


def _refused(command: Arg, error: ServerError, address: Address) -> None:
    """Raise what a refused greeting means; a name is a courtesy that may be refused."""
    told = meaning(error, address)
    if told is error:
        told = ConfigError(f"{address.shown} refused {command!r}: {error}; correct the URL")
    if command != "CLIENT" or (error.code not in {"NOPERM", "ERR"} or isinstance(told, BackendUnavailable)):
        raise told from error
