"""`postgresql://`: batches over arrays, SKIP LOCKED, and LISTEN on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from worksong.adapters.bells import Bells
from worksong.adapters.sql import migrate, postgres_failures
from worksong.adapters.sql.address import Address, server
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.doctor.postgres import POSTGRES
from worksong.adapters.sql.failures import Verdict
from worksong.adapters.sql.lines import Line
from worksong.adapters.sql.postgres_index import HOWEVER_LONG, built, telling, whole
from worksong.adapters.sql.postgres_joined import JoinedPostgres
from worksong.adapters.sql.postgres_lent import PostgresLending
from worksong.adapters.sql.postgres_programs import DIALECT, numbered
from worksong.adapters.sql.records import SqlRecords
from worksong.adapters.sql.results import SqlResults, apart
from worksong.adapters.sql.servers import LEASH, ServerStore
from worksong.adapters.sql.steps import Program, Row, Step
from worksong.adapters.sql.store import Joined, Lent
from worksong.domain.errors import BackendUnavailable, WorksongError
from worksong.domain.job import new_id

Connection: TypeAlias = Any
_connect = cast("Any", asyncpg).connect  # its parameters have no types

PORT = 5432
LOCK = 0x776F726B
"""The key of the advisory lock under which tables are migrated."""
LONGEST_MIGRATION = 60.0
"""Seconds that somebody else may take."""
PLANNED_FOR = 10.0
"""Seconds after which a statement is planned anew: tables grow."""
NAP = 0.1
"""Seconds between two looks when nobody can be listened to."""
OPTIONS = ("host", "listen", "sslmode", "statement_cache")


def postgres_backend(url: str, *, namespace: str) -> SqlBackend:
    """The backend of a database; connects when first used."""
    store = _store(url, namespace)
    return SqlBackend(store, store.namespace)


def postgres_results(url: str, *, namespace: str) -> SqlResults:
    """A store of results in a database; connects when first used."""
    store = _store(url, namespace)
    return apart(store, store.namespace)


def postgres_records(url: str, *, namespace: str) -> SqlRecords:
    """A store of records in a database; connects when first used."""
    store = _store(url, namespace)
    return SqlRecords(store, store.namespace)


def _store(url: str, namespace: str) -> PostgresStore:
    address = server(url, PORT, OPTIONS)
    address.choice("statement_cache", ("on", "off"))
    address.choice("listen", ("on", "off"))
    address.choice("migrate", ("refuse", "auto"))
    return PostgresStore(address, address.namespace(namespace))


class PostgresStore(ServerStore[Connection]):
    """Transactions on a few connections; one more that listens, once somebody waits."""

    dialect = DIALECT
    specialist = POSTGRES
    one_step = copies = True
    undoes_tables = True

    def __init__(self, address: Address, namespace: str) -> None:
        super().__init__(address, namespace)
        self._texts = numbered()
        self._cached = address.choice("statement_cache", ("on", "off")) == "on"
        self._channel = f"worksong_{hashlib.blake2b(namespace.encode(), digest_size=12).hexdigest()}"
        self._sender = new_id()
        self._ear: Connection | None = None
        self._listening = asyncio.Lock()
        self._lending = PostgresLending(self, self._login)
        self._untold = False
        self._teller: asyncio.Task[None] | None = None

    def sibling(self) -> PostgresStore:
        return PostgresStore(self.address, self.namespace)

    async def dial(self) -> Connection:
        # Plans are kept for a while, also from when the tables were empty: a scan of all rows is never the right one.
        plans = {"jit": "off", "enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}
        leash = {"idle_in_transaction_session_timeout": f"{LEASH}s"}
        settings = {"application_name": "worksong", **plans, **leash} if self._cached else None
        return await _connect(**self._login(), server_settings=settings, max_cached_statement_lifetime=PLANNED_FOR)

    def _login(self) -> dict[str, Any]:
        a = self.address
        return {
            "host": a.options.get("host", a.host),
            "port": a.port,
            "user": a.user or None,
            "password": a.password or None,
            "database": a.database,
            "ssl": _tls(a),
            "command_timeout": a.seconds("timeout", 30.0),
            "statement_cache_size": 256 if self._cached else 0,
        }

    async def borrowed(self) -> Lent:
        return await self._lending.lend()

    async def begin(self, connection: Connection, *, write: bool, lasting: bool = True) -> None:
        await connection.execute(_BEGIN[write, lasting])

    async def commit(self, connection: Connection) -> None:
        await connection.execute("COMMIT")

    async def rollback(self, connection: Connection) -> None:
        await connection.execute("ROLLBACK")

    async def execute(self, connection: Connection, step: Step, before: str = "", after: str = "") -> Any:
        text = self._texts[step.name]
        if text.copied:
            done = await connection.copy_records_to_table(text.copied, records=step.rows, columns=text.columns)
            return _number(done)
        given = text.given(step)
        if text.answers:
            return [tuple(row) for row in await connection.fetch(text.sql, *given)]
        return _number(await connection.execute(text.sql, *given))

    async def rows(self, connection: Connection, sql: str) -> list[Row]:
        """Behind a pooler only what is within a transaction, or one message, surely meets one and the same session."""
        if self._cached:
            return [tuple(row) for row in await connection.fetch(sql)]
        if not sql.startswith("SELECT"):
            await connection.execute(sql)
            return []
        if connection.is_in_transaction():
            return [tuple(row) for row in await connection.fetch(sql)]
        async with connection.transaction():
            return [tuple(row) for row in await connection.fetch(sql)]

    @contextlib.asynccontextmanager
    async def locked(self, connection: Connection) -> AsyncGenerator[None]:
        if self._cached:
            await self._turn(partial(connection.fetchval, f"SELECT pg_try_advisory_lock({LOCK})"))
            try:
                yield
            finally:
                await connection.execute(f"SELECT pg_advisory_unlock({LOCK})")
            return
        guard = await self._connect()
        try:
            await self._turn(partial(self._guarded, guard))
            yield
            await guard.execute("ROLLBACK")
        finally:
            self.hang_up(guard)

    async def _guarded(self, guard: Connection) -> bool:
        """Behind a pooler a lock lasts as long as a transaction; who waits for it may not keep a connection."""
        await guard.execute("BEGIN")
        has_it = bool(await guard.fetchval(f"SELECT pg_try_advisory_xact_lock({LOCK})"))
        # The driver leaves its question open in a transaction, and who builds an index would wait for what that sees.
        await guard.execute("SELECT" if has_it else "ROLLBACK")
        return has_it

    async def _turn(self, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Asks again and again: whoever builds an index beside the work waits for each statement that is under way,
        one that waits for him included."""
        until = time.monotonic() + LONGEST_MIGRATION
        while not await attempt():
            if time.monotonic() > until:
                raise migrate.under_way(self.address.shown)
            await asyncio.sleep(NAP)

    async def build(self, connection: Connection, ahead: Sequence[str]) -> None:
        for sql in ahead:
            index = built(sql)
            if await self.plain(connection, whole(index)) != [True]:
                with telling(self.address.shown, index):
                    await connection.execute(sql, timeout=HOWEVER_LONG)

    def prepare(self, sql: str, connection: Connection) -> str:
        return sql

    def meaning(self, failure: BaseException) -> Verdict:
        return postgres_failures.meaning(failure)

    def mend(self, failure: BaseException) -> str:
        return postgres_failures.mend(failure)

    def absent(self, failure: BaseException) -> bool:
        return postgres_failures.absent(failure)

    def hang_up(self, connection: Connection) -> None:
        connection.terminate()

    def closed(self, connection: Connection) -> bool:
        return bool(connection.is_closed())

    def join(self, lent: Line) -> Joined:
        return JoinedPostgres(lent, self, self.news())

    # wake-up

    async def hear(self, bells: Bells, seconds: float, rings: int, idle: int) -> bool:
        """By NOTIFY; by looking again and again where that cannot be had, as behind PgBouncer."""
        if await self._listen(bells):
            return await bells.hear(seconds, rings)
        await bells.hear(min(seconds, NAP, 0.005 * 2 ** min(idle, 10)), rings)
        return True

    async def _listen(self, bells: Bells) -> bool:
        """Whether a connection listens; rings when it began just now, for what was told before."""
        if self.address.choice("listen", ("on", "off")) == "off" or not self._cached:
            return False
        if self._ear is not None and not self._ear.is_closed():
            return True
        async with self._listening:
            if self._ear is None or self._ear.is_closed():
                try:
                    self._ear = await self._ear_for(bells)
                except (BackendUnavailable, asyncpg.PostgresError, OSError):
                    return False
                bells.ring()
        return True

    async def _ear_for(self, bells: Bells) -> Connection:
        """A connection that listens; a worker that stops meanwhile leaves none behind."""
        ear = await self._dial()
        try:
            ear.add_termination_listener(partial(_ring, bells))
            await ear.add_listener(self._channel, partial(self._heard, bells))
        except BaseException:
            ear.terminate()
            raise
        return ear

    def _heard(self, bells: Bells, _connection: object, _pid: int, _channel: str, sender: str) -> None:
        if sender != self._sender:
            bells.ring()

    async def tell(self) -> None:
        """After the commit, not in it: commits that notify wait for one another. One at a time tells for all."""
        self._untold = True
        if self._teller is None or self._teller.done():
            self._teller = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        while self._untold:
            self._untold = False
            with contextlib.suppress(WorksongError):  # whoever waits looks again by itself, within a second
                await self.run(self._notify, write=False, alone=True)

    def news(self) -> Step:
        """Tells everybody, this process included, once it is committed."""
        return Step("notify", {"channel": self._channel, "sender": ""})

    def _notify(self) -> Program[None]:
        yield Step("notify", {"channel": self._channel, "sender": self._sender})

    async def close(self) -> None:
        await self.leave_off([*self._under_way, *([self._teller] if self._teller else [])])
        if self._ear:
            self._ear.terminate()
            self._ear = None
        await super().close()
        self._lending.close()


_READ, _WRITE = "BEGIN READ ONLY", "BEGIN ISOLATION LEVEL READ COMMITTED"
_BEGIN = {
    (False, False): _READ,
    (False, True): _READ,
    (True, False): f"{_WRITE}; SET LOCAL synchronous_commit = off",
    (True, True): _WRITE,
}
"""(writes, must be on the disk when it is answered) -> how a transaction begins."""


def _number(told: str) -> int:
    """Of rows, as the server tells it: `INSERT 0 5`."""
    return int(told.rpartition(" ")[2])


def _ring(bells: Bells, _connection: object) -> None:
    bells.ring()


def _tls(address: Address) -> Any:
    """What `sslmode` asks for, as libpq reads it; by default TLS where the server offers it."""
    mode = address.choice("sslmode", ("prefer", "disable", "allow", "require", "verify-ca", "verify-full"))
    return ssl.create_default_context() if mode == "verify-full" else mode
