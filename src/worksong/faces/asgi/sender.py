"""Whether others stand behind a request: where no token is asked for, only this machine is answered."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Scope

from worksong.faces.asgi.origin import is_loopback

FORWARDED = ("forwarded", "via", "x-real-ip")
"""Headers of a proxy, beside all of x-forwarded-."""


def is_local(scope: Scope, names: Iterable[str]) -> bool:
    """Whether it comes from this machine, and from nobody through a proxy on it; `names`: those of its headers."""
    client = scope.get("client")
    return not _is_forwarded(scope, names) and (client is None or is_loopback(client[0]))


def _is_forwarded(scope: Scope, names: Iterable[str]) -> bool:
    """Whether a proxy tells of itself; HTTP/1.0 is what some speak that tell nothing, and no browser."""
    named = any(name in FORWARDED or name.startswith("x-forwarded-") for name in names)
    return named or scope.get("http_version") == "1.0"
