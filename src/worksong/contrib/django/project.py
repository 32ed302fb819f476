"""The worker of a Django project: it enqueues when a transaction commits, and closes old connections around jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache, partial, wraps
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import DEFAULT_DB_ALIAS, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from worksong.contrib.django.setting import Setting, in_place, read, url_of
from worksong.domain.errors import ConfigError
from worksong.domain.job import Job
from worksong.engine.compile import is_coroutine
from worksong.enqueueing import Delay
from worksong.faces.cli.migrate import Migrating
from worksong.handle import Handle
from worksong.jobtype import Enqueuer
from worksong.ports.backend import Intake
from worksong.within import Within
from worksong.worker import Worker

Push = Callable[[Sequence[Job], bool], object]


@cache
def project_worker() -> DjangoWorker:
    """The one that the setting WORKSONG describes; raises `ConfigError`."""
    return DjangoWorker(read())


class DjangoWorker(Worker):
    """A worker whose blocking verbs take part in the transaction that they are called in.

    Where the jobs are in the same database, the transaction itself carries them. Elsewhere they are enqueued when it
    has committed: a process that dies in between has not enqueued them.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(
            url_of(setting),
            name=setting.name,
            concurrency=setting.concurrency,
            queues=setting.queues,
            results=setting.results,
            patience=setting.patience,
            buffer=setting.buffer,
        )
        self._setting, self._made_of = setting, self.url
        self.enclose = self._with_fresh_connections

    def perform(self, job: Job) -> Handle[Any] | None:
        verbs = self._in_transaction()
        return verbs.perform(job) if verbs else super().perform(job)

    def perform_in(self, job: Job, delay: Delay) -> Handle[Any] | None:
        verbs = self._in_transaction()
        return verbs.perform_in(job, delay) if verbs else super().perform_in(job, delay)

    def perform_at(self, job: Job, when: datetime) -> Handle[Any] | None:
        verbs = self._in_transaction()
        return verbs.perform_at(job, when) if verbs else super().perform_at(job, when)

    def perform_many(self, jobs: Sequence[Job]) -> list[Handle[Any] | None]:
        verbs = self._in_transaction()
        return verbs.perform_many(jobs) if verbs else super().perform_many(jobs)

    def within(self, connection: object) -> Enqueuer:
        self._check_place()
        return super().within(connection)

    async def enqueue(self, jobs: Sequence[Job], into: Intake | None = None) -> list[Handle[Any] | None]:
        self._check_place()
        return await super().enqueue(jobs, into)

    def _check_place(self) -> None:
        """Tests have a database of their own: what they enqueue must not reach the workers of the real one."""
        alias = self._setting.database
        if not alias or self.runs_inline or self.url != self._made_of or in_place(self._setting, self.url):
            return
        raise ConfigError(
            f"the database {alias!r} is not the one that the jobs are in, but another that stands in for it, as in "
            "tests: run jobs where they are enqueued, by worksong.testing.inline(worker); nothing was enqueued"
        )

    def migrate(self, alias: str) -> None:
        """Make or upgrade the tables of jobs, if they are in this database of the project.

        That of a test is another one, which Django puts in its place; no worker finds it.
        """
        if alias == self._setting.database and in_place(self._setting, self.url):
            self.background.call(self._migrate())

    async def _migrate(self) -> None:
        backend = self.backend()
        if isinstance(backend, Migrating):
            await backend.migrate()

    def _in_transaction(self) -> Enqueuer | None:
        """The verbs within the transaction that is open here, if there is one."""
        connection = connections[self._setting.database or DEFAULT_DB_ALIAS]
        if self.runs_inline or not self._setting.on_commit or not connection.in_atomic_block:
            return None
        if self._setting.database:
            return self.within(connection)
        return Within(self, OnCommit(connection, self._push))

    def _push(self, jobs: Sequence[Job], once: bool) -> object:
        return self.background.call(self._apush(jobs, once))

    async def _apush(self, jobs: Sequence[Job], once: bool) -> list[bool]:
        return await self._intake().push(jobs, self.clock.now(), once=once)

    def _with_fresh_connections(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Around handlers. Coroutines have a thread each for what of Django blocks: one that all share would run their
        queries one by one. Inline they keep to that of the test, whose connection sees what it has written."""
        if not is_coroutine(function):
            return with_fresh_connections(function)

        @wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            if self.runs_inline:
                return await function(*args, **kwargs)
            async with ThreadSensitiveContext():
                try:
                    return await function(*args, **kwargs)
                finally:
                    await sync_to_async(connections.close_all)()

        return run_async


class OnCommit:
    """Takes jobs in when the transaction commits; whether one was a duplicate, nobody hears then."""

    blocks = True

    def __init__(self, connection: BaseDatabaseWrapper, push: Push) -> None:
        self._connection, self._push = connection, push

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        self._connection.on_commit(partial(self._push, jobs, once))
        return [True] * len(jobs)


def with_fresh_connections(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain handler as Django runs a view: no connection that is broken or too old before it, none left behind it."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return run
