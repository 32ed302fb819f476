"""`worksong status`: everything at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from worksong.admin import Admin
from worksong.domain.lifecycle import State
from worksong.domain.names import one_line
from worksong.engine.pauses import Standing
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option
from worksong.faces.cli.screen import console, emit
from worksong.faces.cli.target import Target, ask, takes_target
from worksong.service.firings import stopped_fields
from worksong.service.glance import Glance, look
from worksong.service.moments import span

COLOURS = {
    State.QUEUED: "cyan",
    State.RUNNING: "green",
    State.SCHEDULED: "blue",
    State.RETRY: "yellow",
    State.DEAD: "red",
}
BAR = 32


@click.command(cls=Command)
@takes_target
@json_option
def status(target: Target, as_json: bool) -> None:
    """Everything at a glance."""
    glance, stopped = ask(target, _look)
    if as_json:
        emit(_fields(target, glance) | {"paused_periodic": [stopped_fields(standing) for standing in stopped]})
    else:
        _show(target, glance, stopped)


async def _look(admin: Admin) -> tuple[Glance, Sequence[Standing]]:
    return await look(admin), await admin.apaused_periodic()


def _fields(target: Target, glance: Glance) -> dict[str, Any]:
    return {
        "url": target.shown,
        "namespace": target.namespace,
        **{state.value: glance.counts.get(state, 0) for state in COLOURS},
        "latency": glance.latency,
        "queues": len(glance.queues),
        "paused": glance.paused,
        "pools": len(glance.pools or ()),
        "concurrency": glance.concurrency,
        "busy": len(glance.busy),
    }


def _show(target: Target, glance: Glance, stopped: Sequence[Standing]) -> None:
    from rich.text import Text

    paper = console()
    paper.print(Text.assemble((one_line(target.shown), "bold"), (f"  {one_line(target.namespace)}", "dim")))
    paper.print()
    most = max(glance.counts.get(state, 0) for state in COLOURS)
    for state, colour in COLOURS.items():
        paper.print(_bar(state, glance.counts.get(state, 0), most, colour))
    paper.print()
    for line in _remarks(glance, stopped):
        paper.print(line)


def _bar(state: State, count: int, most: int, colour: str) -> Any:
    from rich.text import Text

    length = -(-count * BAR // most) if most else 0
    style = colour if count else "dim"
    return Text.assemble((f"{state.value:>11}", style), f"  {count:>9,}  ", ("\u2501" * length, colour))


def _remarks(glance: Glance, stopped: Sequence[Standing]) -> list[Any]:
    from rich.text import Text

    lines = [Text(glance.workers, style="" if glance.pools else "yellow")] if glance.workers else []
    if glance.latency:
        lines.append(Text(f"the oldest job has been waiting for {span(glance.latency)}"))
    if glance.paused:
        lines.append(Text(one_line(f"paused: {', '.join(glance.paused)}"), style="yellow"))
    if stopped:
        names = ", ".join(f"{standing.handler} ({standing.spec})" for standing in stopped)
        lines.append(Text(one_line(f"paused periodic jobs: {names}"), style="yellow"))
    if dead := glance.counts.get(State.DEAD, 0):
        lines.append(Text(f"{dead:,} dead: see `worksong dead`, then `worksong dead retry ID`", style="red"))
    return lines
