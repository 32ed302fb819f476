"""The settings there are, what they are unless somebody says otherwise, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from worksong.domain.errors import ConfigError
from worksong.service.access import Scope, accepted, accepted_digest
from worksong.service.access import Token as Accepted
from worksong.settings.values import Address, Seconds

UNITS: Mapping[str, float] = {"second": 1.0, "millisecond": 0.001}


_ANY = "0" * 64
"""A digest, where the token is in a file that is read later."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the settings: all of it is known by name."""


class Http(_Section, frozen=True, kw_only=True):
    """The service over HTTP."""

    address: Address | None = Address("127.0.0.1", 8080)
    """None: it is not served."""


class Grpc(_Section, frozen=True, kw_only=True):
    """The service over gRPC."""

    address: Address | None = Address("127.0.0.1", 50051)
    """None: it is not served."""
    reflection: bool = False
    """Whether clients may ask which services there are."""
    streams: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    """Calls at once on one connection."""
    deadline: Seconds = Seconds(30.0)
    """How long a call may take at most, whatever it asks for."""


class Tls(_Section, frozen=True, kw_only=True):
    """Who the service is, and whom it trusts. All are paths of PEM files."""

    certificate: str | None = None
    key: str | None = None
    ca: str | None = None
    """Callers need a certificate of this authority."""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key) or (self.ca and not self.certificate):
            raise ValueError("certificate and key are needed together, and ca only with them")


class Limits(_Section, frozen=True, kw_only=True):
    """What the service bears."""

    body: Annotated[int, msgspec.Meta(ge=1024, le=64 << 20)] = 1 << 20
    """Bytes of a request."""
    rate: Annotated[float, msgspec.Meta(gt=0)] = 500.0
    """Requests per second of one caller, in the long run."""
    burst: Annotated[int, msgspec.Meta(ge=1)] = 1000
    """Requests of one caller at once, before the rate counts."""
    at_once: Annotated[int, msgspec.Meta(ge=1)] = 1000
    """Requests of all callers that are answered at the same time."""


class Token(_Section, frozen=True, kw_only=True):
    """Somebody who may call the service. The token itself is in a file, or only its digest is known."""

    name: str
    """How the audit log calls the bearer."""
    scopes: list[Scope]
    digest: str | None = None
    """SHA-256 of the token, in hexadecimal digits."""
    file: str | None = None
    """Whose first line is the token."""

    def __post_init__(self) -> None:
        if (self.digest is None) == (self.file is None):
            raise ValueError("a token needs either a digest or a file")
        accepted_digest(self.name, self.scopes, self.digest or _ANY)

    @property
    def accepted(self) -> Accepted:
        """As callers are compared with it; reads the file."""
        if self.file is None:
            return accepted_digest(self.name, self.scopes, self.digest or "")
        try:
            text = Path(self.file).read_text("utf-8")
        except (OSError, ValueError) as failure:
            raise ConfigError(f"the token of {self.name!r} cannot be read from {self.file}: {failure}") from failure
        return accepted(self.name, self.scopes, text.partition("\n")[0].strip())


class Settings(_Section, frozen=True, kw_only=True):
    """Of a worker, and of the service around it. None: as the application's Worker has it."""

    url: str | None = None
    name: str | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    queues: dict[str, Annotated[int, msgspec.Meta(ge=1, le=100_000)]] | list[str] | None = None
    """By weight, or in strict order."""
    grace: Seconds = Seconds(25.0)
    """How long running jobs may take to finish at a stop."""
    log_format: Literal["text", "json"] | None = None
    records: str | None = None
    """Where the service keeps its jobs, pipelines and results. None: where the queue is."""
    retention: Seconds | None = None
    """How long records of what has ended are kept. None: as the application says, or else 7 days."""
    timeout_unit: Literal["second", "millisecond"] = "second"
    """What the `timeout` of a job counts."""
    http: Http = Http()
    grpc: Grpc = Grpc()
    hosts: list[str] = []
    """Names under which the service answers, beside those of this machine."""
    cors: list[str] = []
    """Origins whose pages may call the service; `*` for all."""
    tokens: list[Token] = []
    tls: Tls = Tls()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        names = [token.name for token in self.tokens]
        if len(set(names)) < len(names):
            raise ValueError("two tokens have the same name")

    @property
    def unit(self) -> float:
        """Seconds in one unit of a job's `timeout`."""
        return UNITS[self.timeout_unit]


EXAMPLES: Mapping[str, str] = {
    "url": "redis://localhost:6379/0",
    "name": "shop",
    "concurrency": "25",
    "queues": "{high: 2, low: 1}, or [high, low] in strict order",
    "grace": "25s",
    "log_format": "json",
    "records": "postgresql://shop@db/shop",
    "retention": "7d",
    "timeout_unit": "second",
    "http.address": "127.0.0.1:8080, or nothing at all (null) to leave it out",
    "grpc.address": "127.0.0.1:50051, or nothing at all (null) to leave it out",
    "grpc.reflection": "true",
    "grpc.streams": "100",
    "grpc.deadline": "30s",
    "hosts": "[jobs.example.com]",
    "cors": '["https://shop.example.com"]',
    "tokens": "[{name: shop, digest: ..., scopes: [enqueue, read]}]",
    "tls.certificate": "/etc/worksong/service.crt",
    "tls.key": "/etc/worksong/service.key",
    "tls.ca": "/etc/worksong/callers.crt",
    "limits.body": "1048576",
    "limits.rate": "500",
    "limits.burst": "1000",
    "limits.at_once": "1000",
}
"""How each is written; all there are."""


def keys_of(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Every setting by its dotted name; sections give way to what is in them."""
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}{field.encode_name}"
        if isinstance(field.type, type) and issubclass(field.type, _Section):
            yield from keys_of(field.type, f"{name}.")
        else:
            yield name
