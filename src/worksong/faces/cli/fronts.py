"""Fronts: the service over HTTP and over gRPC, as the settings want them."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

from worksong.domain.errors import ConfigError
from worksong.faces.cli.listening import Uvicorn, bound, http_server, listening, needed
from worksong.faces.cli.screen import complain
from worksong.faces.cli.serving import both
from worksong.service.access import Access
from worksong.service.jobservice import JobService
from worksong.service.rates import Rate
from worksong.settings import Address, Settings
from worksong.settings.settings import Limits, Tls
from worksong.worker import Worker

if TYPE_CHECKING:
    from worksong.faces.grpc import GrpcServer
    from worksong.faces.http import Limits as HttpLimits
    from worksong.metrics import Metrics

HTTP_NEEDS = "jinja2", "starlette", "uvicorn"
GRPC_NEEDS = "grpc_health", "grpc_reflection", "grpc"
LEAVE = 5.0
"""Seconds that requests have at a stop which are being answered."""
EVERYWHERE = ("0.0.0.0", "::")


def http_front(
    service: JobService,
    access: Access,
    settings: Settings,
    where: Address,
    sockets: contextlib.ExitStack,
    *,
    everybody: bool,
) -> Uvicorn:
    """HTTP on a bound socket, with the console under the same roof. `everybody`: whoever reaches it may do all."""
    uvicorn = needed(HTTP_NEEDS, "HTTP", "service")
    from worksong.faces.http import HttpFace
    from worksong.faces.web import Console

    hosts = [*settings.hosts, *([] if where.host in EVERYWHERE else [where.host])]
    open_to_all = everybody or bool(settings.tls.ca)
    console = Console(service.worker, access=access, allowed_hosts=hosts, insecure_no_auth=open_to_all)
    face = HttpFace(
        service,
        access=access,
        console=console,
        allowed_hosts=hosts,
        allowed_origins=settings.cors,
        insecure_no_auth=open_to_all,
        limits=_borne(settings.limits),
        metrics=_metrics(service.worker, sockets),
    )
    listener = sockets.enter_context(listening(where))
    at_once = 2 * settings.limits.at_once  # connections; of requests there are half as many
    server = http_server(uvicorn, face, at_once=at_once, leave=LEAVE, **_tls(settings.tls))
    scheme = "https" if settings.tls.certificate else "http"
    return Uvicorn(server, listener, both(face.leave, console.leave), f"{scheme}://{bound(where, listener)}/")


def _metrics(worker: Worker, until: contextlib.ExitStack) -> Metrics | None:
    """What is counted, where the package is that writes it."""
    from worksong.metrics import Metrics

    try:
        found = Metrics(worker)
    except ConfigError as missing:
        complain("note", f"no /metrics: {missing}")
        return None
    until.callback(found.close)
    return found


def _borne(given: Limits) -> HttpLimits:
    from worksong.faces.http import Limits as HttpLimits

    rate, waits = Rate(given.rate, given.burst), max(1, given.at_once // 2)
    return HttpLimits(body=given.body, rate=rate, at_once=given.at_once, waits=waits)


def grpc_front(service: JobService, access: Access, settings: Settings, where: Address) -> GrpcServer:
    """gRPC, which binds its address when it starts."""
    needed(GRPC_NEEDS, "gRPC", "grpc")
    from worksong.faces.grpc import GrpcServer, Options

    bears, grpc, tls = settings.limits, settings.grpc, settings.tls
    options = Options(
        host=where.host,
        port=where.port,
        reflection=grpc.reflection,
        body=bears.body,
        rate=Rate(bears.rate, bears.burst),
        at_once=bears.at_once,
        streams=grpc.streams,
        deadline=grpc.deadline,
        patience=LEAVE,
        certificate=tls.certificate,
        key=tls.key,
        ca=tls.ca,
    )
    return GrpcServer(service, access, options)


def _tls(tls: Tls) -> dict[str, Any]:
    """What uvicorn is told; tried before, because it would not say which file is no good."""
    if not tls.certificate:
        return {}
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.ca).load_cert_chain(tls.certificate, tls.key)
    except OSError as failure:
        files = ", ".join(path for path in (tls.certificate, tls.key, tls.ca) if path)
        raise ConfigError(f"the TLS files {files} cannot be used: {failure}; they must hold PEM") from failure
    asks = {"ssl_ca_certs": tls.ca, "ssl_cert_reqs": ssl.CERT_REQUIRED} if tls.ca else {}
    return {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key, **asks}
