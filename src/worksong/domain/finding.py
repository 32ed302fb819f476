"""What an examination of a store finds: known ailments, each with its mend, and checks that were passed."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How much a finding matters, worst first."""

    ERROR = "error"
    """Jobs are lost, or do not run."""
    WARNING = "warning"
    """It works, and will not for ever, or not after the next accident."""
    INFO = "info"
    OK = "ok"
    """A check that was passed."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor's report."""

    id: str
    """Stable: scripts may look for it."""
    severity: Severity
    title: str
    """What it means, in a sentence."""
    detail: str = ""
    """What was seen here and now."""
    mend: str = ""
    """A command or a line of configuration."""
    fixable: bool = False
    """Whether the doctor itself can mend it safely."""


class Ailment(msgspec.Struct, frozen=True):
    """A finding before anybody has it."""

    id: str
    severity: Severity
    title: str
    mend: str
    fixable: bool = False

    def found(self, detail: str, *, severity: Severity | None = None) -> Finding:
        """Seen, as `detail` says."""
        return Finding(
            id=self.id,
            severity=severity or self.severity,
            title=self.title,
            detail=detail,
            mend=self.mend,
            fixable=self.fixable,
        )


def verdict(check: str, passed: str, found: Iterable[Finding]) -> list[Finding]:
    """What a check found; when that is nothing, that it was passed."""
    return list(found) or [Finding(id=check, severity=Severity.OK, title=passed)]


def some(names: Iterable[str], most: int = 5) -> str:
    """The first of many names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
