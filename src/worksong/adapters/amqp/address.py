"""Where a RabbitMQ server is, and how its queues are meant: the URL, read once."""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

import msgspec

from worksong.domain.errors import ConfigError
from worksong.domain.names import wrong_with_namespace

Node: TypeAlias = tuple[str, int]

PORTS = {"amqp": 5672, "amqps": 5671}
_FORM = "amqp[s]://[user:password@]host[:port][,host...][/vhost]"
_OPTIONS = (
    "cafile",
    "certfile",
    "exchange",
    "handlers",
    "heartbeat",
    "keyfile",
    "namespace",
    "queue_type",
    "repair_delays",
    "timeout",
    "verify",
)
_TLS = ("cafile", "certfile", "keyfile", "verify")
_HOST = re.compile(r"(?:\[(?P<six>[\w:.%]+)\]|(?P<name>[\w.-]+))(?::(?P<port>\d{1,5}))?")
_EXCHANGE = re.compile(r"[A-Za-z0-9_.:-]{1,127}")
_SPELLING = "; in a password, write / as %2F, ? as %3F, # as %23 and @ as %40"


class Tls(msgspec.Struct, frozen=True):
    """Whom to trust and who we are; by default the system's authorities, and the host's name is checked."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    verify: bool = True


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """What an AMQP URL says. Its texts, `repr` and `shown`, hold no password."""

    scheme: str = "amqp"
    nodes: tuple[Node, ...] = ()
    """Servers of one cluster; the first that answers is used."""
    vhost: str = "/"
    user: str = "guest"
    password: str = "guest"
    tls: Tls | None = None
    namespace: str = ""
    """What stands before the names of our queues; empty: they are called like the job types, as Go's are."""
    exchange: str = ""
    """The direct exchange that jobs go through; empty: the default one."""
    quorum: bool = False
    """Whether queues that do not exist yet become quorum queues."""
    handlers: tuple[str, ...] = ()
    """Job types that listings know of, although no worker lives that says so."""
    repair_delays: bool = False
    """Whether the delays of Go's adapter, a thousandth of what was meant, are waited for."""
    heartbeat: int = 10
    """Seconds between two signs of life on an idle connection; after two of them missed it is over."""
    timeout: float = 5.0
    """Seconds to connect in, and for each answer of the server to come in."""

    @property
    def shown(self) -> str:
        """The URL for errors and logs: without password and options."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        return f"{self.scheme}://{quote(self.user, safe='')}@{hosts}/{quote(self.vhost, safe='')}"

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("shown", self.shown)]


def parse(url: str) -> Address:
    """The address that `url` means; `ConfigError` with the cause and the mend when it means none."""
    parts = _split(url)
    options = _options(parts)
    userinfo, _, hosts = parts.netloc.rpartition("@")
    name, colon, secret = userinfo.partition(":")
    if name and not colon:
        raise ConfigError("the AMQP URL has a user and no password; write amqp://user:password@host")
    namespace, quorum = _namespace(options), _choice(options, "queue_type", {"classic": False, "quorum": True})
    if quorum and not namespace:
        raise ConfigError(
            "queue_type=quorum needs a namespace of its own, as in ?namespace=myapp&queue_type=quorum: "
            "Go's adapter declares queues without a namespace as classic ones, and would be refused"
        )
    return Address(
        scheme=parts.scheme,
        nodes=tuple(_node(host, PORTS[parts.scheme]) for host in hosts.split(",")),
        vhost=_vhost(parts.path),
        user=unquote(name) if name else "guest",
        password=unquote(secret) if name else "guest",
        tls=_tls(parts.scheme, options),
        namespace=namespace,
        exchange=_exchange(options),
        quorum=quorum,
        handlers=tuple(filter(None, options.get("handlers", "").split(","))),
        repair_delays=_choice(options, "repair_delays", {"false": False, "true": True}),
        heartbeat=int(_seconds(options, "heartbeat", "10", least=1.0, most=3600.0)),
        timeout=_seconds(options, "timeout", "5", least=0.001, most=3600.0),
    )


def _split(url: str) -> SplitResult:
    try:
        url.encode()
        parts = urlsplit(url)
    except ValueError:  # a UnicodeEncodeError is one, too
        raise ConfigError(f"the AMQP URL cannot be read{_SPELLING}") from None  # the cause would show the password
    if parts.scheme not in PORTS:
        raise ConfigError(f"{parts.scheme or 'no scheme'}:// is no AMQP URL; write {_FORM}")
    if "#" in url:
        raise ConfigError(f"the AMQP URL has a '#' in it{_SPELLING}")
    return parts


def _node(text: str, port: int) -> Node:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or port) if found else 0
    if not found or not 0 < port < 65536:
        raise ConfigError(f"the AMQP URL needs a host and a port from 1 to 65535; write {_FORM}{_SPELLING}")
    return found["six"] or found["name"], port


def _vhost(path: str) -> str:
    """`amqp://host` and `amqp://host/` mean the default one."""
    name = path.removeprefix("/")
    if "/" in name:
        raise ConfigError("the AMQP URL has a path behind its vhost; in the name of a vhost, write / as %2F")
    return unquote(name) or "/"


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := [key for key in options if key not in _OPTIONS]:
        raise ConfigError(f"{parts.scheme}:// has no option {unknown[0]!r}; it accepts {', '.join(_OPTIONS)}")
    return options


def _tls(scheme: str, options: dict[str, str]) -> Tls | None:
    if scheme == "amqps":
        verify = _choice(options, "verify", {"true": True, "false": False})
        return Tls(options.get("cafile"), options.get("certfile"), options.get("keyfile"), verify)
    if useless := [key for key in _TLS if key in options]:
        raise ConfigError(f"{useless[0]} says nothing without TLS; write amqps://")
    return None


def _namespace(options: dict[str, str]) -> str:
    namespace = options.get("namespace", "")
    if wrong := wrong_with_namespace(namespace):
        raise ConfigError(wrong)
    return namespace


def _exchange(options: dict[str, str]) -> str:
    name = options.get("exchange", "")
    if name and (not _EXCHANGE.fullmatch(name) or name.startswith("amq.")):
        raise ConfigError(
            f"exchange={name:.150} cannot be used: 1 to 127 letters, digits and the characters _ . : - are allowed, "
            "and names that begin with amq. are the server's"
        )
    return name


def _choice(options: dict[str, str], key: str, choices: dict[str, bool]) -> bool:
    """What `key` chooses; the first of `choices` when it is not given."""
    said = options.get(key, next(iter(choices)))
    if said not in choices:
        raise ConfigError(f"{key}={said} in the AMQP URL is unknown; write {' or '.join(choices)}")
    return choices[said]


def _seconds(options: dict[str, str], key: str, default: str, *, least: float, most: float) -> float:
    text = options.get(key, default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= most:
        raise ConfigError(f"{key}={text} in the AMQP URL is no span of time; write seconds, such as {key}={default}")
    return seconds
