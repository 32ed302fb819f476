"""What comes up over the tables: a question, everything about a row, and the keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from worksong.domain.names import one_line
from worksong.service.fields import LONGEST

KEYS = (
    ("1 \u2026 6, Tab", "another panel"),
    ("\u2191 \u2193", "choose a row"),
    ("\u2190 \u2192", "page through a list of jobs"),
    ("Enter", "everything about the row"),
    ("/", "show only rows with a text; Esc ends it"),
    ("u", "look again at once"),
    ("t", "light or dark"),
    ("q", "quit"),
)
ACTS = (
    ("p", "Queues: pause, or resume"),
    ("x", "Queues: purge"),
    ("c", "Workers: cancel the job"),
    ("r", "Scheduled, Retries, Dead: queue the job now"),
    ("d", "Scheduled, Retries, Dead: delete the job"),
    ("R, D", "Dead: queue all, delete all"),
)


class Question(ModalScreen[bool]):
    """Yes or no; whoever only presses Enter says no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
        Binding("left,right", "app.focus_next", show=False),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = one_line(text)

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content(self._text), id="question")
            with Horizontal(id="answers"):
                yield Button("No (n)", id="no")
                yield Button("Yes (y)", id="yes", variant="error")

    def on_mount(self) -> None:
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Sheet(ModalScreen[None]):
    """Labels and texts to read; texts may have several lines."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,question_mark", "dismiss", "Close")]

    def __init__(self, title: str, entries: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title, self._entries = title, entries

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content.styled(one_line(self._title), "bold $text-accent"))
            with VerticalScroll(id="entries"):
                for label, text in self._entries:
                    with Horizontal(classes="entry"):
                        yield Static(Content.styled(label, "dim"), classes="label")
                        yield Static(Content(_harmless(text)), classes="text")
            yield Static(Content.styled("\u2191 \u2193 scroll  Esc close", "dim"))

    def on_mount(self) -> None:
        self.query_one("#entries").focus()


def _harmless(text: str) -> str:
    """Its lines, each with nothing in it that a terminal would obey."""
    return "\n".join(one_line(line) for line in text[:LONGEST].split("\n"))
