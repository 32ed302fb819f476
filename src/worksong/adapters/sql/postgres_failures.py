"""What an error of PostgreSQL means, and what to do about it, whichever driver tells of it."""

from __future__ import annotations

from worksong.adapters.sql.failures import Verdict

NO_TRANSACTION, FAILED_TRANSACTION, READ_ONLY = "25P01", "25P02", "25006"
NO_SUCH_TABLE = "42P01"

_MEANINGS = {
    **dict.fromkeys(("40001", "40P01", "55P03", "57014"), Verdict.AGAIN),
    **dict.fromkeys(("08", "57P01", "57P02", "57P03", "53300", READ_ONLY, "25P03"), Verdict.AWAY),
    **dict.fromkeys(("28", "3D000", "3F000", NO_SUCH_TABLE, "42703", "42501"), Verdict.CONFIG),
    **dict.fromkeys(("08P01", "42P05", "26000"), Verdict.CONFIG),
    "53100": Verdict.FULL,
}
"""SQLSTATE, or the class that it begins with -> what to make of it."""
_BROKEN = {"InterfaceError", "InternalClientError", "OperationalError", "OSError"}
"""What drivers call an error that the server did not send."""
_POOLER = "behind a pooler say ?statement_cache=off in the URL"
_MENDS = {
    "28": "check the user and the password in the URL, and pg_hba.conf",
    "3D000": "create the database, or correct its name in the URL",
    "42501": "GRANT this user what it lacks: SELECT, INSERT, UPDATE and DELETE on the worksong tables; to migrate, "
    "CREATE on the schema",
    NO_SUCH_TABLE: "run `worksong migrate`, and see that search_path names the schema of its tables",
    "42703": "run `worksong migrate`",
    READ_ONLY: "the server is a standby or read-only; name the primary in the URL",
    "53300": "run fewer processes, or set a larger max_connections",
    "08P01": _POOLER,
    "42P05": _POOLER,
    "26000": _POOLER,
    "55P03": "somebody holds the tables in a transaction: pg_stat_activity names who; end it, and try again",
    "53100": "nothing was carried out; make room on the server's disk, and it goes on",
}


def code(failure: BaseException) -> str:
    """Its SQLSTATE; empty for an error that is the driver's own."""
    return getattr(failure, "sqlstate", None) or getattr(failure, "pgcode", None) or ""


def meaning(failure: BaseException) -> Verdict:
    """Whoever cancels a statement, or a time limit of the server, undoes the transaction: it may be tried again."""
    if state := code(failure):
        return _MEANINGS.get(state) or _MEANINGS.get(state[:2], Verdict.REFUSED)
    named = {kind.__name__ for kind in type(failure).__mro__}
    if named.isdisjoint(_BROKEN) or isinstance(failure, ValueError):  # a value that the driver could not send
        return Verdict.REFUSED
    return Verdict.AWAY


def mend(failure: BaseException) -> str:
    """The next step; empty where there is none that is known."""
    state = code(failure)
    return _MENDS.get(state) or _MENDS.get(state[:2], "")


def absent(failure: BaseException) -> bool:
    """Whether it says that there is no such table."""
    return code(failure) == NO_SUCH_TABLE
