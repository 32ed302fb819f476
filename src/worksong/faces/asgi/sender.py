"""Whether others stand behind a request: where no token is asked for, only this machine is answered."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Scope

from worksong.faces.asgi.origin import is_loopback

FORWARDED = ("forwarded", "via", "x-real-ip")
"""Headers of a proxy, beside all of x-forwarded-."""


def is_local(scope: Scope, *, forwarded: bool) -> bool:
    """Whether it comes from this machine, and from nobody through a proxy on it: HTTP/1.0 is what some speak that tell
    nothing, and no browser. `forwarded`: a proxy tells of itself."""
    client = scope.get("client")
    is_ours = client is None or is_loopback(client[0])
    return is_ours and not forwarded and scope.get("http_version") != "1.0"


def tell_of_a_proxy(names: Iterable[str]) -> bool:
    """Whether headers of these names do."""
    return any(name in FORWARDED or name.startswith("x-forwarded-") for name in names)
