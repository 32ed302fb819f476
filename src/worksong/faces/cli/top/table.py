"""A table that fits the terminal and keeps its cursor on the same row while rows come and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable

from worksong.domain.names import one_line
from worksong.faces.cli.top.panels import Cell, Column, Row

PADDING = 2
"""Blanks around each cell."""
NARROWEST = 8
"""Of a column that takes what the others leave."""
LONGEST = 400
"""No cell is drawn further."""
TONES = {"good": "text-success", "warning": "text-warning", "bad": "text-error"}
"""Tones, and the theme's colours for them."""


class Table(DataTable[Text]):
    """Shows rows of a panel; every text in it is made harmless here."""

    BINDINGS: ClassVar[list[BindingType]] = []

    class Resized(Message):
        """The columns want to be fitted anew."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=PADDING // 2, zebra_stripes=False)
        self.shown: list[Row] = []
        self._columns: tuple[Column, ...] = ()
        self._widths: list[int] = []
        self.tones: Mapping[str, str] = {}
        """The style of each tone."""
        self._drawn: object = None

    @property
    def chosen(self) -> Row | None:
        """The row under the cursor."""
        return self.shown[self.cursor_row] if self.cursor_row < len(self.shown) else None

    def show(self, columns: Sequence[Column], found: Sequence[Row], *, cursor: str = "") -> None:
        """Show these rows; the cursor goes to the row of this key, or stays where it is."""
        key = cursor or (self.chosen.key if self.chosen else "")
        place = next((at for at, row in enumerate(found) if row.key == key), self.cursor_row)
        kept = [at for at, column in enumerate(columns) if self.outer_size.width >= column.needs]
        columns = tuple(columns[at] for at in kept)
        cells = [[row.cells[at] for at in kept] for row in found]
        widths = _fit(columns, cells, self.outer_size.width - self.scrollbar_size_vertical)
        drawn = (columns, widths, self.tones, len(found))
        if drawn == self._drawn:
            self._update(cells)
        else:
            self._drawn, self._columns, self._widths = drawn, columns, widths
            self._rebuild(cells)
        self.shown = list(found)
        if place != self.cursor_row:
            self.move_cursor(row=min(place, max(0, len(found) - 1)), scroll=True)

    def on_resize(self, event: events.Resize) -> None:
        self.post_message(self.Resized())

    def _update(self, cells: Sequence[Sequence[Cell]]) -> None:
        for row, line in enumerate(cells):
            for column, cell in enumerate(line):
                place, text = Coordinate(row, column), self._text(cell, self._columns[column])
                if text != self.get_cell_at(place):
                    self.update_cell_at(place, text)

    def _rebuild(self, cells: Sequence[Sequence[Cell]]) -> None:
        cursor, scroll = self.cursor_row, self.scroll_offset.y
        self.clear(columns=True)
        for column, width in zip(self._columns, self._widths, strict=True):
            self.add_column(Text(column.title, justify="right" if column.right else "left"), width=width)
        for line in cells:
            self.add_row(*(self._text(cell, column) for cell, column in zip(line, self._columns, strict=True)))
        self.move_cursor(row=cursor, scroll=False)
        self.scroll_to(y=scroll, animate=False)

    def _text(self, cell: Cell, column: Column) -> Text:
        style = self.tones.get(cell.tone, "")
        text = Text(one_line(cell.text[:LONGEST]), style, no_wrap=True, overflow="ellipsis")
        text.justify = "right" if column.right else "left"
        return text


def tones(variables: Mapping[str, str]) -> dict[str, str]:
    """The style of each tone in a theme of these colours."""
    return {"muted": "dim"} | {tone: variables[name] for tone, name in TONES.items()}


def _fit(columns: Sequence[Column], cells: Sequence[Sequence[Cell]], width: int) -> list[int]:
    """How wide each column is: as its texts need, the sharing ones as the terminal allows."""
    widths = [_natural(column, [line[at] for line in cells]) for at, column in enumerate(columns)]
    shares = sum(column.share for column in columns)
    left = width - PADDING * len(columns) - sum(widths)
    return [
        max(NARROWEST, left * column.share // shares) if column.share else own
        for column, own in zip(columns, widths, strict=True)
    ]


def _natural(column: Column, cells: Sequence[Cell]) -> int:
    if column.share:
        return 0
    longest = max((cell_len(one_line(cell.text[:LONGEST])) for cell in cells), default=0)
    return max(cell_len(column.title), min(column.most, longest))
