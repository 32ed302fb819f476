"""TLS rules of an address: whom to trust, and who we are."""

from __future__ import annotations

import ssl

import msgspec

from worksong.domain.errors import ConfigError


class Tls(msgspec.Struct, frozen=True):
    """Whom to trust and who we are; by default the system's authorities, and the host's name is checked."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    verify: bool = True


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
