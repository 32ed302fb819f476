"""The web console: what a backend holds, and an operator's hand, in a browser and as JSON."""

from __future__ import annotations

from worksong.faces.web.console import Console

__all__ = ["Console"]
