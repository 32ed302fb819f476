"""Where a Faktory server is: its URL, or what the environment says."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, unquote

from worksong.adapters import tls
from worksong.adapters.tls import SSL, Tls
from worksong.adapters.url import SPELLING, Options, Shown, authority, node, split
from worksong.domain.errors import ConfigError
from worksong.wire.faktory import wrong_with_queue

PORT = 7419
PROVIDER, VARIABLE = "FAKTORY_PROVIDER", "FAKTORY_URL"
FORM = "faktory://[user:password@]host[:7419]"
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

_SCHEMES = {"faktory": False, "tcp": False, "faktory+tls": True, "tcp+tls": True}
"""Scheme -> whether it means TLS."""
_OPTIONS = ("connections", "namespace", "timeout", *SSL.options)


class Address(Shown, frozen=True, kw_only=True):
    """What the URL says."""

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
        return f"{'faktory+tls' if self.tls else 'faktory'}://{authority(self.user, (self.host, self.port))}"

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
    begin = f"{where}: a Faktory URL begins with one of {', '.join(_SCHEMES)}; write {FORM}"
    return split(url, "Faktory", lambda scheme: "" if scheme in _SCHEMES else begin)


def _address(parts: SplitResult) -> Address:
    options = Options(parts, _OPTIONS, "Faktory")
    userinfo, _, place = parts.netloc.rpartition("@")
    user, colon, secret = userinfo.partition(":")
    if not colon:  # as other clients of Faktory read it: one word is the password
        user, secret = "", user
    if parts.path.strip("/"):
        raise ConfigError(f"the Faktory URL has a path, and Faktory has nothing to name by it; write {FORM}{SPELLING}")
    host, port = node(place, PORT, "Faktory", FORM)
    return Address(
        host=host,
        port=port,
        user=unquote(user),
        password=unquote(secret),
        tls=tls.rules(options, SSL, wanted=_SCHEMES[parts.scheme], mend="write faktory+tls://"),
        namespace=_namespace(options),
        connections=_connections(options),
        timeout=options.seconds("timeout", "5", least=0.001, most=3600.0),
    )


def _namespace(options: Mapping[str, str]) -> str:
    name = options.get("namespace", "")
    if name and (wrong := wrong_with_queue(name)):
        raise ConfigError(f"namespace= stands before the names of queues: {wrong}")
    return name


def _connections(options: Mapping[str, str]) -> int:
    said = options.get("connections", "16")
    try:
        number = float(said)
    except ValueError:
        number = 0.0
    if not 2 <= number <= 500 or not number.is_integer():
        raise ConfigError(f"connections={said:.40} in the Faktory URL cannot be; write a number from 2 to 500")
    return int(number)
