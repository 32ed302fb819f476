"""Numbered steps from an empty database to the tables of this version; none goes back.

A step only adds, and programs that do not know it work on, and start, on its tables. One that they could not work with
gets the number of the next thousand: 1000 after 0007, then 1001.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from worksong.domain.errors import ConfigError

_FILE = re.compile(r"(\d{4})_\w+\.sql")
_ALONE = "CONCURRENTLY"

BREAKING = 1000
"""Whoever knows only numbers below a multiple of it cannot work with the tables of that step and later ones."""
VERSION_TABLE = "worksong_schema"
CREATE = f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version INTEGER NOT NULL PRIMARY KEY)"
ASK = f"SELECT max(version) FROM {VERSION_TABLE}"
NOTE = f"INSERT INTO {VERSION_TABLE} (version) VALUES ({{number}})"


class Migration(NamedTuple):
    """One step."""

    number: int
    statements: tuple[str, ...]
    """The last one notes that it was made."""

    @property
    def ahead(self) -> tuple[str, ...]:
        """Those that no transaction may hold: they build indexes beside the work, and come first."""
        return tuple(sql for sql in self.statements if _ALONE in sql)

    @property
    def together(self) -> tuple[str, ...]:
        """All others: one transaction."""
        return tuple(sql for sql in self.statements if _ALONE not in sql)

    @property
    def at_once(self) -> Migration:
        """All of it in one transaction: for tables that nobody works with yet."""
        return self._replace(statements=tuple(sql.replace(f"{_ALONE} ", "") for sql in self.statements))


@cache
def migrations(dialect: str) -> tuple[Migration, ...]:
    """All steps of a dialect, in order."""
    folder = resources.files("worksong.adapters.sql").joinpath("migrations", dialect)
    files = sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir() if _FILE.fullmatch(file.name))
    return tuple(Migration(int(name[:4]), _statements(text, int(name[:4]))) for name, text in files)


def _statements(text: str, number: int) -> tuple[str, ...]:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    parts = [part.strip() for part in "\n".join(lines).split(";")]
    return (*(part for part in parts if part), NOTE.format(number=number))


def newest(dialect: str) -> int:
    """The version of the tables that this program works with."""
    return migrations(dialect)[-1].number


def breaks(dialect: str, version: int) -> bool:
    """Whether tables of this version are none that this program can work with."""
    return version // BREAKING > newest(dialect) // BREAKING


def missing(dialect: str, version: int, shown: str) -> Sequence[Migration]:
    """The steps to make from this version; refuses one that this program cannot work with."""
    if breaks(dialect, version):
        raise ConfigError(
            f"the tables in {shown} are of version {version}, and this worksong knows versions up to "
            f"{newest(dialect)}: install the worksong that made them, or a newer one"
        )
    return [step for step in migrations(dialect) if step.number > version]


def unmigrated(shown: str, scheme: str, version: int) -> ConfigError:
    """What to say of tables that are missing or old."""
    what = f"the tables in {shown} are of version {version}" if version else f"there are no worksong tables in {shown}"
    return ConfigError(f"{what}: run `worksong migrate --url {scheme}://...` once, or add ?migrate=auto to the URL")


def refuse_to_build(steps: Sequence[Migration], shown: str, scheme: str, version: int) -> None:
    """Raise where somebody who wants to work would first build an index beside the work of others.

    Nobody knows how long that takes, and whoever is stopped meanwhile leaves it to the next one, from the beginning.
    """
    if version and any(step.ahead for step in steps):
        raise ConfigError(
            f"the tables in {shown} are of version {version}; for this one an index is built while workers go on, and "
            f"that may take long: run `worksong migrate --url {scheme}://...` once, ?migrate=auto does not do it"
        )


def under_way(shown: str) -> ConfigError:
    """What to say to one who has waited long enough for somebody else's migration."""
    return ConfigError(
        f"{shown} is being migrated by somebody else, for more than a minute: come again when that is over; workers of "
        "the version before go on meanwhile, and a long table, or a transaction that stays open, takes its time"
    )
