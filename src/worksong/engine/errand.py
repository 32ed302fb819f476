"""A run of a plain function with nothing around it: a thread takes all of it, without a coroutine that waits for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import Context as Variables

from worksong.engine.compile import Plain, Route
from worksong.engine.current import CURRENT
from worksong.engine.threads import tellable
from worksong.ports.backend import Running
from worksong.ports.context import Context


class Errand:
    """One job on its way through a thread; `returned` hears of it in the loop, unless it was given up."""

    __slots__ = ("_context", "_plain", "_returned", "failure", "given_up", "route", "running", "value", "variables")

    def __init__(
        self,
        running: Running,
        route: Route,
        plain: Plain,
        context: Context,
        variables: Variables,
        *,
        returned: Callable[[Errand], None],
    ) -> None:
        self.running, self.route, self.variables = running, route, variables
        self._plain, self._context, self._returned = plain, context, returned
        self.given_up = False
        """Nobody waits for it any more: a function that has not begun is not called."""
        self.value: object = None
        self.failure: BaseException | None = None

    def carry_out(self) -> None:
        try:
            self.value = self.variables.run(self._call)
        except BaseException as raised:  # SystemExit in a thread would end it unseen
            self.failure = tellable(raised)

    def deliver(self) -> None:
        if self.given_up:
            self.drop()
        else:
            self._returned(self)

    def drop(self) -> None:
        """What it returned is not awaited."""
        if inspect.iscoroutine(self.value):
            self.value.close()

    def _call(self) -> object:
        CURRENT.set(self._context)
        return self._plain(self._context)
