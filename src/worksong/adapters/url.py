"""The URL of a server, read piece by piece: what is wrong is told with the mend, and without the password."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

import msgspec

from worksong.domain.errors import ConfigError

T = TypeVar("T")
Node: TypeAlias = tuple[str, int]
"""Host and port."""

SPELLING = "; in a password, write / as %2F, ? as %3F, # as %23 and @ as %40"
_HOST = re.compile(r"(?:\[(?P<six>[\w:.%]+)\]|(?P<name>[\w.-]+))(?::(?P<port>\d{1,5}))?")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An address. Its texts, `repr` and `shown`, hold no password."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """The URL for errors and logs: without passwords and options."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("shown", self.shown)]


class Options(dict[str, str]):
    """What stands behind the question mark; `kind` is how errors call such a URL: Redis, AMQP ..."""

    def __init__(self, parts: SplitResult, accepted: Iterable[str], kind: str) -> None:
        super().__init__(parse_qsl(parts.query, keep_blank_values=True))
        self._kind, known = kind, sorted(accepted)
        if unknown := [name for name in self if name not in known]:
            raise ConfigError(f"{parts.scheme}:// has no option {unknown[0]!r:.50}; it accepts {', '.join(known)}")

    def choice(self, name: str, choices: Mapping[str, T]) -> T:
        """What the option chooses; the first of `choices` when it is not given."""
        said = self.get(name, next(iter(choices)))
        if said not in choices:
            raise ConfigError(f"{name}={said} in the {self._kind} URL is unknown; write {' or '.join(choices)}")
        return choices[said]

    def seconds(self, name: str, default: str, *, least: float = 0.0, most: float = math.inf) -> float:
        """A span of time, longer than nothing."""
        text = self.get(name, default)
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not (0 < seconds < math.inf and least <= seconds <= most):
            raise ConfigError(
                f"{name}={text:.40} in the {self._kind} URL is no span of time; write seconds, such as {name}={default}"
            )
        return seconds


def split(url: str, kind: str, wrong_with: Callable[[str], str]) -> SplitResult:
    """The parts of a URL of this kind; `wrong_with` tells what is wrong with its scheme, '' for a good one."""
    try:
        url.encode()
        parts = _split(url)
    except ValueError:  # a UnicodeEncodeError is one, too
        raise ConfigError(f"the {kind} URL cannot be read{SPELLING}") from None  # the cause would show the password
    if wrong := wrong_with(parts.scheme):
        raise ConfigError(wrong)
    if "#" in url:
        raise ConfigError(f"the {kind} URL has a '#' in it{SPELLING}")
    return parts


def _split(url: str) -> SplitResult:
    """As `urlsplit`; of several hosts, newer Pythons refuse brackets that are not those of the first."""
    scheme, _, rest = url.partition("://")
    hosts = re.split("[/?#]", rest, maxsplit=1)[0]
    if "," not in hosts or hosts.count("[") != hosts.count("]"):
        return urlsplit(url)
    return urlsplit(f"{scheme}://{rest[len(hosts) :]}")._replace(netloc=hosts)


def node(text: str, port: int, kind: str, form: str) -> Node:
    """`host`, `host:port` or `[::1]:port`; `port` where none is said, `form` is how such a URL is written."""
    found = _HOST.fullmatch(text)
    port = int(found["port"] or port) if found else 0
    if not found or not 0 < port < 65536:
        raise ConfigError(f"the {kind} URL needs a host and a port from 1 to 65535; write {form}{SPELLING}")
    return found["six"] or found["name"], port


def authority(user: str | None, *nodes: Node) -> str:
    """`user@host:port,host:port`, as it is shown."""
    named = f"{quote(user, safe='')}@" if user else ""
    return named + ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in nodes)
