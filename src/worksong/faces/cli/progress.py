"""A bar on a terminal while something long goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from worksong.faces.cli.screen import console


@contextlib.contextmanager
def progress(what: str, total: int, *, show: bool) -> Generator[Callable[[int], None]]:
    """Gives a function to call with how many are done; the bar goes away in the end."""
    if not show:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description:>12}", style="dim"),
        BarColumn(complete_style="magenta", finished_style="green"),
        MofNCompleteColumn(),
        console=console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
