"""Where a Faktory server is: its URL, or what the environment says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

import msgspec

from worksong.adapters.tls import Tls
from worksong.domain.errors import ConfigError
from worksong.wire.faktory import wrong_with_queue

PORT = 7419
PROVIDER, VARIABLE = "FAKTORY_PROVIDER", "FAKTORY_URL"
FORM = "faktory://[user:password@]host[:7419]"
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

_SCHEMES = {"faktory": False, "tcp": False, "faktory+tls": True, "tcp+tls": True}
"""Scheme -> whether it means TLS."""
_COMMON = ("connections", "namespace", "timeout")
_TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile")
_HOST = re.compile(r"(?:\[(?P<six>[\w:.%]+)\]|(?P<name>[\w.-]+))(?::(?P<port>\d{1,5}))?")
_SPELLING = "; in a password, write / as %2F, ? as %3F, # as %23 and @ as %40"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """What the URL says. Its texts, `repr` and `shown`, hold no password."""

    host: str = "localhost"
    port: int = PORT
    user: str = ""
    password: str = ""
    tls: Tls | None = None
    namespace: str = ""
    """What stands before the names of queues, with a dot between; empty: nothing."""
    connections: int = 16
    """At most so many at once, per event loop; half of them may wait for jobs."""
    timeout: float = 5.0
    """Seconds to connect in, and for each command to be answered in."""

    @property
    def shown(self) -> str:
        """The URL for errors and logs: without password and options."""
        scheme = "faktory+tls" if self.tls else "faktory"
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{user}{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return self.host in LOCAL or self.host.startswith("127.")

    def queue(self, name: str) -> str:
        """How the server calls a queue."""
        return f"{self.namespace}.{name}" if self.namespace else name

    def plain(self, queue: str) -> str | None:
        """How we call it; None: it is not in our namespace."""
        prefix = self.queue("")
        return queue[len(prefix) :] or None if queue.startswith(prefix) else None

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("shown", self.shown)]


def parse(url: str, environment: Mapping[str, str]) -> Address:
    """The address that `url` means, which without a host is what `environment` says; `ConfigError` if it means none."""
    parts = _split(url, FORM)
    if not parts.netloc:
        if parts.path.strip("/"):
            raise ConfigError(f"the Faktory URL has a path and no host; write {FORM}, or faktory: alone")
        said, where = provided(environment)
        inner = _split(said, where)
        if not inner.netloc:
            raise ConfigError(f"{where} names no host; write {FORM}")
        secure = "+tls" in parts.scheme or _SCHEMES[inner.scheme]
        parts = inner._replace(scheme="faktory+tls" if secure else "faktory", query=inner.query or parts.query)
    return _address(parts)


def provided(environment: Mapping[str, str]) -> tuple[str, str]:
    """(the URL that Faktory's own variables name, which variable said so), by the rules of its other clients."""
    if PROVIDER in environment:
        name = environment[PROVIDER]
        if ":" in name or not name:
            raise ConfigError(
                f"{PROVIDER} must hold the name of another variable, which holds the URL; for the URL use {VARIABLE}"
            )
        if name not in environment:
            raise ConfigError(f"{PROVIDER} names {name}, which is not set: set it to {FORM}")
        return environment[name], name
    return environment.get(VARIABLE, f"tcp://localhost:{PORT}"), VARIABLE


def _split(url: str, where: str) -> SplitResult:
    try:
        url.encode()
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(f"the Faktory URL cannot be read{_SPELLING}") from None  # the cause would show the password
    if parts.scheme not in _SCHEMES:
        raise ConfigError(f"{where}: a Faktory URL begins with one of {', '.join(_SCHEMES)}; write {FORM}")
    if "#" in url:
        raise ConfigError(f"the Faktory URL has a '#' in it{_SPELLING}")
    return parts


def _address(parts: SplitResult) -> Address:
    options = _options(parts)
    userinfo, _, place = parts.netloc.rpartition("@")
    user, colon, secret = userinfo.partition(":")
    if not colon:  # as other clients of Faktory read it: one word is the password
        user, secret = "", user
    if parts.path.strip("/"):
        raise ConfigError(f"the Faktory URL has a path, and Faktory has nothing to name by it; write {FORM}{_SPELLING}")
    host, port = _node(place)
    return Address(
        host=host,
        port=port,
        user=unquote(user),
        password=unquote(secret),
        tls=_tls(parts.scheme, options),
        namespace=_namespace(options),
        connections=int(_number(options, "connections", "16", 2, 500)),
        timeout=_number(options, "timeout", "5", 0.001, 3600),
    )


def _node(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or PORT) if found else 0
    if not found or not 0 < port < 65536:
        raise ConfigError(f"the Faktory URL needs a host, and a port from 1 to 65535; write {FORM}{_SPELLING}")
    return found["six"] or found["name"], port


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    accepted = _COMMON + _TLS
    if unknown := [key for key in options if key not in accepted]:
        raise ConfigError(f"faktory:// has no option {unknown[0]!r}; it accepts {', '.join(sorted(accepted))}")
    return options


def _namespace(options: Mapping[str, str]) -> str:
    name = options.get("namespace", "")
    if name and (wrong := wrong_with_queue(name)):
        raise ConfigError(f"namespace= stands before the names of queues: {wrong}")
    return name


def _tls(scheme: str, options: Mapping[str, str]) -> Tls | None:
    verify = options.get("ssl_cert_reqs", "required")
    if verify not in ("required", "none"):
        raise ConfigError("ssl_cert_reqs in the Faktory URL is unknown; write required or none")
    if _SCHEMES[scheme]:
        ca, certificate, key = (options.get(name) for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"))
        return Tls(ca, certificate, key, verify == "required")
    if useless := [key for key in _TLS if key in options]:
        raise ConfigError(f"{useless[0]} says nothing without TLS; write faktory+tls://")
    return None


def _number(options: Mapping[str, str], key: str, default: str, low: float, high: float) -> float:
    text = options.get(key, default)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not low <= number <= high or (key == "connections" and not number.is_integer()):
        raise ConfigError(f"{key}={text:.40} in the Faktory URL cannot be; write a number from {low:g} to {high:g}")
    return number
