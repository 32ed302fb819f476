"""Where a RabbitMQ server is, and how its queues are meant: the URL, read once."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from worksong.adapters import tls
from worksong.adapters.tls import Tls
from worksong.adapters.url import Node, Options, Shown, authority, node, split
from worksong.domain.errors import ConfigError
from worksong.domain.names import wrong_with_namespace

PORTS = {"amqp": 5672, "amqps": 5671}
_FORM = "amqp[s]://[user:password@]host[:port][,host...][/vhost]"
_TLS = tls.Names("cafile", "certfile", "keyfile", "verify", {"true": True, "false": False})
_OPTIONS = (
    "consumer_timeout",
    "exchange",
    "handlers",
    "heartbeat",
    "namespace",
    "queue_type",
    "repair_delays",
    "timeout",
    *_TLS.options,
)
_EXCHANGE = re.compile(r"[A-Za-z0-9_.:-]{1,127}")


class Address(Shown, frozen=True, kw_only=True):
    """What an AMQP URL says."""

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
    consumer_timeout: float = 1800.0
    """Seconds after which the server takes a job back that is not ended, by its own setting of that name."""
    timeout: float = 5.0
    """Seconds to connect in, and for each answer of the server to come in."""

    @property
    def shown(self) -> str:
        return f"{self.scheme}://{authority(self.user, *self.nodes)}/{quote(self.vhost, safe='')}"


def parse(url: str) -> Address:
    """The address that `url` means; `ConfigError` with the cause and the mend when it means none."""
    parts = split(url, "AMQP", _wrong_with)
    options = Options(parts, _OPTIONS, "AMQP")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    name, colon, secret = userinfo.partition(":")
    if name and not colon:
        raise ConfigError("the AMQP URL has a user and no password; write amqp://user:password@host")
    namespace, quorum = _namespace(options), options.choice("queue_type", {"classic": False, "quorum": True})
    if quorum and not namespace:
        raise ConfigError(
            "queue_type=quorum needs a namespace of its own, as in ?namespace=myapp&queue_type=quorum: "
            "Go's adapter declares queues without a namespace as classic ones, and would be refused"
        )
    return Address(
        scheme=parts.scheme,
        nodes=tuple(node(host, PORTS[parts.scheme], "AMQP", _FORM) for host in hosts.split(",")),
        vhost=_vhost(parts.path),
        user=unquote(name) if name else "guest",
        password=unquote(secret) if name else "guest",
        tls=tls.rules(options, _TLS, wanted=parts.scheme == "amqps", mend="write amqps://"),
        namespace=namespace,
        exchange=_exchange(options),
        quorum=quorum,
        handlers=tuple(filter(None, options.get("handlers", "").split(","))),
        repair_delays=options.choice("repair_delays", {"false": False, "true": True}),
        heartbeat=int(options.seconds("heartbeat", "10", least=1.0, most=3600.0)),
        consumer_timeout=options.seconds("consumer_timeout", "1800", least=1.0, most=10 * 365 * 86_400.0),
        timeout=options.seconds("timeout", "5", least=0.001, most=3600.0),
    )


def _wrong_with(scheme: str) -> str:
    return "" if scheme in PORTS else f"{scheme or 'no scheme'}:// is no AMQP URL; write {_FORM}"


def _vhost(path: str) -> str:
    """`amqp://host` and `amqp://host/` mean the default one."""
    name = path.removeprefix("/")
    if "/" in name:
        raise ConfigError("the AMQP URL has a path behind its vhost; in the name of a vhost, write / as %2F")
    return unquote(name) or "/"


def _namespace(options: Options) -> str:
    namespace = options.get("namespace", "")
    if wrong := wrong_with_namespace(namespace):
        raise ConfigError(wrong)
    return namespace


def _exchange(options: Options) -> str:
    name = options.get("exchange", "")
    if name and (not _EXCHANGE.fullmatch(name) or name.startswith("amq.")):
        raise ConfigError(
            f"exchange={name:.150} cannot be used: 1 to 127 letters, digits and the characters _ . : - are allowed, "
            "and names that begin with amq. are the server's"
        )
    return name
