"""What stands between the engine and a handler: (context, call_next) -> result."""

from __future__ import annotations

from worksong.middleware.limits import expiring, limited

__all__ = ["expiring", "limited"]
