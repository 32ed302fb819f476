"""Where a Redis server is: its URL, read once."""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

import msgspec

from worksong.adapters.tls import Tls
from worksong.domain.errors import ConfigError
from worksong.domain.names import wrong_with_namespace

Node: TypeAlias = tuple[str, int]

_FORMS = {
    "redis": "redis://[user:password@]host[:port][/db]",
    "rediss": "rediss://[user:password@]host[:port][/db]",
    "redis+unix": "redis+unix://[user:password@]/path/to.sock[?db=0]",
    "redis+sentinel": "redis+sentinel://[user:password@]host[:26379][,host...]/master[/db]",
}
_COMMON = ("db", "eviction", "medic", "namespace", "password", "result_ttl", "socket_timeout", "timeout", "username")
_TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = {
    "redis": _COMMON,
    "rediss": _COMMON + _TLS,
    "redis+unix": _COMMON,
    "redis+sentinel": (*_COMMON, "sentinel_password", "sentinel_username", "ssl", *_TLS),
}
_HOST = re.compile(r"(?:\[(?P<six>[\w:.%]+)\]|(?P<name>[\w.-]+))(?::(?P<port>\d{1,5}))?")
_SPELLING = "; in a password, write / as %2F, ? as %3F, # as %23 and @ as %40"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """What a Redis URL says. Its texts, `repr` and `shown`, hold no password."""

    scheme: str = "redis"
    nodes: tuple[Node, ...] = ()
    """The one server, or the sentinels to ask; empty for a unix socket."""
    path: str = ""
    """The unix socket."""
    master: str = ""
    """The name under which the sentinels know the server."""
    db: int = 0
    user: str | None = None
    password: str | None = None
    sentinel_user: str | None = None
    sentinel_password: str | None = None
    tls: Tls | None = None
    namespace: str | None = None
    medic: bool = False
    """Whether to revive what Go pools buried because they did not know its job type."""
    eviction: bool = False
    """Whether a server that drops keys when its memory is full is taken all the same."""
    result_ttl: float = 86400.0
    """Seconds that results are kept."""
    timeout: float = 5.0
    """Seconds to connect in, and for each command to be answered in."""

    @property
    def shown(self) -> str:
        """The URL for errors and logs: without passwords and options."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        if self.path:
            return f"{self.scheme}://{user}{quote(self.path)}?db={self.db}"
        return f"{self.scheme}://{user}{hosts}/{self.master + '/' if self.master else ''}{self.db}"

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("shown", self.shown)]


def parse(url: str) -> Address:
    """The address that `url` means; `ConfigError` with the cause and the mend when it means none."""
    parts = _split(url)
    options = _options(parts)
    userinfo, _, hosts = parts.netloc.rpartition("@")
    user, password = _login(userinfo, options)
    nodes, path, master, db = _place(parts.scheme, hosts, unquote(parts.path))
    return Address(
        scheme=parts.scheme,
        nodes=nodes,
        path=path,
        master=master,
        db=_database(db or options.get("db", "0")),
        user=user,
        password=password,
        sentinel_user=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=_tls(parts.scheme, options),
        namespace=_namespace(options),
        medic=_choice(options, "medic", {"false": False, "true": True}),
        eviction=_choice(options, "eviction", {"refused": False, "allowed": True}),
        result_ttl=_seconds(options, "result_ttl", "86400"),
        timeout=_seconds(options, "timeout", options.get("socket_timeout", "5")),
    )


def _split(url: str) -> SplitResult:
    try:
        url.encode()
        parts = urlsplit(url)
    except ValueError:  # a UnicodeEncodeError is one, too
        raise ConfigError(f"the Redis URL cannot be read{_SPELLING}") from None  # the cause would show the password
    if parts.scheme not in _FORMS:
        raise ConfigError(
            f"{parts.scheme or 'no scheme'}:// is no Redis URL; write one of {', '.join(_FORMS.values())}"
        )
    if "#" in url:
        raise ConfigError(f"the Redis URL has a '#' in it{_SPELLING}")
    return parts


def _place(scheme: str, hosts: str, path: str) -> tuple[tuple[Node, ...], str, str, str]:
    """(nodes, socket path, master, db), the last three empty when not said."""
    form = _FORMS[scheme]
    if scheme == "redis+unix":
        if hosts or path in ("", "/"):
            raise ConfigError(f"the Redis URL names no absolute socket path; write {form}")
        return (), path, "", ""
    if scheme == "redis+sentinel":
        master, _, db = path.lstrip("/").partition("/")
        if not master:
            raise ConfigError(f"the Redis URL names no master to ask the sentinels for; write {form}")
        return tuple(_node(host, 26379, form) for host in hosts.split(",")), "", master, db
    return (_node(hosts, 6379, form),), "", "", path.lstrip("/")


def _node(text: str, port: int, form: str) -> Node:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or port) if found else 0
    if not found or not 0 < port < 65536:
        raise ConfigError(f"the Redis URL needs a host and a port from 1 to 65535; write {form}{_SPELLING}")
    return found["six"] or found["name"], port


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"the database in the Redis URL is not a number; write 0, 1, 2 ...{_SPELLING}")
    return int(text)


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    accepted = _OPTIONS[parts.scheme]
    if unknown := [key for key in options if key not in accepted]:
        raise ConfigError(f"{parts.scheme}:// has no option {unknown[0]!r}; it accepts {', '.join(sorted(accepted))}")
    return options


def _login(userinfo: str, options: dict[str, str]) -> tuple[str | None, str | None]:
    name, colon, secret = userinfo.partition(":")
    user = unquote(name) or options.get("username") or None
    password = unquote(secret) if colon else options.get("password")
    if user and password is None:
        raise ConfigError(
            "the Redis URL has a user and no password; write redis://:password@host for a password alone, "
            "and redis://user:@host for a user who needs none"
        )
    return user, password if user else password or None


def _tls(scheme: str, options: dict[str, str]) -> Tls | None:
    wanted = _choice(options, "ssl", {"false": False, "true": True})
    verify = _choice(options, "ssl_cert_reqs", {"required": True, "none": False})
    if scheme == "rediss" or wanted:
        return Tls(options.get("ssl_ca_certs"), options.get("ssl_certfile"), options.get("ssl_keyfile"), verify)
    if useless := [key for key in _TLS if key in options]:
        raise ConfigError(f"{useless[0]} says nothing without TLS; add ssl=true")
    return None


def _namespace(options: dict[str, str]) -> str | None:
    if wrong := wrong_with_namespace(options.get("namespace", "")):
        raise ConfigError(wrong)
    return options.get("namespace")


def _choice(options: dict[str, str], key: str, choices: dict[str, bool]) -> bool:
    """What `key` chooses; the first of `choices` when it is not given."""
    said = options.get(key, next(iter(choices)))
    if said not in choices:
        raise ConfigError(f"{key}={said} in the Redis URL is unknown; write {' or '.join(choices)}")
    return choices[said]


def _seconds(options: dict[str, str], key: str, default: str) -> float:
    text = options.get(key, default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{key}={text} in the Redis URL is no span of time; write seconds, such as {key}=5")
    return seconds
