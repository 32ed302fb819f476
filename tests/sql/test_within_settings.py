"""Whatever an application sets on its connection, a job arrives as it was sent, and its transaction works on."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import aiomysql
import asyncmy
import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pymysql
import pytest
from asyncmy.cursors import DictCursor
from pymysql.constants import CLIENT

from patience import until
from sql.lenders import AsyncDriver, Driver, file_of, mysql_of
from sql.shop import APPS, Apps, Shop, aiomysql_of, mailer, places
from worksong import InvalidArguments
from worksong.domain.errors import BackendUnavailable

TEXT = "Grüße, \\ \" ' \0 %s %(x)s :id ?1 $1 😀"


class Mine(sqlite3.Connection):
    """An application's own."""


def _sqlite_of_mine(url: str) -> Any:
    connection = sqlite3.connect(file_of(url), factory=Mine)
    connection.row_factory, connection.text_factory = sqlite3.Row, bytes
    return connection


def _mysql_with(**options: Any) -> Callable[[], Driver]:
    return lambda: Driver(lambda url: pymysql.connect(**mysql_of(url), **options))


ODD: Apps = {
    "sqlite": {"own class, rows and texts": lambda: Driver(_sqlite_of_mine)},
    "postgres": {
        "rows as dicts": lambda: Driver(lambda url: psycopg.connect(url, row_factory=psycopg.rows.dict_row)),
        "raw cursors": lambda: Driver(lambda url: psycopg.connect(url, cursor_factory=psycopg.RawCursor)),
        "latin1": lambda: Driver(lambda url: psycopg.connect(url, client_encoding="latin1")),
        "real dicts": lambda: Driver(lambda url: psycopg2.connect(url, cursor_factory=psycopg2.extras.RealDictCursor)),
    },
    "mariadb": {
        "rows as dicts": _mysql_with(cursorclass=pymysql.cursors.DictCursor),
        "async rows as dicts": lambda: AsyncDriver(lambda url: asyncmy.connect(**mysql_of(url), cursor_cls=DictCursor)),
        "aiomysql's rows as dicts": lambda: AsyncDriver(
            lambda url: aiomysql.connect(**aiomysql_of(url), cursorclass=aiomysql.DictCursor)
        ),
        "latin1": _mysql_with(charset="latin1"),
        "another collation": _mysql_with(collation="utf8mb4_unicode_ci"),
        "found rows": _mysql_with(client_flag=CLIENT.FOUND_ROWS),
        "no backslashes": _mysql_with(sql_mode="NO_BACKSLASH_ESCAPES,ANSI_QUOTES"),
        "prefixed bytes": _mysql_with(binary_prefix=True),
        "serializable": _mysql_with(init_command="SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
    },
}


def async_latin1() -> AsyncDriver:
    return AsyncDriver(partial(psycopg.AsyncConnection.connect, client_encoding="latin1"))


def some(database: str, *names: str) -> dict[str, Callable[[], Any]]:
    return {name: APPS[database][name] for name in names}


@pytest.mark.parametrize("place", places(ODD), indirect=True)
async def test_settings_of_the_connection_change_nothing(shop: Shop) -> None:
    worker, _ = mailer(shop.url, shop.name)

    @worker.job()
    def tell(text: str) -> None: ...

    # When jobs with every kind of character are enqueued, and enqueued again
    by_key = {"unique": "until_done", "unique_by": {"user": 7}}
    assert await shop.lent.enqueue(tell, "old", **by_key) is not None
    assert await shop.lent.enqueue(tell, TEXT, **by_key) is None
    assert await shop.lent.enqueue(tell, TEXT, id="once") is not None
    assert await shop.lent.enqueue(tell, "more", id="once") is None
    await shop.lent.call(shop.lent.app.commit)

    # Then they are there once each, as they were sent
    assert await shop.arguments() == [{"text": TEXT}, {"text": TEXT}]
    if isinstance(shop.lent.connection, sqlite3.Connection):
        assert (shop.lent.connection.row_factory, shop.lent.connection.text_factory) == (sqlite3.Row, bytes)


@pytest.mark.parametrize(
    "place", places({"postgres": {name: APPS["postgres"][name] for name in ("asyncpg", "psycopg")}}), indirect=True
)
async def test_a_transaction_that_failed_already_says_so(shop: Shop) -> None:
    with contextlib.suppress(psycopg.Error, asyncpg.PostgresError):
        await shop.lent.execute("SELECT 1 / 0")
    with pytest.raises(InvalidArguments, match="can only be rolled back"):
        await shop.lent.enqueue(shop.send, 7)


@pytest.mark.parametrize(
    "place",
    places({"postgres": some("postgres", "asyncpg", "psycopg"), "mariadb": some("mariadb", "pymysql")}),
    indirect=True,
)
async def test_a_transaction_that_may_not_write_is_refused(shop: Shop) -> None:
    begin = {"postgres": "SET TRANSACTION READ ONLY", "mariadb": "START TRANSACTION READ ONLY"}
    await shop.lent.execute(begin[shop.database])
    with pytest.raises(InvalidArguments, match="read-only"):
        await shop.lent.enqueue(shop.send, 7)


@pytest.mark.parametrize("place", places({"mariadb": {"latin1": ODD["mariadb"]["latin1"]}}), indirect=True)
async def test_a_name_that_the_character_set_cannot_carry_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidArguments, match="character set"):
        await shop.lent.enqueue(shop.send, 7, id="😀")
    await shop.lent.enqueue(shop.send, 8)
    await shop.lent.call(shop.lent.app.commit)
    assert await shop.waiting() == [8]


