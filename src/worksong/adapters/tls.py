"""TLS rules of an address: whom to trust, and who we are."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from worksong.adapters.url import Options
from worksong.domain.errors import ConfigError


class Names(NamedTuple):
    """How a URL calls the rules."""

    ca: str
    certificate: str
    key: str
    verify: str
    words: Mapping[str, bool]
    """What `verify` may say; the first is the default."""

    @property
    def options(self) -> tuple[str, ...]:
        return self.ca, self.certificate, self.key, self.verify


SSL = Names("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", {"required": True, "none": False})
"""As clients of Redis call them."""


class Tls(msgspec.Struct, frozen=True):
    """Whom to trust and who we are; by default the system's authorities, and the host's name is checked."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    verify: bool = True


def rules(options: Options, names: Names, *, wanted: bool, mend: str) -> Tls | None:
    """What the URL says of them; None: no TLS is `wanted`. `mend` is how one would ask for it."""
    if wanted:
        ca, certificate, key = map(options.get, (names.ca, names.certificate, names.key))
        return Tls(ca, certificate, key, options.choice(names.verify, names.words))
    if useless := [name for name in names.options if name in options]:
        raise ConfigError(f"{useless[0]} says nothing without TLS; {mend}")
    return None


def trust(tls: Tls) -> ssl.SSLContext:
    """The rules as the library takes them."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        files = ", ".join(filter(None, (tls.ca, tls.certificate, tls.key)))
        raise ConfigError(f"the TLS files {files} cannot be used: {error}; they must exist and hold PEM") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
