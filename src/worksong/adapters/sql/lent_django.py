"""Django's connections: the driver's connection in them, within `transaction.atomic()`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from worksong.adapters.sql.steps import Operation
from worksong.adapters.sql.store import Joined, NotSent
from worksong.domain.errors import InvalidArguments

T = TypeVar("T")


class JoinedDjango:
    """`django.db.connection`, or one of `django.db.connections`."""

    blocks = True

    def __init__(self, connection: Any, join: Callable[[object], Joined]) -> None:
        self._connection, self._join = connection, join

    async def run(self, operation: Operation[T]) -> T:
        joined = self._join(self._driver())
        self._check()
        return await joined.run(operation)

    def _driver(self) -> object:
        connection = self._connection
        try:
            connection.ensure_connection()
            connection.validate_thread_sharing()
        except import_module("django.core.exceptions").SynchronousOnlyOperation as failure:
            raise InvalidArguments(
                "Django's connection cannot be used within an event loop: do the work of the transaction, perform "
                "included, in a function and await sync_to_async(function)(); nothing was enqueued"
            ) from failure
        except import_module("django.db").OperationalError as failure:
            raise NotSent(f"Django has no connection: {failure}; nothing was carried out") from failure
        except import_module("django.db").Error as failure:
            raise InvalidArguments(f"the connection cannot be used: {failure}; nothing was enqueued") from failure
        driver: object = connection.connection
        return driver

    def _check(self) -> None:
        if self._connection.get_autocommit():
            raise InvalidArguments(
                "the connection has no transaction open and would commit by itself: enqueue within "
                "`with transaction.atomic():`, or without a connection; nothing was enqueued"
            )
        if self._connection.needs_rollback:
            raise InvalidArguments(
                "an earlier statement of the atomic block failed, so it can only be rolled back; nothing was enqueued"
            )

    def closed(self) -> bool:
        """Django finds out by itself, when it rolls back."""
        return False

    def on_commit(self, call: Callable[[], None]) -> None:
        if self._connection.in_atomic_block:  # Django refuses it where the application commits by hand
            self._connection.on_commit(call, robust=True)
