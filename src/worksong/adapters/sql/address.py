"""What the URL of a database says, read once."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from worksong.adapters.sql.upkeep import Keep
from worksong.adapters.url import Options, Shown, authority
from worksong.domain import go_duration
from worksong.domain.errors import ConfigError

COMMON = ("history", "history_count", "migrate", "namespace", "result_ttl", "timeout")
RESULT_TTL = 86400.0
LONGEST_NAMESPACE = 100


class Address(Shown, frozen=True, kw_only=True):
    """Where a database is."""

    scheme: str
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    database: str = ""
    """The name of the database; for SQLite the path of the file."""
    options: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        self.seconds("timeout", 1.0)

    @property
    def shown(self) -> str:
        there = authority(self.user, (self.host, self.port)) if self.host else ""
        return f"{self.scheme}://{there}/{self.database}"

    def namespace(self, given: str) -> str:
        """The URL's own one before the one given."""
        name = self.options.get("namespace", given)
        if len(name.encode("utf-8", "replace")) > LONGEST_NAMESPACE or not (name.isprintable() or not name):
            raise ConfigError(f"{self.shown}: a namespace has at most {LONGEST_NAMESPACE} bytes, all printable")
        return name

    def choice(self, name: str, words: tuple[str, ...]) -> str:
        """The value of an option that takes one of these words; the first one is the default."""
        value = self.options.get(name, words[0])
        if value.lower() not in [word.lower() for word in words]:
            raise ConfigError(f"{self.shown}: {name}={value!r:.50} must be one of {', '.join(words)}")
        return value.lower()

    def seconds(self, name: str, default: float) -> float:
        """The value of an option in seconds: a number, or a duration such as 1h30m."""
        given = self.options.get(name)
        if given is None:
            return default
        try:
            value = float(given)
        except ValueError:
            value = go_duration.seconds(given)
        if not 0 < value < 1e9:
            raise ConfigError(f"{self.shown}: {name}={given!r:.50} must be a time greater than nothing, such as 30s")
        return value

    @property
    def keep(self) -> Keep:
        """How long finished jobs are remembered."""
        most = self.options.get("history_count", "1000000")
        if not most.isdecimal() or not int(most):
            raise ConfigError(f"{self.shown}: history_count={most!r:.50} must be a whole number, 1 or more")
        return Keep(self.seconds("history", 0.0), int(most))

    @property
    def result_ttl(self) -> float:
        """Seconds that the result of a job is kept; 0: none is."""
        return 0.0 if self.options.get("result_ttl") == "off" else self.seconds("result_ttl", RESULT_TTL)


def file(url: str, known: tuple[str, ...]) -> Address:
    """`sqlite:///relative.db` and `sqlite:////absolute.db`."""
    parts = _split(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or not path:
        raise ConfigError(
            f"{parts.scheme}:// takes the path of a file: sqlite:///jobs.db beside you, sqlite:////var/jobs.db anywhere"
        )
    if path == ":memory:":
        raise ConfigError("sqlite keeps jobs in a file; for jobs that live in this process only, use memory://")
    return Address(scheme=parts.scheme, database=path, options=_options(parts, known))


def server(url: str, port: int, known: tuple[str, ...]) -> Address:
    """`scheme://[user[:password]@]host[:port]/database`."""
    parts = _split(url)
    try:
        host, given = parts.hostname or "localhost", parts.port or port
    except ValueError:
        raise ConfigError(f"the port of a {parts.scheme}:// URL must be a number up to 65535") from None
    database = unquote(parts.path)[1:]
    if not database or "/" in database:
        raise ConfigError(f"{parts.scheme}://{host} names no database: {parts.scheme}://user:password@host/database")
    return Address(
        scheme=parts.scheme,
        host=host,
        port=given,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        options=_options(parts, known),
    )


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise ConfigError(
            "the URL of the database cannot be read; in a password, write / as %2F and @ as %40"
        ) from None


def _options(parts: SplitResult, known: tuple[str, ...]) -> Options:
    return Options(parts, {*COMMON, *known}, "database")
