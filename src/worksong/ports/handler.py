"""The shape of what runs a job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[Any], Awaitable[object]]
"""Context -> what the handler returned."""

Middleware: TypeAlias = Callable[[Any, Handler], Awaitable[object]]
"""(context, call_next) -> what `await call_next(context)` returned, or something else instead."""
