"""The server: services, their door, and the limits of what it bears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import msgspec

from worksong.domain.errors import ConfigError
from worksong.faces.grpc.answering import handlers
from worksong.faces.grpc.calls import Jobs, Part, Pipelines, Results, Tasks
from worksong.faces.grpc.door import Door
from worksong.faces.grpc.events import Events
from worksong.faces.grpc.health import Health
from worksong.service.access import Access, Scope
from worksong.service.jobservice import JobService
from worksong.service.rates import Rate

METADATA = 16 << 10
"""Bytes of metadata."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is told. Durations are seconds."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any that is free."""
    reflection: bool = False
    body: int = 1 << 20
    """Bytes of a request."""
    streams: int = 100
    """Calls at once on one connection."""
    rate: Rate | None = Rate(500.0, 1000)
    """Calls of each token; None: any."""
    at_once: int = 1000
    """Calls at once in all."""
    deadline: float = 30.0
    """How long a call may take."""
    patience: float = 5.0
    """How long calls that are being answered have at a stop."""
    certificate: str | None = None
    key: str | None = None
    ca: str | None = None


class GrpcServer:
    """Belongs to the event loop in which it is started."""

    def __init__(self, service: JobService, access: Access, options: Options) -> None:
        self._service, self._access, self._options = service, access, options
        self._server: grpc.aio.Server | None = None
        self._leave: Sequence[Callable[[], None]] = ()
        self._over: asyncio.Future[bool] | None = None
        self.port = options.port

    async def start(self) -> None:
        """Bind the address, and take calls; raises `ConfigError` when that cannot be done."""
        events = Events(self._service)
        parts: list[Part] = [*(part(self._service) for part in (Jobs, Pipelines, Results, Tasks)), events]
        names = [part.name for part in parts]
        health = Health(self._service, names)
        self._leave = health.leave, events.leave
        server = grpc.aio.server(
            interceptors=[Door(self._access, _scopes(parts), self._service.worker.clock, self._options.rate)],
            options=_limits(self._options),
            maximum_concurrent_rpcs=self._options.at_once,
        )
        server.add_generic_rpc_handlers([handlers(part, self._options.deadline) for part in (*parts, health)])
        if self._options.reflection:
            _reflect(server, names)
        self.port = self._bind(server)
        await server.start()
        self._server, self._over = server, asyncio.ensure_future(server.wait_for_termination())

    def _bind(self, server: grpc.aio.Server) -> int:
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        where, credentials = f"{host}:{self._options.port}", _credentials(self._options)
        try:
            port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
        except RuntimeError as taken:
            raise ConfigError(f"cannot listen on {where}: {taken}") from taken
        if not port:
            raise ConfigError(f"cannot listen on {where}: the address is not to be had")
        return port

    @property
    def where(self) -> str:
        """Its URL, once it is started."""
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        return f"{'grpcs' if self._options.certificate else 'grpc'}://{host}:{self.port}"

    async def ended(self) -> None:
        """Return when it has ended."""
        assert self._over
        await asyncio.shield(self._over)  # who is cancelled while he waits for it would cancel its stop, too

    async def stop(self) -> None:
        """Refuse new calls, and end those that have not ended when the patience is over."""
        if self._server and self._over:
            for leave in self._leave:
                leave()
            await self._server.stop(self._options.patience)
            await self._over


def _scopes(parts: Sequence[Part]) -> dict[str, Scope | None]:
    """What each method needs leave for."""
    return {
        f"/{part.name}/{method}": call.scope
        for part in parts
        for calls in (part.methods, part.streams)
        for method, call in calls.items()
    }


def _limits(options: Options) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.body),
        ("grpc.max_metadata_size", METADATA),
        ("grpc.max_concurrent_streams", options.streams),
        ("grpc.so_reuseport", 0),
        # Otherwise it resets calls at chance as soon as one connection brings more than it may: they shall wait.
        ("grpc.http.overload_protection", 0),
        # Who pings more often than every 10 s is shown the door.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
    ]


def _credentials(options: Options) -> grpc.ServerCredentials | None:
    if not (options.certificate and options.key):
        return None
    pair = (_content(options.key), _content(options.certificate))
    if options.ca:
        return grpc.ssl_server_credentials([pair], _content(options.ca), require_client_auth=True)
    return grpc.ssl_server_credentials([pair])


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as failure:
        raise ConfigError(f"the TLS file {path} cannot be read: {failure.strerror or failure}") from failure


def _reflect(server: grpc.aio.Server, names: list[str]) -> None:
    from grpc_health.v1 import health
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
