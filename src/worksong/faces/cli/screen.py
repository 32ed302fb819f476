"""What people see: lines, tables and JSON, with nothing in them that a terminal would obey."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from worksong.domain.names import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDE = 200
"""Columns of a table that goes to a file or pipe, where nothing should be cut."""


def clip(text: str, width: int) -> str:
    """On one line, and not longer than `width`."""
    text = one_line(text[: width + 1])
    return text if len(text) <= width else text[: width - 1] + "\u2026"


def say(text: str, *, mark: str = "\u2713") -> None:
    """Tell that something was done."""
    click.echo(f"{click.style(mark, fg='green', bold=True)} {one_line(text)}")


def complain(kind: str, text: str) -> None:
    """A line on stderr that is no error."""
    click.echo(f"{click.style(f'worksong: {kind}:', fg='yellow')} {one_line(text)}", err=True)


def emit(value: Any) -> None:
    """Print JSON in plain ASCII."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f"))


def console(*, stderr: bool = False) -> Console:
    """Where tables go; as wide as needed unless a terminal says how wide it is."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, emoji=False, markup=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = WIDE
    return made


def show_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, note: str = "") -> None:
    """Print a table. A header that starts with `>` is right-aligned, with `*` may be cut, with `!` stands out."""
    from rich.table import Table

    paper = console()
    marks = [header[0] if header[0] in ">*!" else "" for header in headers]
    table = Table(box=_box(paper), pad_edge=False, header_style="bold cyan")
    for header, mark in zip(headers, marks, strict=True):
        table.add_column(
            header.removeprefix(mark),
            justify="right" if mark == ">" else "left",
            style="bold" if mark == "!" else "",
            overflow="fold",
            no_wrap=mark != "*",  # the columns that may wrap are those that shrink first
        )
    for row in rows:
        table.add_row(*(_cell(cell, cut=mark == "*") for cell, mark in zip(row, marks, strict=True)))
    paper.print(table)
    if note:
        paper.print(one_line(note), style="dim")


def _cell(text: str, *, cut: bool) -> Text:
    from rich.text import Text

    return Text(one_line(text), _style(text), no_wrap=cut, overflow="ellipsis" if cut else "fold")


def _style(cell: str) -> str:
    return {"paused": "yellow", "\u2013": "dim", "***": "dim"}.get(cell, "")


def _box(paper: Console) -> Any:
    from rich import box

    return box.SIMPLE_HEAD if paper.is_terminal else None
