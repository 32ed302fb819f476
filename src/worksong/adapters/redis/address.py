"""Where a Redis server is: its URL, read once."""

from __future__ import annotations

from urllib.parse import quote, unquote

from worksong.adapters import tls
from worksong.adapters.tls import SSL, Tls
from worksong.adapters.url import SPELLING, Node, Options, Shown, authority, node, split
from worksong.domain.errors import ConfigError
from worksong.domain.names import wrong_with_namespace

_FORMS = {
    "redis": "redis://[user:password@]host[:port][/db]",
    "rediss": "rediss://[user:password@]host[:port][/db]",
    "redis+unix": "redis+unix://[user:password@]/path/to.sock[?db=0]",
    "redis+sentinel": "redis+sentinel://[user:password@]host[:26379][,host...]/master[/db]",
}
_COMMON = ("db", "eviction", "medic", "namespace", "password", "result_ttl", "socket_timeout", "timeout", "username")
_OPTIONS = {
    "redis": _COMMON,
    "rediss": _COMMON + SSL.options,
    "redis+unix": _COMMON,
    "redis+sentinel": (*_COMMON, "sentinel_password", "sentinel_username", "ssl", *SSL.options),
}


class Address(Shown, frozen=True, kw_only=True):
    """What a Redis URL says."""

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
        there = authority(self.user, *self.nodes)
        if self.path:
            return f"{self.scheme}://{there}{quote(self.path)}?db={self.db}"
        return f"{self.scheme}://{there}/{self.master + '/' if self.master else ''}{self.db}"


def parse(url: str) -> Address:
    """The address that `url` means; `ConfigError` with the cause and the mend when it means none."""
    parts = split(url, "Redis", _wrong_with)
    options = Options(parts, _OPTIONS[parts.scheme], "Redis")
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
        medic=options.choice("medic", {"false": False, "true": True}),
        eviction=options.choice("eviction", {"refused": False, "allowed": True}),
        result_ttl=options.seconds("result_ttl", "86400"),
        timeout=options.seconds("timeout" if "timeout" in options else "socket_timeout", "5"),
    )


def _wrong_with(scheme: str) -> str:
    if scheme in _FORMS:
        return ""
    return f"{scheme or 'no scheme'}:// is no Redis URL; write one of {', '.join(_FORMS.values())}"


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
        return tuple(node(host, 26379, "Redis", form) for host in hosts.split(",")), "", master, db
    return (node(hosts, 6379, "Redis", form),), "", "", path.lstrip("/")


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"the database in the Redis URL is not a number; write 0, 1, 2 ...{SPELLING}")
    return int(text)


def _login(userinfo: str, options: Options) -> tuple[str | None, str | None]:
    name, colon, secret = userinfo.partition(":")
    user = unquote(name) or options.get("username") or None
    password = unquote(secret) if colon else options.get("password")
    if user and password is None:
        raise ConfigError(
            "the Redis URL has a user and no password; write redis://:password@host for a password alone, "
            "and redis://user:@host for a user who needs none"
        )
    return user, password if user else password or None


def _tls(scheme: str, options: Options) -> Tls | None:
    wanted = options.choice("ssl", {"false": False, "true": True})
    return tls.rules(options, SSL, wanted=scheme == "rediss" or wanted, mend="add ssl=true")


def _namespace(options: Options) -> str | None:
    if wrong := wrong_with_namespace(options.get("namespace", "")):
        raise ConfigError(wrong)
    return options.get("namespace")
