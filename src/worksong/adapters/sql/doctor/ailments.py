"""Everything that can be wrong with a database, for those who list it."""

from __future__ import annotations

from worksong.adapters.sql.doctor import mysql, postgres, servers, sqlite, tables
from worksong.adapters.sql.doctor.chart import UNCHECKED

AILMENTS = (
    *(UNCHECKED, *tables.AILMENTS, *servers.AILMENTS),
    *(*postgres.AILMENTS, *mysql.AILMENTS, *sqlite.AILMENTS),
)
