"""What is particular to a framework that lends its connection, and how soon a worker hears of the commit."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.orm import Session

from patience import PATIENCE
from sql.lenders import django_alias
from sql.shop import APPS, Shop, mailer, places
from sql.stage import opened
from worksong import InvalidArguments
from worksong.adapters.sql.store import shared
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State

DJANGO = {database: {"django": apps["django"]} for database, apps in APPS.items()}


# Django


@pytest.mark.parametrize("place", places(DJANGO), indirect=True)
async def test_django_wakes_workers_of_its_process_with_the_commit(shop: Shop) -> None:
    bells = shared(opened(shop.url)._store.place, shop.name).bells

    await shop.lent.enqueue(shop.send, 1)
    await shop.lent.call(shop.lent.app.rollback)
    await shop.lent.enqueue(shop.send, 2)
    assert bells.rings == 0

    await shop.lent.call(shop.lent.app.commit)
    assert bells.rings == 1
    assert await shop.waiting() == [2]


@pytest.mark.parametrize("place", places({"sqlite": DJANGO["sqlite"]}), indirect=True)
async def test_a_block_of_django_that_failed_says_so(shop: Shop) -> None:
    await shop.lent.call(shop.lent.connection.set_rollback, True)
    with pytest.raises(InvalidArguments, match="can only be rolled back"):
        await shop.lent.enqueue(shop.send, 7)


@pytest.mark.parametrize("place", places({"sqlite": DJANGO["sqlite"]}), indirect=True)
async def test_django_in_an_event_loop_is_told_where_to_go(shop: Shop) -> None:
    with pytest.raises(InvalidArguments, match="sync_to_async"):
        await shop.send.with_options(connection=shop.lent.connection).aperform(7)


def test_the_connection_that_django_names_is_the_default_one(sqlite_shop_url: str) -> None:
    # Given a default database
    alias = django_alias(sqlite_shop_url)
    from django.db import connection, connections, transaction

    default, connections.settings["default"] = connections.settings["default"], connections.settings[alias]
    try:
        # When a job is enqueued on `django.db.connection`
        name = new_id()
        _, send = mailer(sqlite_shop_url, name)
        with transaction.atomic():
            assert send.with_options(connection=connection).perform(7) is not None
        # Then it is there
        assert asyncio.run(_count(sqlite_shop_url, name)) == 1
    finally:
        connection.close()
        connections.settings["default"] = default
        del connections["default"]


async def _count(url: str, name: str) -> int:
    backend = opened(url, name)
    counts = await backend.counts()
    await backend.close()
    return counts[State.QUEUED]


# SQLAlchemy


def test_a_session_without_a_database_is_refused(sqlite_shop_url: str) -> None:
    _, send = mailer(sqlite_shop_url, new_id())
    with Session() as session, pytest.raises(InvalidArguments, match="bind"):
        send.with_options(connection=session).perform(7)


def test_a_connection_of_an_old_sqlalchemy_must_have_begun(sqlite_shop_url: str) -> None:
    # Given a connection without `commit`, as those before version 2 are
    old: Any = type("Connection", (), {"in_transaction": lambda self: False, "exec_driver_sql": None})
    old.__module__ = "sqlalchemy.engine.base"

    _, send = mailer(sqlite_shop_url, new_id())
    with pytest.raises(InvalidArguments, match="before version 2"):
        send.with_options(connection=old()).perform(7)


def test_a_session_that_cannot_connect_is_away(postgres_url: str) -> None:
    _, send = mailer(postgres_url, new_id())
    engine = sqlalchemy.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nowhere")
    with Session(engine) as session, pytest.raises(BackendUnavailable, match="SQLAlchemy has no connection"):
        send.with_options(connection=session).perform(7)


async def test_the_blocking_face_of_an_async_connection_is_refused(postgres_url: str) -> None:
    _, send = mailer(postgres_url, new_id())
    engine = create_async_engine(postgres_url.replace("postgresql", "postgresql+asyncpg"))

    def enqueue(connection: Any) -> None:
        with pytest.raises(InvalidArguments, match="await aperform on the"):
            send.with_options(connection=connection).perform(7)

    try:
        async with engine.connect() as connection:
            assert isinstance(connection, AsyncConnection)
            await connection.run_sync(enqueue)
    finally:
        await engine.dispose()


# drivers


def test_a_transaction_block_of_psycopg_is_one(postgres_url: str) -> None:
    name = new_id()
    _, send = mailer(postgres_url, name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        with connection.transaction():
            send.with_options(connection=connection).perform(1)
            with contextlib.suppress(ZeroDivisionError), connection.transaction():
                send.with_options(connection=connection).perform(2)
                raise ZeroDivisionError
        assert asyncio.run(_count(postgres_url, name)) == 1


async def test_a_connection_of_a_pool_is_one_until_it_goes_back(postgres_url: str) -> None:
    name = new_id()
    _, send = mailer(postgres_url, name)
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await send.with_options(connection=connection).aperform(7)
        assert await _count(postgres_url, name) == 1
        with pytest.raises(InvalidArguments, match="closed"):
            await send.with_options(connection=connection).aperform(8)


def test_no_driver_is_loaded_for_telling_connections_apart() -> None:
    drivers = "aiosqlite asyncpg psycopg psycopg2 pymysql MySQLdb asyncmy aiomysql sqlalchemy django"
    told = "import sys, worksong.adapters.sql.sqlite; print(*set(sys.argv[1:]) & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", told, *drivers.split()], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


# wake-up


@pytest.mark.parametrize(
    "place",
    places({"sqlite": {"sqlite3": APPS["sqlite"]["sqlite3"]}, "mariadb": {"pymysql": APPS["mariadb"]["pymysql"]}}),
    indirect=True,
)
async def test_an_idle_worker_finds_what_was_committed_elsewhere(shop: Shop) -> None:
    async with shop.worker:
        handle = await shop.lent.enqueue(shop.send, 7)
        await shop.lent.call(shop.lent.app.commit)
        assert await handle.aresult(PATIENCE) == 7
