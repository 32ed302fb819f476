"""A collector of spans, as OpenTelemetry's exporters send them over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENCE = 100.0


class Collector:
    """All spans that have arrived, from whichever process."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self.spans: list[Span] = []
        self.url = ""

    def take(self, body: bytes) -> None:
        found = ExportTraceServiceRequest.FromString(body)
        with self._arrived:
            self.spans += [
                span for resource in found.resource_spans for scope in resource.scope_spans for span in scope.spans
            ]
            self._arrived.notify_all()

    def named(self, name: str) -> Span:
        """The span of this name, once it has arrived."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._find(name), PATIENCE), [span.name for span in self.spans]
        return self._find(name)[0]

    def _find(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def attributes(span: Span) -> dict[str, str | int]:
    """What a span says of itself."""
    return {
        pair.key: pair.value.int_value if pair.value.HasField("int_value") else pair.value.string_value
        for pair in span.attributes
    }


@contextmanager
def collecting() -> Generator[Collector]:
    """A collector that listens on this machine."""
    collector = Collector()

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
