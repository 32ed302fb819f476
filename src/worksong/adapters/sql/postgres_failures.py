"""What an error of asyncpg means, and what to do about it."""

from __future__ import annotations

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from worksong.adapters.sql.failures import Verdict

Failure = asyncpg.exceptions
_AGAIN = (
    Failure.DeadlockDetectedError,
    Failure.SerializationError,
    Failure.LockNotAvailableError,
    Failure.QueryCanceledError,
)
_AWAY = (
    OSError,
    TimeoutError,
    Failure.InterfaceError,
    Failure.PostgresConnectionError,
    Failure.AdminShutdownError,
    Failure.CrashShutdownError,
    Failure.CannotConnectNowError,
    Failure.TooManyConnectionsError,
    Failure.ReadOnlySQLTransactionError,
    Failure.IdleInTransactionSessionTimeoutError,
    Failure.InternalClientError,
)
_CONFIG = (
    Failure.InvalidAuthorizationSpecificationError,
    Failure.InvalidCatalogNameError,
    Failure.InvalidSchemaNameError,
    Failure.UndefinedTableError,
    Failure.UndefinedColumnError,
    Failure.InsufficientPrivilegeError,
    Failure.ProtocolViolationError,
    Failure.DuplicatePreparedStatementError,
    Failure.InvalidSQLStatementNameError,
)
_POOLER = "behind a pooler say ?statement_cache=off in the URL"
_MENDS: tuple[tuple[type[Exception], str], ...] = (
    (Failure.InvalidAuthorizationSpecificationError, "check the user and the password in the URL, and pg_hba.conf"),
    (Failure.InvalidCatalogNameError, "create the database, or correct its name in the URL"),
    (
        Failure.InsufficientPrivilegeError,
        "GRANT this user what it lacks: SELECT, INSERT, UPDATE and DELETE on the worksong tables; to migrate, CREATE "
        "on the schema",
    ),
    (Failure.UndefinedTableError, "run `worksong migrate`, and see that search_path names the schema of its tables"),
    (Failure.UndefinedColumnError, "run `worksong migrate`"),
    (Failure.ReadOnlySQLTransactionError, "the server is a standby or read-only; name the primary in the URL"),
    (Failure.TooManyConnectionsError, "run fewer processes, or set a larger max_connections"),
    (Failure.ProtocolViolationError, _POOLER),
    (Failure.DuplicatePreparedStatementError, _POOLER),
    (Failure.InvalidSQLStatementNameError, _POOLER),
    (Failure.DiskFullError, "nothing was carried out; make room on the server's disk, and it goes on"),
)


def meaning(failure: BaseException) -> Verdict:
    """Whoever cancels a statement, or a time limit of the server, undoes the transaction: it may be tried again."""
    if isinstance(failure, _AGAIN):
        return Verdict.AGAIN
    if isinstance(failure, _CONFIG):
        return Verdict.CONFIG
    if isinstance(failure, Failure.DiskFullError):
        return Verdict.FULL
    if isinstance(failure, Failure.InterfaceError) and isinstance(failure, ValueError):
        return Verdict.REFUSED  # a value that the driver could not send: the connection is as it was
    return Verdict.AWAY if isinstance(failure, _AWAY) else Verdict.REFUSED


def mend(failure: BaseException) -> str:
    """The next step; empty where there is none that is known."""
    return next((text for kind, text in _MENDS if isinstance(failure, kind)), "")


def absent(failure: BaseException) -> bool:
    """Whether it says that there is no such table."""
    return isinstance(failure, Failure.UndefinedTableError)
