"""Listening: a bound socket, an application that answers there, and whom it lets in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import click

from worksong.domain.errors import ConfigError
from worksong.faces.doorstep import doorstep
from worksong.settings import Address
from worksong.settings.values import address as address_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn import Server

BACKLOG = 128


def address(text: str) -> Address:
    """HOST:PORT, [::1]:PORT or PORT; a type for options."""
    try:
        return address_of(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no address; write 127.0.0.1:4747, or 4747") from None


def needed(packages: Sequence[str], what: str, extra: str) -> ModuleType:
    """The last of the packages, when all are there; `what` needs them, `extra` brings them."""
    try:
        *_, last = [import_module(name) for name in packages]
    except ModuleNotFoundError as missing:
        raise ConfigError(f"{what} needs the package {missing.name!r}: pip install 'worksong[{extra}]'") from missing
    return last


@contextlib.contextmanager
def listening(where: Address) -> Generator[socket.socket]:
    """Bound before anything is said, so that the address that is told is the one that answers."""
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((where.host, where.port))
        except OSError as taken:
            raise ConfigError(f"cannot listen on {where}: {taken.strerror or taken}") from taken
        listener.listen(BACKLOG)
        yield listener


def bound(where: Address, listener: socket.socket) -> Address:
    """The address as it came out: port 0 stands for any that is free."""
    return Address(where.host, listener.getsockname()[1])


def http_server(uvicorn: ModuleType, app: ASGIApp, *, at_once: int, leave: float, **more: Any) -> Server:
    """What answers for the application. `at_once`: requests, more are told to come back; `leave`: seconds that open
    answers have at a stop."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # each line would be made up before it is found out that nobody wants it
        lifespan="off",
        ws="none",
        server_header=False,
        http=doorstep(),
        limit_concurrency=at_once,
        timeout_graceful_shutdown=leave,
        **more,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # they are heard as those of `run` are
    return cast("Server", server)


class Uvicorn:
    """An application behind a socket, as one face of the service."""

    def __init__(self, server: Server, listener: socket.socket, leave: Callable[[], None], where: str) -> None:
        """`leave`: ends what would go on for ever, as streams do. `where`: its URL."""
        self._server, self._listener, self._leave, self.where = server, listener, leave, where
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The socket listens already: who connects before the server is there waits for it."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def ended(self) -> None:
        assert self._task
        await asyncio.shield(self._task)

    async def stop(self) -> None:
        if self._task:
            self._server.should_exit = True
            self._leave()
            await asyncio.wait([self._task])
