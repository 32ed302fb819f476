"""What a database answered to the doctor's questions, and how a check judges that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from worksong.adapters.sql import migrate
from worksong.adapters.sql.address import Address
from worksong.adapters.sql.steps import Row, questions
from worksong.domain.finding import Ailment, Finding, Severity, verdict

UNCHECKED = Ailment(
    "sql.unchecked",
    Severity.INFO,
    "The database refused to answer, so something could not be checked.",
    "GRANT pg_monitor TO USER (PostgreSQL); GRANT PROCESS ON *.* TO USER (MySQL); or mend first what else was found",
)


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """The database as it was found: asked without making anything, and without needing any table."""

    dialect: str
    address: Address
    there: bool = True
    """Whether there is a database at all: a file may not be made yet."""
    version: int = 0
    """Of the tables; 0: there are none."""
    answers: Mapping[str, Sequence[Row]] = {}
    """Question -> the rows that it found."""
    refused: Mapping[str, str] = {}
    """Question -> why it was not answered."""
    now: float = 0.0
    """By the clock of the database, where it has one; otherwise ours."""
    offset: float = 0.0
    """Seconds by which its clock is ahead of ours, at least: what the way of the question may explain is left out."""

    def rows(self, question: str) -> Sequence[Row]:
        """Nothing where it was refused."""
        return self.answers.get(question, ())

    def setting(self, name: str) -> str:
        """The value of a setting of the server, in small letters; empty where it has none of that name."""
        return next((str(value).lower() for key, value in self.rows("settings") if str(key).lower() == name), "")

    def number(self, name: str) -> int:
        """The same as a whole number."""
        value = self.setting(name)
        return int(value) if value.isdecimal() else 0


class Check(NamedTuple):
    """A check, what it means to pass it, and the questions without whose answers nothing can be said."""

    id: str
    passed: str
    needs: tuple[str, ...]
    judge: Callable[[Chart], Iterator[Finding]]
    of_tables: bool = False
    """It says something only where the tables are those of this program, as far as that is known."""


def _nothing(_facts: object) -> Collection[str]:
    return ()


class Specialist(NamedTuple):
    """What one kind of database is asked, what that may show, and what mends it."""

    dialect: str
    checks: tuple[Check, ...]
    remedies: Mapping[str, Callable[[Chart], Sequence[str]]]
    """Id of a finding -> the statements that mend it, each by itself."""
    further: Callable[[], Mapping[str, str]] = dict
    """Questions beside those of statements/DIALECT_doctor.sql, whose refusals are judged by a check."""
    left_out: Callable[[Mapping[str, Sequence[Row]]], Collection[str]] = _nothing
    """The questions that are not worth their time, by what is known before."""

    def applies(self, check: Check, chart: Chart) -> bool:
        """Whether what it needs was answered."""
        told = "schema" not in chart.refused
        if check.of_tables and told and chart.version != migrate.newest(self.dialect):
            return False
        return not any(name in chart.refused for name in check.needs)

    @property
    def questions(self) -> Mapping[str, str]:
        return {**questions(f"{self.dialect}_doctor"), **self.further()}

    def examine(self, chart: Chart) -> list[Finding]:
        """Every check whose questions were answered."""
        judged = self.further()
        found = [UNCHECKED.found(f"{name}: {why}") for name, why in chart.refused.items() if name not in judged]
        for check in self.checks:
            if self.applies(check, chart):
                found += verdict(check.id, check.passed, check.judge(chart))
        return found
