"""Where a Resque namespace is: the URL of a Redis server with `resque+` before it."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from worksong.adapters.redis.address import Address, parse
from worksong.domain.errors import ConfigError

NAMESPACE = "resque"
"""The peers' default: whoever says nothing meets them there."""
PREFIX = "resque+"


class Place(NamedTuple):
    """A namespace on a server, and how payloads are written there."""

    address: Address
    namespace: str
    plain: bool
    """Nothing but class and arguments, so that peers find a payload by its text."""

    @property
    def shown(self) -> str:
        """The URL for errors and logs: without passwords and options."""
        return f"{PREFIX}{self.address.shown}"


def read(url: str) -> Place:
    """The place that `url` means; `ConfigError` with the cause and the mend when it means none."""
    bare = _with_host(url[len(PREFIX) :] if url[: len(PREFIX)].lower() == PREFIX else url)
    try:
        parts = urlsplit(bare)
    except ValueError:
        parse(bare)  # raises, and says what is wrong without showing the password
        raise
    options = parse_qsl(parts.query, keep_blank_values=True)
    plain = dict(options).get("plain", "false")
    if plain not in ("true", "false"):
        raise ConfigError(f"plain={plain} in the Resque URL is unknown; write false or true")
    rest = [(name, value) for name, value in options if name != "plain"]
    address = parse(parts._replace(query=urlencode(rest)).geturl() if len(rest) < len(options) else bare)
    return Place(address, NAMESPACE if address.namespace is None else address.namespace, plain == "true")


def _with_host(url: str) -> str:
    """A URL that names no host takes it from where goworker finds it; its options stay."""
    scheme, _, rest = url.partition("://")
    place, mark, options = rest.partition("?")
    if place or scheme not in ("redis", "rediss"):
        return url
    named = os.environ.get("REDIS_PROVIDER")
    variable = named or "REDIS_URL"
    found = os.environ.get(variable, "" if named else "redis://localhost:6379/")
    if not found.startswith(("redis://", "rediss://", "unix:")):
        said = f"REDIS_PROVIDER names the variable {named}, which" if named else "REDIS_URL"
        raise ConfigError(f"{said} holds no Redis URL; write redis://host:6379/0, or name the host in {PREFIX}{url}")
    if found.startswith("unix:"):
        found = f"redis+{found if found.startswith('unix://') else found.replace('unix:', 'unix://', 1)}"
    own, _, more = found.partition("?")
    options = "&".join(part for part in (more, options) if part)
    return f"{own}?{options}" if mark or more else own
