"""Where a request comes from: pure checks of its headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def host_of(header: str) -> str:
    """The name in a Host header, without the port; empty when it is none."""
    try:
        found = urlsplit(f"//{header}")
        found.port  # noqa: B018 - reading it is the check
    except ValueError:
        return ""
    return (found.hostname or "").lower() if found.netloc == header and "@" not in header else ""


def is_loopback(address: str) -> bool:
    """Whether the address, or name, is of this machine."""
    if address in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Whether the console answers under this name."""
    return host in LOOPBACK or host in allowed


def is_same(host: str, fetch_site: str | None, origin: str | None) -> bool | None:
    """Whether a page of the console sent it; None: no browser tells."""
    if fetch_site is not None:
        return fetch_site == "same-origin"
    if origin is None:
        return None
    try:
        return urlsplit(origin).netloc.lower() == host.lower() if "://" in origin else False
    except ValueError:
        return False