@pytest.mark.parametrize("place", places({"postgres": {"latin1": async_latin1}}), indirect=True)
async def test_tasks_that_share_a_connection_do_not_undo_one_another(shop: Shop) -> None:
    # When some of many tasks are refused
    ids = [f"sale-{number}" if number % 3 else f"😀{number}" for number in range(30)]
    enqueued = [shop.lent.enqueue(shop.send, number, id=id) for number, id in enumerate(ids)]
    answers = await asyncio.gather(*enqueued, return_exceptions=True)
    await shop.lent.call(shop.lent.app.commit)

    # Then the others' jobs are there
    assert [isinstance(answer, InvalidArguments) for answer in answers] == [number % 3 == 0 for number in range(30)]
    assert sorted(await shop.waiting()) == [number for number in range(30) if number % 3]


CLOSED = {
    database: {name: make for name, make in apps.items() if "session" not in name} for database, apps in APPS.items()
}
"""A session that is closed begins anew when it is used."""


@pytest.mark.parametrize("place", places(CLOSED), indirect=True)
async def test_a_closed_connection_is_refused(shop: Shop) -> None:
    closing = shop.lent.connection.close
    if shop.lent.blocks:
        await shop.lent.call(closing)
    elif asyncio.iscoroutine(waits := closing()):
        await waits
    with pytest.raises(InvalidArguments, match="nothing was enqueued"):
        await shop.lent.enqueue(shop.send, 7)


# those who stand in the way


@pytest.mark.parametrize(
    "place",
    places(
        {"postgres": {"psycopg2": APPS["postgres"]["psycopg2"]}, "mariadb": {"pymysql": APPS["mariadb"]["pymysql"]}}
    ),
    indirect=True,
)
async def test_a_lock_that_is_not_given_up_in_time_leaves_the_transaction_as_it_was(shop: Shop) -> None:
    # Given somebody who has enqueued a unique job and does not commit
    other = Driver(
        {"postgres": psycopg.connect, "mariadb": lambda url: pymysql.connect(**mysql_of(url))}[shop.database]
    )
    other.open(shop.url)
    shop.send.with_options(connection=other.connection, unique=True).perform(7)

    # When an equal one comes on a connection that does not wait
    await shop.lent.execute(
        {"postgres": "SET lock_timeout = '1ms'", "mariadb": "SET innodb_lock_wait_timeout = 0"}[shop.database]
    )
    await shop.sell()
    with pytest.raises(BackendUnavailable, match="others were in the way"):
        await shop.lent.enqueue(shop.send, 7, unique=True)

    # Then what else was done there can be committed
    other.close()
    await shop.lent.call(shop.lent.app.commit)
    assert await shop.sales() == 1
    assert await shop.waiting() == []


