"""The context of the run that is going on here."""

from __future__ import annotations

from contextvars import ContextVar

from worksong.domain.errors import NotStarted
from worksong.ports.context import Context

CURRENT: ContextVar[Context] = ContextVar("worksong.current")


def current() -> Context:
    """The running job's context, anywhere inside its handler; `NotStarted` outside of one."""
    try:
        return CURRENT.get()
    except LookupError:
        raise NotStarted("no job is running here: current() works inside a handler only") from None
