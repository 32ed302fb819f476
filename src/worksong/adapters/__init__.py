"""From a URL to what serves it: entry points of `worksong.backends`, of `.results` and of `.records`."""

from __future__ import annotations

from typing import Any

from worksong.domain.errors import ConfigError
from worksong.ports.backend import Backend, BackendFactory
from worksong.ports.records import RecordStore, RecordStoreFactory
from worksong.ports.results import ResultStore, ResultStoreFactory

_EXTRAS = {"redis": "redis", "hiredis": "redis", "asyncpg": "postgres", "asyncmy": "mysql", "pika": "amqp"}

BARE = frozenset({"faktory:", "faktory+tls:"})
"""URLs that are schemes alone."""


def connect(url: str, *, namespace: str) -> Backend:
    """The backend for `url`; opens nothing yet. `namespace` keeps applications apart, unless the URL names one."""
    factory: BackendFactory = _found(url, "backend")
    return factory(url, namespace=namespace)


def connect_results(url: str, *, namespace: str) -> ResultStore:
    """The store of results for `url`; opens nothing yet."""
    factory: ResultStoreFactory = _found(url, "result store")
    return factory(url, namespace=namespace)


def connect_records(url: str, *, namespace: str) -> RecordStore:
    """The store of records for `url`; opens nothing yet."""
    factory: RecordStoreFactory = _found(url, "record store")
    return factory(url, namespace=namespace)


_GROUPS = {
    "backend": "worksong.backends",
    "result store": "worksong.results",
    "record store": "worksong.records",
}


def _found(url: str, what: str) -> Any:
    if not isinstance(url, str):
        raise ConfigError(f"the {what}'s URL must be a text, not {url!r:.100}; is the variable it comes from set?")
    from importlib.metadata import entry_points  # a third of the time that importing worksong would take

    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if url.lower() in BARE:  # the rest is in the environment
        scheme = url[:-1].lower()
    found = {entry.name: entry for entry in entry_points(group=_GROUPS[what])}
    if scheme not in found:
        shown = scheme if scheme.isalnum() else ""  # anything else could be a login
        raise ConfigError(
            f"no {what} for a URL of the scheme {shown!r}: it must be one of "
            f"{', '.join(sorted(found))}, as in redis://localhost:6379/0"
        )
    try:
        return found[scheme].load()
    except ModuleNotFoundError as missing:
        extra = _EXTRAS.get(missing.name or "", "all")
        raise ConfigError(
            f"{scheme}:// needs the package {missing.name!r}: pip install 'worksong[{extra}]'"
        ) from missing
