"""Operations as programs: generators that yield statements and are sent what these found.

A program knows neither threads, event loops nor drivers, so the same one runs on the thread of SQLite and over the
connections of a server. Whoever runs it makes one transaction of it, and runs it anew when the server asks for that.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

Row: TypeAlias = tuple[Any, ...]

CHUNK = 1000
"""Rows per statement."""
LONGEST = 4 << 20
"""Bytes of one column per statement: servers take no more than 16 MiB, and escaping may double it."""


class Step(NamedTuple):
    """One statement with its parameters, and the rows for one that takes many."""

    name: str
    params: Mapping[str, Any]
    rows: Sequence[Row] | None = None
    last: bool = False
    """Whether nothing comes after it, whatever it finds."""


Program: TypeAlias = Generator[Step, Any, T]
Operation: TypeAlias = Callable[[], Program[T]]
"""Makes the program anew for each attempt."""


async def carry_out(operation: Operation[T], execute: Callable[[Step], Awaitable[Any]]) -> T:
    """Run a program in the transaction that is open, a statement at a time."""
    program = operation()
    try:
        step = next(program)
        while True:
            step = program.send(await execute(step))
    except StopIteration as end:
        answer: T = end.value
        return answer


class Statement(NamedTuple):
    """A statement with `:names` for its parameters."""

    name: str
    text: str
    params: tuple[str, ...]
    """Names of the single parameters, in the order in which they first appear."""
    columns: tuple[str, ...]
    """Names of the columns of the rows it takes; empty for one that takes none."""
    answers: bool
    """Whether it finds rows; of others only the number of rows they touched is told."""


class Space:
    """One namespace, as the programs name it in every statement."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def ask(self, name: str, rows: Sequence[Row] | None = None, **params: Any) -> Program[list[Row]]:
        """The rows that a statement finds."""
        if rows is not None and not rows:
            return []
        found: list[Row] = yield Step(name, {"space": self.namespace, **params}, rows)
        return found

    def do(self, name: str, rows: Sequence[Row] | None = None, *, last: bool = False, **params: Any) -> Program[int]:
        """How many rows a statement touched; `last`: none comes after it."""
        if rows is not None and not rows:
            return 0
        touched: int = yield Step(name, {"space": self.namespace, **params}, rows, last)
        return touched


def parts(rows: Sequence[Row], column: int) -> Iterator[list[Row]]:
    """So many rows at a time as one statement takes, however long the bytes in this column are."""
    part: list[Row] = []
    size = 0
    for row in rows:
        size += len(row[column] or b"")
        if part and (size > LONGEST or len(part) == CHUNK):
            yield part
            part, size = [], len(row[column] or b"")
        part.append(row)
    if part:
        yield part


PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")
_HEAD = re.compile(r"^--: (\w+)(?:\(([\w, ]*)\))?\n", re.MULTILINE)
_FRAGMENT = re.compile(r"\{(\w+)\}")


@cache
def statements(dialect: str) -> dict[str, Statement]:
    """All statements as this dialect has them: its own before the common ones."""
    found: dict[str, Statement] = {}
    fragments: dict[str, str] = {}
    for source in ("common", dialect):
        for name, columns, text in _read(source):
            if columns == "fragment":
                fragments[name] = text
            else:
                found[name] = _statement(name, tuple(filter(None, columns.replace(" ", "").split(","))), text)
    return {name: _statement(name, one.columns, _filled(one.text, fragments)) for name, one in found.items()}


def _filled(text: str, fragments: Mapping[str, str]) -> str:
    """With all fragments in it, and those within these."""
    return _FRAGMENT.sub(lambda hit: _filled(fragments[hit[1]], fragments) if hit[1] in fragments else hit[0], text)


@cache
def questions(source: str) -> dict[str, str]:
    """Statements without parameters, each by its name: statements/SOURCE.sql."""
    return {name: text for name, _, text in _read(source)}


def _statement(name: str, columns: tuple[str, ...], text: str) -> Statement:
    names = dict.fromkeys(PARAMETER.findall(text))
    params = tuple(param for param in names if param not in columns)
    return Statement(name, text, params, columns, text.startswith(("SELECT", "WITH", "PRAGMA")))


def _read(source: str) -> list[tuple[str, str, str]]:
    """(name, columns, text) of every statement in statements/SOURCE.sql."""
    text = resources.files("worksong.adapters.sql").joinpath("statements", f"{source}.sql").read_text("utf-8")
    parts = _HEAD.split(text)[1:]
    return [
        (name, columns or "", "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip())
        for name, columns, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]
