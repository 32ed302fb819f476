"""One connection to a Faktory server: commands, their answers in order, and no use after a broken one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from worksong.adapters.faktory.address import Address
from worksong.adapters.keepalive import keep_alive
from worksong.adapters.outage import NoAnswer, NotSent
from worksong.adapters.tls import trust
from worksong.domain.errors import BackendRefused, BackendUnavailable, ConfigError
from worksong.wire import faktory_talk as talk

Reply: TypeAlias = bytes | int | None
"""A text, a number, or nothing."""

HANDSHAKE = 2.0
"""Seconds in which the server wants the handshake to be over."""
_SECOND_LOOK = 0.01
_UNTOUCHED = ("too many connections", "shutdown in progress")
"""Errors of a server that has not looked at the command, and hangs up."""

log = logging.getLogger("worksong.faktory")


class Said(BackendRefused):
    """Faktory answered with an error; `code` is its first word"""

    def __init__(self, message: str = "") -> None:
        code, _, text = message.partition(" ")
        super().__init__(text or message)
        self.code = code


class Connection(asyncio.Protocol):
    """Carries commands for one caller after the other. `freed` hears when it is the next one's turn, `lost` when it
    has ended."""

    def __init__(
        self,
        address: Address,
        freed: Callable[[Connection], None],
        lost: Callable[[Connection, str, bool], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.born = self.loop.time()
        self.alive = True
        self.ready = False
        """Whether the handshake is over: only then it counts as free."""
        self.cause = ""
        self._address, self._freed, self._lost = address, freed, lost
        self._unread = bytearray()
        self._patience = address.timeout
        self._timer: asyncio.TimerHandle | None = None
        self._asked = False
        self.greeting: asyncio.Future[Reply] = self.loop.create_future()
        """What the server says first, unasked."""
        self._answers: deque[asyncio.Future[Reply]] = deque([self.greeting])
        """Still to come."""
        self._gone: asyncio.Future[None] = self.loop.create_future()

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._answers)

    def ask(self, line: bytes, patience: float | None = None) -> asyncio.Future[Reply]:
        """Send a command. Who cancels the future gives up the answer, not the command."""
        (answer,) = self.ask_all([line], patience)
        return answer

    def ask_all(self, lines: Sequence[bytes], patience: float | None = None) -> list[asyncio.Future[Reply]]:
        """Send them in one go: the server reads one after the other, and so it answers. `patience`: for each."""
        if not self.alive or self._transport.is_closing():
            raise NotSent(f"{self._address.shown} was not asked: {self.cause or 'the connection is closing'}")
        assert not self._answers, "one caller at a time"
        answers = [self.loop.create_future() for _ in lines]
        self._answers.extend(answers)
        self._asked = True
        self._patience = patience or self._address.timeout
        self._transport.write(b"%s\r\n" % b"\r\n".join(lines))
        self._timer = self.loop.call_later(self._patience, self._overdue)
        return answers

    def abort(self, cause: str) -> None:
        """End at once; whoever waits is told."""
        self.cause = self.cause or cause
        self._transport.abort()

    async def close(self) -> None:
        """Say goodbye, which is not answered, and end."""
        if self.alive and not self.busy:
            self._transport.write(b"END\r\n")
            self.cause = self.cause or "closed by this client"
            self._transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.shield(self._gone)
        self.abort("closed by this client")
        await asyncio.shield(self._gone)

    def _overdue(self, *, second_look: bool = False) -> None:
        """Looks twice, as a stalled loop may not have read the answer that is there."""
        if second_look:
            self.abort(f"no answer within {self._patience:g} s")
        else:
            self._timer = self.loop.call_later(_SECOND_LOOK, lambda: self._overdue(second_look=True))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock: socket.socket = transport.get_extra_info("socket")
        keep_alive(sock)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        try:
            while (read := _reply(self._unread)) is not None:
                reply, used = read
                del self._unread[:used]
                self._hear(reply)
        except ValueError as wrong:
            self.abort(f"what came is no answer of Faktory ({wrong})")

    def _hear(self, reply: Reply | Said) -> None:
        if isinstance(reply, Said) and str(reply).startswith(_UNTOUCHED):
            self.cause = str(reply)
            self._asked = False
            self._transport.abort()
            return
        if not self._answers:
            raise ValueError("an answer to no question")
        answer = self._answers.popleft()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self.loop.call_later(self._patience, self._overdue) if self._answers else None
        if not answer.done():  # else its caller was cancelled
            if isinstance(reply, Said):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)
        if self.ready and not self._answers:
            self._freed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self.cause = self.cause or str(exc or "closed by the server")
        if self._timer is not None:
            self._timer.cancel()
        missed = [answer for answer in self._answers if not answer.done()]
        self._answers.clear()
        for answer in missed:
            answer.set_exception(self._failure())
        if not self._gone.done():
            self._gone.set_result(None)
        self._lost(self, self.cause, bool(missed))

    def _failure(self) -> BackendUnavailable:
        shown = self._address.shown
        if self._asked:
            return NoAnswer(
                f"the connection to {shown} broke before the answer came ({self.cause}): "
                "the command may or may not have been carried out"
            )
        return NotSent(f"{shown} was not asked: {self.cause}")


_LINE = re.compile(rb"([+:-])([^\r\n]*)\r\n")
_BULK = re.compile(rb"\$(-1|\d{1,10})\r\n")


def _reply(unread: bytearray) -> tuple[Reply | Said, int] | None:
    """(the first whole reply, its bytes); None: there is none yet."""
    if bulk := _BULK.match(unread):
        return _bulk(unread, bulk.end(), int(bulk[1]))
    line = _LINE.match(unread)
    if line is None:
        if unread and (unread[0] not in b"+-:$" or b"\n" in unread):
            raise ValueError(f"it begins with {bytes(unread[:20])!r}")
        return None
    text = line[2]
    match line[1]:
        case b"-":
            return Said(text.decode(errors="replace")), line.end()
        case b":":
            return int(text), line.end()
        case _:
            return text, line.end()


def _bulk(unread: bytearray, start: int, size: int) -> tuple[Reply, int] | None:
    if size < 0:
        return None, start
    end = start + size
    return (bytes(unread[start:end]), end + 2) if len(unread) >= end + 2 else None


async def connect(
    address: Address,
    identity: talk.Identity | None,
    *,
    freed: Callable[[Connection], None],
    lost: Callable[[Connection, str, bool], None],
) -> Connection:
    """A connection through with its handshake; raises `NotSent` or `ConfigError`."""
    shown = address.shown
    try:
        async with asyncio.timeout(address.timeout):
            context = trust(address.tls) if address.tls else None
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(address, freed, lost), address.host, address.port, ssl=context
            )
            try:
                await _greet(connection, address, identity)
            except BaseException:
                connection.abort("not welcome")
                raise
            connection.ready = True
            return connection
    except BackendUnavailable as away:
        if isinstance(away, NoAnswer):  # the handshake carries nothing out
            raise NotSent(f"{shown} cannot be reached: it hung up during the handshake, {_WHY_SILENT}") from away
        raise
    except ssl.SSLCertVerificationError as error:
        mend = "give its authority with ssl_ca_certs=, and the host by the name in the certificate"
        raise ConfigError(f"the certificate of {shown} is not trusted: {error.verify_message}; {mend}") from error
    except TimeoutError as error:
        raise NotSent(f"{shown} cannot be reached: no answer within {address.timeout:g} s") from error
    except (OSError, UnicodeError) as error:
        raise NotSent(f"{shown} cannot be reached: {error}") from error


_WHY_SILENT = (
    "which Faktory does without a word when it takes too long, cannot read it, or speaks TLS (faktory+tls://) alone"
)


async def _greet(connection: Connection, address: Address, identity: talk.Identity | None) -> None:
    greeting = await _greeting(connection, address)
    if greeting.s and not address.password:
        raise ConfigError(f"{address.shown} wants a password; write it into the URL: faktory://:PASSWORD@host")
    if greeting.v < talk.VERSION or greeting.i > talk.MOST_ROUNDS:
        raise ConfigError(
            f"{address.shown} speaks version {greeting.v} of Faktory's protocol, and worksong {talk.VERSION}: "
            "upgrade the server"
        )
    if greeting.v > talk.VERSION:
        log.warning("%s speaks version %d of the protocol, worksong %d", address.shown, greeting.v, talk.VERSION)
    try:
        await connection.ask(talk.hello(greeting, identity, address.user, address.password))
    except Said as refused:
        raise ConfigError(
            f"{address.shown} refused the login: {refused}; correct the password in the URL, or FAKTORY_PASSWORD there"
        ) from refused


async def _greeting(connection: Connection, address: Address) -> talk.Greeting:
    try:
        said = await connection.greeting
        return talk.greeting(said if isinstance(said, bytes) else b"")
    except (ValueError, Said) as strange:
        raise ConfigError(f"what answers at {address.shown} is no Faktory server: {strange}") from strange
    except NotSent as cut:
        if connection.cause.startswith("what came is no answer"):
            raise ConfigError(f"what answers at {address.shown} is no Faktory server: {connection.cause}") from cut
        raise
