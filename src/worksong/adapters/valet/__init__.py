"""The stores of Valet: read, page by page, and never written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from worksong.domain.errors import ConfigError
from worksong.wire.valet import Misfit, Unit


class Stock(NamedTuple):
    """How much there is."""

    jobs: int
    pipelines: int
    results: int


class ValetStore(Protocol):
    """Belongs to the event loop of its first use. All raise `BackendUnavailable` while it is away."""

    @property
    def name(self) -> str:
        """How errors call it: the URL without secrets."""
        ...

    async def stock(self) -> Stock:
        """How much there is; raises `ConfigError` where Valet has kept nothing at all."""
        ...

    def pages(self) -> AsyncGenerator[Sequence[Unit | Misfit]]:
        """Everything, pipelines first; each of it once."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def _sql(url: str) -> ValetStore:
    from worksong.adapters.valet.sql import SqlValet

    return SqlValet(url)


def _redis(url: str) -> ValetStore:
    from worksong.adapters.valet.redis import RedisValet

    return RedisValet(url)


_BY_SCHEME: Mapping[str, Callable[[str], ValetStore]] = {
    **dict.fromkeys(("mysql", "mariadb", "postgresql", "postgres"), _sql),
    **dict.fromkeys(("redis", "rediss", "redis+unix", "redis+sentinel"), _redis),
}
EXTRAS = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "postgres": "postgres"}


def connect_valet(url: str) -> ValetStore:
    """What Valet keeps at this URL; connects when used. On Redis, `?namespace=` is Valet's `key_prefix`."""
    scheme = url.partition("://")[0].lower()
    if scheme not in _BY_SCHEME:
        shown = scheme if scheme.isalnum() else ""  # anything else could be a login
        raise ConfigError(f"Valet keeps nothing at a URL of the scheme {shown!r}: it is one of {', '.join(_BY_SCHEME)}")
    try:
        return _BY_SCHEME[scheme](url)
    except ModuleNotFoundError as missing:
        extra = EXTRAS.get(scheme, "redis")
        raise ConfigError(
            f"{scheme}:// needs the package {missing.name!r}: pip install 'worksong[{extra}]'"
        ) from missing
