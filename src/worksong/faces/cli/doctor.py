"""`worksong doctor`: what is wrong with the server and the queues, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from worksong.admin import Admin
from worksong.domain.finding import Finding, Severity
from worksong.domain.names import one_line
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option
from worksong.faces.cli.screen import console, emit
from worksong.faces.cli.target import Target, ask, takes_target

LOOKS = {
    Severity.ERROR: ("\u2717", "bold red"),
    Severity.WARNING: ("!", "bold yellow"),
    Severity.INFO: ("i", "cyan"),
    Severity.OK: ("\u2713", "green"),
}


class Visit(msgspec.Struct, frozen=True):
    """An examination and, where asked for, what was mended before it."""

    findings: Sequence[Finding]
    mended: Sequence[tuple[str, str]] = ()
    """(id of a finding, what was done)."""

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


@click.command(cls=Command)
@takes_target
@json_option
@click.option("--fix", is_flag=True, help="Mend what can be mended safely; may take a minute.")
def doctor(target: Target, as_json: bool, fix: bool) -> None:
    """What is wrong with the server and the queues, and the mend.

    Changes nothing without --fix. Exit code 1 when there is an error among the findings.
    """
    visit = ask(target, _mend if fix else _examine)
    if as_json:
        emit(_fields(target, visit))
    else:
        _show(target, visit)
    if visit.count(Severity.ERROR):
        click.get_current_context().exit(1)


async def _examine(admin: Admin) -> Visit:
    return Visit(await admin.aexamine())


async def _mend(admin: Admin) -> Visit:
    """Each fixable ailment once, then a second look."""
    ids = dict.fromkeys(finding.id for finding in await admin.aexamine() if finding.fixable)
    mended = [(name, await admin.afix(name)) for name in ids]
    return Visit(await admin.aexamine(), mended)


def _fields(target: Target, visit: Visit) -> dict[str, Any]:
    return {
        "url": target.shown,
        "namespace": target.namespace,
        **{f"{severity.value}s": visit.count(severity) for severity in (Severity.ERROR, Severity.WARNING)},
        "findings": [msgspec.to_builtins(finding) for finding in _sorted(visit.findings)],
        "mended": [{"id": name, "done": done} for name, done in visit.mended],
    }


def _sorted(findings: Sequence[Finding]) -> list[Finding]:
    """The worst first."""
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _show(target: Target, visit: Visit) -> None:
    from rich.text import Text

    paper = console()
    paper.print(Text.assemble((one_line(target.shown), "bold"), (f"  {one_line(target.namespace)}", "dim")))
    paper.print()
    for name, done in visit.mended:
        paper.print(Text.assemble(("mended ", "bold green"), one_line(f"{name}: {done}")))
    if visit.mended:
        paper.print()
    paper.print(_table(visit))
    paper.print()
    paper.print(_closing(visit))


def _table(visit: Visit) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in _sorted(visit.findings):
        mark, style = LOOKS[finding.severity]
        title = Text(one_line(finding.title), "dim" if finding.severity is Severity.OK else "bold")
        table.add_row(Text(mark, style), Text(finding.id, style), title)
        for label, text in (("", finding.detail), ("mend: ", finding.mend)):
            if text:
                table.add_row("", "", Text.assemble((label, "dim"), one_line(text)))
    return table


def _closing(visit: Visit) -> Any:
    from rich.text import Text

    errors, warnings, passed = (visit.count(s) for s in (Severity.ERROR, Severity.WARNING, Severity.OK))
    line = Text.assemble(
        (_counted(errors, "error"), "bold red" if errors else "green"),
        ", ",
        (_counted(warnings, "warning"), "yellow" if warnings else "green"),
        f", {_counted(passed, 'check')} passed",
    )
    fixable = sum(finding.fixable for finding in visit.findings)
    return line.append(f"; {fixable} can be mended by `worksong doctor --fix`") if fixable else line


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
