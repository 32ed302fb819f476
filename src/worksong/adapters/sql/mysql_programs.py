"""Statements as MySQL and MariaDB take them, by whichever driver."""

from __future__ import annotations

from functools import cache

from worksong.adapters.sql.mysql_text import MysqlText
from worksong.adapters.sql.steps import statements

DIALECT = "mysql"


@cache
def texts() -> dict[str, MysqlText]:
    """All statements."""
    return {name: MysqlText(statement) for name, statement in statements(DIALECT).items()}