def somebody(shop: Shop) -> Driver:
    """With a connection of their own."""
    other: Driver = APPS[shop.database][{"postgres": "psycopg", "mariadb": "pymysql"}[shop.database]]()
    other.open(shop.url)
    return other


def somebody_with_an_equal_job(shop: Shop) -> Driver:
    """Enqueues a unique job and does not commit."""
    other = somebody(shop)
    shop.send.with_options(connection=other.connection, unique=True).perform(7)
    return other


def wait_for_one_that_waits(app: Driver, question: str) -> None:
    """InnoDB shows the same again to whoever asks within a tenth of a second."""
    until(lambda: app.execute(question)[0][0], "one that waits", pause=0.25)


WAITS = {
    "postgres": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


@pytest.mark.parametrize(
    "place",
    places(
        {"postgres": some("postgres", "asyncpg", "async psycopg"), "mariadb": some("mariadb", "asyncmy", "aiomysql")}
    ),
    indirect=True,
)
async def test_who_is_cancelled_leaves_nothing_half_done(shop: Shop) -> None:
    # Given an enqueue that waits for somebody else's transaction
    other = Driver(
        {"postgres": psycopg.connect, "mariadb": lambda url: pymysql.connect(**mysql_of(url))}[shop.database]
    )
    other.open(shop.url)
    shop.send.with_options(connection=other.connection, unique=True).perform(7)
    await shop.lent.enqueue(shop.send, 1)
    waiting = asyncio.create_task(shop.lent.enqueue(shop.send, 7, unique=True))
    await asyncio.to_thread(wait_for_one_that_waits, other, WAITS[shop.database])

    # When it is cancelled
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    other.close()

    # Then the transaction works on, or is gone as a whole with its connection
    if shop.database == "postgres":
        await shop.lent.enqueue(shop.send, 2)
        await shop.lent.call(shop.lent.app.commit)
        assert await shop.waiting() == [1, 2]
    else:
        with pytest.raises(InvalidArguments, match="closed"):
            await shop.lent.enqueue(shop.send, 2)
        assert await shop.waiting() == []


PIDS = {"postgres": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}
KILLS = {"postgres": "SELECT pg_terminate_backend({})", "mariadb": "KILL {}"}
ALIVE = {
    "postgres": "SELECT count(*) FROM pg_stat_activity WHERE pid = {}",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE id = {}",
}


@pytest.mark.parametrize(
    "place", places({database: APPS[database] for database in ("postgres", "mariadb")}), indirect=True
)
async def test_a_connection_that_was_cut_says_so(shop: Shop) -> None:
    # Given a connection whose server has ended it
    await shop.lent.enqueue(shop.send, 1)
    pid = (await shop.lent.execute(PIDS[shop.database]))[0][0]
    await asyncio.to_thread(cut, shop, pid)

    # When another job is enqueued
    with pytest.raises((BackendUnavailable, InvalidArguments), match="nothing was"):
        await shop.lent.enqueue(shop.send, 2)

    # Then neither is there
    assert await shop.waiting() == []


def cut(shop: Shop, pid: int) -> None:
    other: Driver = somebody(shop)
    with contextlib.closing(other):
        other.execute(KILLS[shop.database].format(pid))
        until(partial(_is_gone, other, ALIVE[shop.database].format(pid)), "the end of the session")


def _is_gone(other: Driver, question: str) -> bool:
    """Asked in a transaction of its own: one would be shown the same again."""
    alive = other.execute(question)[0][0]
    other.rollback()
    return not alive
