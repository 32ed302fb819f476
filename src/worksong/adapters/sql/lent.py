"""Which connections of the application there are, told by the names of their classes: no driver has to be there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from worksong.adapters.sql.lent_django import JoinedDjango
from worksong.adapters.sql.lent_sqlalchemy import JoinedAsyncSqlalchemy, JoinedSqlalchemy
from worksong.adapters.sql.lines import AsyncpgLine, AwaitedLine, BlockingLine
from worksong.adapters.sql.mysql_programs import DIALECT as MYSQL
from worksong.adapters.sql.postgres_programs import DIALECT as POSTGRES
from worksong.adapters.sql.sqlite_programs import DIALECT as SQLITE
from worksong.adapters.sql.store import Joined, Store
from worksong.domain.errors import Unsupported


class Kind(NamedTuple):
    """A driver's connection."""

    dialect: str
    lend: Callable[[Any], Any]
    """What the store of this dialect joins, made of the connection."""


def joined(store: Store, connection: object) -> Joined:
    """The transaction of a connection to the store's database; raises `Unsupported` for one of a wrong kind."""
    names = list(_names(connection))
    for name in names:
        if wrapper := WRAPPERS.get(name):
            return wrapper(connection, lambda inner: joined(store, inner))
        kind = KINDS.get(name)
        if kind and kind.dialect == store.dialect:
            return store.join(kind.lend(connection))
    shown = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise Unsupported(f"enqueue on a {shown}", store.address.shown, f"give it {TAKES[store.dialect]}")


def _names(connection: object) -> Iterator[str]:
    """Package and class, of base classes as well: applications derive their own."""
    for kind in type(connection).__mro__:
        yield f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _psycopg(connection: Any) -> BlockingLine:
    return BlockingLine(connection, partial(_driver("psycopg").Cursor, row_factory=_tuples()), _is_closed)


def _psycopg_async(connection: Any) -> AwaitedLine:
    return AwaitedLine(connection, partial(_driver("psycopg").AsyncCursor, row_factory=_tuples()), _is_closed)


def _tuples() -> Any:
    return _driver("psycopg.rows").tuple_row


def _psycopg2(connection: Any) -> BlockingLine:
    cursor = _driver("psycopg2.extensions").cursor
    return BlockingLine(connection, lambda connection: connection.cursor(cursor_factory=cursor), _is_closed)


def _pymysql(connection: Any) -> BlockingLine:
    cursor = _driver("pymysql.cursors").Cursor
    return BlockingLine(connection, lambda connection: connection.cursor(cursor), _is_not_open)


def _mysqlclient(connection: Any) -> BlockingLine:
    cursor = _driver("MySQLdb.cursors").Cursor
    return BlockingLine(connection, lambda connection: connection.cursor(cursor), _is_not_open)


def _asyncmy(connection: Any) -> AwaitedLine:
    cursor = _driver("asyncmy.cursors").Cursor
    return AwaitedLine(connection, lambda connection: connection.cursor(cursor), lambda it: not it.connected)


def _aiomysql(connection: Any) -> AwaitedLine:
    cursor = _driver("aiomysql").Cursor
    return AwaitedLine(connection, lambda connection: connection.cursor(cursor), _is_closed)


def _as_it_is(connection: Any) -> Any:
    return connection


def _is_closed(connection: Any) -> object:
    return connection.closed


def _is_not_open(connection: Any) -> bool:
    return not connection.open


def _driver(module: str) -> Any:
    """A module that is loaded already, since there is a connection of it."""
    return import_module(module)


KINDS = {
    "sqlite3.Connection": Kind(SQLITE, _as_it_is),
    "aiosqlite.Connection": Kind(SQLITE, _as_it_is),
    "asyncpg.Connection": Kind(POSTGRES, AsyncpgLine),
    "asyncpg.PoolConnectionProxy": Kind(POSTGRES, AsyncpgLine),
    "psycopg.Connection": Kind(POSTGRES, _psycopg),
    "psycopg.AsyncConnection": Kind(POSTGRES, _psycopg_async),
    "psycopg2.connection": Kind(POSTGRES, _psycopg2),
    "pymysql.Connection": Kind(MYSQL, _pymysql),
    "MySQLdb.Connection": Kind(MYSQL, _mysqlclient),
    "asyncmy.Connection": Kind(MYSQL, _asyncmy),
    "aiomysql.Connection": Kind(MYSQL, _aiomysql),
}
"""Package and class -> the connections of drivers."""

WRAPPERS: dict[str, Callable[[Any, Callable[[object], Joined]], Joined]] = {
    "sqlalchemy.Connection": JoinedSqlalchemy,
    "sqlalchemy.Session": JoinedSqlalchemy,
    "sqlalchemy.scoped_session": JoinedSqlalchemy,
    "sqlalchemy.AsyncConnection": JoinedAsyncSqlalchemy,
    "sqlalchemy.AsyncSession": JoinedAsyncSqlalchemy,
    "sqlalchemy.async_scoped_session": JoinedAsyncSqlalchemy,
    "django.BaseDatabaseWrapper": JoinedDjango,
    "django.ConnectionProxy": JoinedDjango,
}
"""Package and class -> what frameworks put around a connection of a driver."""

_OR = "a Connection or Session of SQLAlchemy or Django's connection over one"
TAKES = {
    SQLITE: f"a connection of sqlite3 or aiosqlite to the same file, or {_OR}",
    POSTGRES: f"a connection of asyncpg, psycopg or psycopg2, or {_OR}",
    MYSQL: f"a connection of asyncmy, aiomysql, PyMySQL or mysqlclient, or {_OR}",
}
"""What the backend of each dialect can enqueue on."""
