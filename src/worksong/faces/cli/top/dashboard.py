"""The dashboard: looks at the backend again and again, shows what it finds, does what its operator asks for."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.widgets import DataTable, Footer, Input, Static, Tab, Tabs

from worksong.admin import PAGE, Admin
from worksong.blocking import Background
from worksong.domain.capability import Capability
from worksong.domain.errors import BackendRefused, Unsupported, WorksongError
from worksong.domain.names import one_line
from worksong.faces.cli.target import Target
from worksong.faces.cli.top.dialogs import ACTS, KEYS, Question, Sheet
from worksong.faces.cli.top.masthead import Banner, Counters, Masthead, Remarks
from worksong.faces.cli.top.panels import PANELS, QUEUES, Panel, Row, details, matching, rows
from worksong.faces.cli.top.shades import DAY, NIGHT, light_terminal
from worksong.faces.cli.top.table import Table, tones
from worksong.ports.backend import Backend, Listing
from worksong.ports.clock import Clock, SystemClock
from worksong.service.acts import NEEDS, OFFERED, Act, on_all, on_job, on_queue, on_running
from worksong.service.contact import Contact
from worksong.service.glance import Glance, look
from worksong.service.history import History
from worksong.service.moments import span
from worksong.service.redaction import without_logins

PATIENCE = 15.0
"""So many seconds for an answer; then the server counts as away."""
LEAVING = suppress(NoMatches, IndexError)
"""An answer may come while the screen is taken down; then there is nothing to show it on."""
TALL = 30
"""So many lines leave room for blank ones."""


class Page(NamedTuple):
    """A page of a list of jobs, as it was last seen."""

    number: int
    listing: Listing


class Dashboard(App[None]):
    """One screen: counters, and a table that shows one of the panels."""

    TITLE = "worksong top"
    CSS_PATH = "top.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(at), f"panel({at - 1})", show=False) for at in range(1, len(PANELS) + 1)),
        Binding("tab", "turn(1)", show=False),
        Binding("shift+tab", "turn(-1)", show=False),
        Binding("left", "page(-1)", show=False),
        Binding("right", "page(1)", show=False),
        Binding("p", "act('pause')", "Pause/resume"),
        Binding("x", "act('purge')", "Purge"),
        Binding("c", "act('cancel')", "Cancel"),
        Binding("r", "act('requeue')", "Run now"),
        Binding("d", "act('delete')", "Delete"),
        Binding("R", "act('requeue_all')", "Run all"),
        Binding("D", "act('delete_all')", "Delete all"),
        Binding("slash", "filter", "Filter"),
        Binding("escape", "unfilter", show=False),
        Binding("u", "look", show=False),
        Binding("t", "theme", show=False),
        Binding("question_mark", "help", "Help"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def __init__(
        self,
        backend: Backend,
        target: Target,
        *,
        interval: float = 2.0,
        read_only: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """`interval`: seconds between two looks."""
        self.VERTICAL_BREAKPOINTS = [(0, "-short"), (TALL, "-tall")]
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self._backend, self._target = backend, target
        self._interval, self._read_only, self._clock = interval, read_only, clock or SystemClock()
        self._admin = Admin(lambda: backend, Background(), self._clock)
        self.contact, self.history = Contact(), History(interval)
        self.panel: Panel = QUEUES
        self._glance: Glance | None = None
        self._listings: dict[str, Page] = {}
        self._refusals: dict[str, str] = {}
        self._turned: dict[str, int] = {}
        """The page that is wanted of each list."""
        self._cursors: dict[str, str] = {}
        self._sought = ""
        self._looking = asyncio.Lock()
        self._wanted = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield Masthead(self._target.shown, self._target.namespace, self._habits())
        yield Banner("", markup=False)
        yield Counters()
        yield Remarks("", markup=False)
        yield Tabs(*(Tab(f"{at} {panel.title}", id=panel.name) for at, panel in enumerate(PANELS, 1)))
        yield Table()
        yield Static("", id="nothing", markup=False)
        yield Static("", id="note", markup=False)
        yield Input(placeholder="show only rows with this text", id="filter")
        yield Footer(show_command_palette=False)

    def _habits(self) -> str:
        words = f"every {span(self._interval)}"
        return f"{words}, read only" if self._read_only else words

    def on_mount(self) -> None:
        for theme in (NIGHT, DAY):
            self.register_theme(theme)
        self.theme = DAY.name if light_terminal() else NIGHT.name
        self.query_one(Tabs).can_focus = False
        self.query_one("#filter").display = False
        self.query_one(Banner).display = False
        self._table.focus()
        self.set_interval(1.0, self._tick)
        self.run_worker(self._watch(), name="watch")
        if Capability.SHARED not in self._backend.capabilities:
            self._say(f"{self._backend.name} lives inside one process: only its own jobs are seen")

    # looking

    async def _watch(self) -> None:
        while True:
            self._wanted.clear()
            await self.look()
            try:
                await asyncio.wait_for(self._wanted.wait(), self._interval)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Ask the backend once, and show what it says; or that it says nothing."""
        async with self._looking:
            panel = self.panel
            try:
                async with asyncio.timeout(PATIENCE):
                    self._glance = await look(self._admin)
                    await self._page_through(panel)
            except TimeoutError:
                self.contact.lost(f"nothing came in {span(PATIENCE)}", self._clock.monotonic())
            except WorksongError as failure:
                self.contact.lost(str(failure), self._clock.monotonic())
            else:
                self._met()
            self._paint()

    async def _page_through(self, panel: Panel) -> None:
        """Fetch the page that is shown; the last one if there are no longer so many."""
        if panel.state is None:
            return
        page = self._turned.get(panel.name, 1)
        try:
            listing = await self._admin.alist(panel.state, page)
            if page > 1 and not listing.jobs:
                page = self._turned[panel.name] = _pages(listing.total)
                listing = await self._admin.alist(panel.state, page)
        except (Unsupported, BackendRefused) as refusal:  # this list only: the server answers
            self._refusals[panel.name] = without_logins(str(refusal))
            self._listings.pop(panel.name, None)
            return
        self._refusals.pop(panel.name, None)
        self._listings[panel.name] = Page(page, listing)

    def _met(self) -> None:
        now = self._clock.monotonic()
        absence = self.contact.made(now)
        if absence is not None:
            self._say(f"the server answers again, after {span(absence)}")
        if self._glance:
            self.history.note(now, self._glance.counts)

    # showing

    @property
    def _table(self) -> Table:
        return self.query_one(Table)

    def _tell_contact(self) -> None:
        now = self._clock.monotonic()
        screen = self.screen_stack[0]
        screen.query_one(Masthead).tell(self.contact)
        screen.query_one(Banner).tell(self.contact, now)

    def _tick(self) -> None:
        with LEAVING:
            self._tell_contact()

    def _paint(self) -> None:
        with LEAVING:
            self._tell_contact()
            self._tell_glance()

    def _tell_glance(self) -> None:
        if self._glance is None:
            return
        screen, now = self.screen_stack[0], self._clock.monotonic()
        screen.query_one(Counters).tell(self._glance, self.history, now)
        screen.query_one(Remarks).tell(self._glance, self.history)
        self._fill()

    def _fill(self) -> None:
        """The table, or why there is none."""
        if self._glance is None:
            return
        screen = self.screen_stack[0]
        page = self._listings.get(self.panel.name)
        every = rows(self.panel, self._glance, page.listing if page else None, self._clock.now())
        found = matching(every, self._sought) if self._sought else every
        table, nothing = screen.query_one(Table), screen.query_one("#nothing", Static)
        table.tones = tones(self.theme_variables)
        with self.batch_update():
            table.show(self.panel.columns, found, cursor=self._cursors.pop(self.panel.name, ""))
        nothing.display = not found
        table.set_class(not found, "-empty")
        nothing.update(one_line(self._why_empty(every)))
        screen.query_one("#note", Static).update(one_line(self._note(every, found)))

    def _why_empty(self, every: list[Row]) -> str:
        if self.panel.name in self._refusals:
            return self._refusals[self.panel.name]
        if every:
            return "No row shows this text."
        if self.panel.state is not None and self.panel.name not in self._listings:
            return "looking \u2026"
        return self.panel.nothing

    def _note(self, every: list[Row], found: list[Row]) -> str:
        """Which part of the whole is shown."""
        parts: list[str] = []
        page = self._listings.get(self.panel.name)
        if page and page.listing.total:
            total = page.listing.total
            turn = "  \u2190 \u2192" if _pages(total) > 1 else ""
            parts.append(f"page {page.number:,} of {_pages(total):,}{turn}  \u00b7  {total:,} jobs")
        if self._sought:
            where = " of this page" if page else ""
            parts.append(f"/{self._sought}  {len(found):,} of {len(every):,} rows{where}, Esc shows all")
        return "  \u00b7  ".join(parts)

    def on_table_resized(self) -> None:
        with LEAVING:
            self._fill()

    # moving about

    def action_panel(self, at: int) -> None:
        """Show this panel."""
        chosen = self._table.chosen
        self._cursors[self.panel.name] = chosen.key if chosen else ""
        self.panel = PANELS[at]
        self.query_one(Tabs).active = self.panel.name
        self._table.focus()
        self.refresh_bindings()
        self._fill()
        self._wanted.set()

    def action_turn(self, by: int) -> None:
        self.action_panel((PANELS.index(self.panel) + by) % len(PANELS))

    @on(Tabs.TabActivated)
    def _tab_clicked(self, event: Tabs.TabActivated) -> None:
        if event.tab.id != self.panel.name:
            self.action_panel(next(at for at, panel in enumerate(PANELS) if panel.name == event.tab.id))

    def action_page(self, by: int) -> None:
        shown = self._listings.get(self.panel.name)
        number = self._turned.get(self.panel.name, 1) + by
        if shown and 1 <= number <= _pages(shown.listing.total):
            self._turned[self.panel.name] = number
            self._wanted.set()

    def action_look(self) -> None:
        self._wanted.set()

    def action_theme(self) -> None:
        self.theme = NIGHT.name if self.theme == DAY.name else DAY.name
        self._fill()

    def action_help(self) -> None:
        entries = KEYS if self._read_only else (*KEYS[:-1], *ACTS, KEYS[-1])
        self.push_screen(Sheet("Keys", entries))

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        chosen = self._table.chosen
        if chosen:
            self.push_screen(Sheet(self.panel.title, details(chosen.view, self._clock.now())))

    # filtering

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_unfilter(self) -> None:
        field = self.query_one("#filter", Input)
        field.value = ""
        field.display = False
        self._table.focus()

    @on(Input.Changed, "#filter")
    def _seek(self, event: Input.Changed) -> None:
        self._sought = event.value
        self._fill()

    @on(Input.Submitted, "#filter")
    def _sought_enough(self, event: Input.Submitted) -> None:
        event.input.display = False
        self._table.focus()

    # doing

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done here is offered."""
        if action != "act":
            return True
        name = str(parameters[0])
        return not self._read_only and name in OFFERED[self.panel.name] and NEEDS[name] in self._backend.capabilities

    def action_act(self, name: str) -> None:
        act = self._act(name)
        if act is None:
            return
        if act.question:
            self.push_screen(Question(act.question), lambda yes: self._do(act) if yes else None)
        else:
            self._do(act)

    def _act(self, name: str) -> Act | None:
        """What is meant: all jobs of the panel, or the row under the cursor."""
        if name.endswith("_all"):
            return self._act_on_all(name)
        chosen = self._table.chosen
        if chosen is None:
            return None
        if self.panel.state:
            return on_job(name, chosen.view)
        return on_running(chosen.view) if name == "cancel" else on_queue(name, chosen.view)

    def _act_on_all(self, name: str) -> Act | None:
        shown = self._listings.get(self.panel.name)
        if not (self.panel.state and shown and shown.listing.total):
            return None
        return on_all(name, self.panel.state, shown.listing.total)

    def _do(self, act: Act) -> None:
        self.run_worker(self._carry_out(act), name="act")

    async def _carry_out(self, act: Act) -> None:
        try:
            self._say((await act.carry_out(self._backend, self._clock.now())).text)
        except WorksongError as failure:
            self._say(str(failure), severity="error")
        await self.look()

    def _say(self, text: str, *, severity: str = "information") -> None:
        shown = one_line(without_logins(" ".join(text.split())))
        self.notify(shown, severity="error" if severity == "error" else "information", markup=False)


def _pages(total: int) -> int:
    return max(1, -(-total // PAGE))
