"""The web console: what a backend holds, and an operator's hand, in a browser and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worksong.faces.web.console import Console

__all__ = ["Console"]


def __getattr__(name: str) -> Any:
    """The console when it is first used: others need parts of this package, and not what it is served by."""
    if name != "Console":
        raise AttributeError(f"module 'worksong.faces.web' has no attribute {name!r}")
    from worksong.faces.web.console import Console

    return Console
