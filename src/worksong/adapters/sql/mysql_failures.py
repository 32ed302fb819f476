"""What an error of MySQL and MariaDB means, and what to do about it, whichever driver tells of it."""

from __future__ import annotations

from worksong.adapters.sql.failures import Verdict

NO_SUCH_TABLE = 1146
_AGAIN = {1205, 1213, 1317, 1969, 3024, 3572}
_AWAY = {1040, 1053, 1129, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2055}
_CONFIG = {1044, 1045, 1049, 1054, 1142, 1143, 1146, 1227, 1370, 1698, 4151}
_NO_ROOM = {1021, 1114}
_LOGIN = "check the user and the password in the URL, and from where this user may log in"
_RIGHTS = (
    "GRANT this user what it lacks: SELECT, INSERT, UPDATE and DELETE on the database; to migrate, CREATE, INDEX and "
    "ALTER as well"
)
_READ_ONLY = "the server is a replica or read-only; name the primary in the URL"
_UNENCRYPTED = (
    "install worksong[mysql], which brings it; or ask for TLS with ssl=on in the URL, over which a password needs no "
    "other encryption"
)
_FULL = "nothing was carried out; make room on the server's disk, and it goes on"
_MENDS = {
    1021: _FULL,
    1040: "run fewer processes, or set a larger max_connections",
    1044: _RIGHTS,
    1045: _LOGIN,
    1049: "create the database, or correct its name in the URL",
    1114: _FULL,
    1142: _RIGHTS,
    1143: _RIGHTS,
    1146: "run `worksong migrate`",
    1153: "set a larger max_allowed_packet on the server, 16M or more",
    1290: _READ_ONLY,
    1698: _LOGIN,
    1836: _READ_ONLY,
    4151: _LOGIN,
}


def meaning(failure: BaseException) -> Verdict:
    """Whoever kills a statement, or a time limit of the server, is no reason not to try it again."""
    if isinstance(failure, (OSError, EOFError)) or type(failure).__name__ == "InterfaceError":
        return Verdict.AWAY
    if _cannot_encrypt(failure):
        return Verdict.CONFIG
    found = code(failure)
    if found in _AGAIN:
        return Verdict.AGAIN
    if found in _CONFIG:
        return Verdict.CONFIG
    if found in _NO_ROOM:
        return Verdict.FULL
    return Verdict.AWAY if found in _AWAY or "Lost connection" in str(failure) else Verdict.REFUSED


def mend(failure: BaseException) -> str:
    """The next step; empty where there is none that is known."""
    return _UNENCRYPTED if _cannot_encrypt(failure) else _MENDS.get(code(failure), "")


def _cannot_encrypt(failure: BaseException) -> bool:
    """Whether the driver lacks what encrypts a password for MySQL, which is asked for by the first login of a user."""
    return isinstance(failure, RuntimeError) and "'cryptography' package" in str(failure)


def absent(failure: BaseException) -> bool:
    """Whether it says that there is no such table."""
    return code(failure) == NO_SUCH_TABLE


def code(failure: BaseException) -> int:
    """The number of the error; 0 for one that the server did not tell."""
    number = failure.args[0] if failure.args else 0
    return number if isinstance(number, int) else 0
