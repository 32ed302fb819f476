"""The web console: what a backend holds, and an operator's hand, in a browser and as JSON."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worksong.faces.web.console import Console
    from worksong.faces.web.reception import Guest
    from worksong.faces.web.wsgi import WsgiConsole
    from worksong.service.access import Role

__all__ = ["Console", "Guest", "Role", "WsgiConsole"]

_LATER = {
    "Console": "worksong.faces.web.console",
    "Guest": "worksong.faces.web.reception",
    "Role": "worksong.service.access",
    "WsgiConsole": "worksong.faces.web.wsgi",
}
"""Imported when first used: others need parts of this package, and not what it is served by."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'worksong.faces.web' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
