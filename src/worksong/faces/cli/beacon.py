"""What `run --metrics` serves: /metrics and /healthz, from threads that no handler can block."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import cast

from worksong.domain.errors import ConfigError
from worksong.faces.asgi.origin import host_of, is_allowed, is_loopback
from worksong.metrics import Metrics
from worksong.settings import Address

SLOWEST = 10.0
"""Seconds that a request, or whoever reads the answer, may take."""

log = logging.getLogger("worksong")


def check(where: Address, *, insecure: bool) -> None:
    """Refuse an address that others reach, unless they are meant to."""
    if not is_loopback(where.host) and not insecure:
        raise ConfigError(
            f"metrics at {where} are open to other machines, without a password: serve them on 127.0.0.1, "
            "or say --insecure-metrics"
        )


@contextlib.contextmanager
def shining(where: Address, metrics: Metrics) -> Generator[None]:
    """Serve the metrics as long as it lasts."""
    server = _listening(where, metrics)
    place = Address(where.host, server.server_address[1])
    log.info("metrics at http://%s/metrics", place)
    thread = threading.Thread(target=server.serve_forever, name="worksong-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        metrics.close()


def _listening(where: Address, metrics: Metrics) -> _Server:
    try:
        return _Server(where, metrics)
    except OSError as taken:
        raise ConfigError(f"metrics: cannot listen on {where}: {taken.strerror or taken}") from taken


class _Server(ThreadingHTTPServer):
    """A thread for each request; none is waited for at the end."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, where: Address, metrics: Metrics) -> None:
        self.metrics = metrics
        self.local = is_loopback(where.host)
        self.address_family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
        super().__init__((where.host, where.port), _Request)

    def server_bind(self) -> None:
        """As any server does; one for HTTP would ask the DNS for a name that nobody needs."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Who went away in the middle, or was too slow, is nothing to tell of."""
        log.debug("metrics: a request could not be answered", exc_info=True)


class _Request(BaseHTTPRequestHandler):
    timeout = SLOWEST
    server_version, sys_version = "worksong", ""

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer one of the two paths."""
        # A name that somebody else's DNS leads here is not ours: a page there could read what is for this machine.
        server = cast("_Server", self.server)
        if server.local and not is_allowed(host_of(self.headers.get("Host", "localhost")), ()):
            self._answer(421, b"this address answers to the names of this machine only\n")
        elif (path := self.path.partition("?")[0]) == "/metrics":
            self._answer(200, *server.metrics.text(self.headers.get("Accept", "")))
        elif path == "/healthz":
            ailment = server.metrics.ailment
            self._answer(503 if ailment else 200, f"{ailment or 'ok'}\n".encode())
        else:
            self._answer(404, b"there are /metrics and /healthz\n")

    def log_message(self, format: str, *args: object) -> None:
        """A line per scrape would drown all others."""

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
