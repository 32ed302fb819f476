"""The command line of a project whose worker need not be named, since its framework knows it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import click

from worksong.domain.errors import WorksongError
from worksong.faces.cli.commands import Commands, Failure
from worksong.faces.cli.target import PEERS, VARIABLE
from worksong.worker import Worker


class ProjectCommands(Commands):
    """All commands of `worksong`, aimed at one worker."""

    def __init__(self, name: str, app: str, worker: Callable[[], Worker]) -> None:
        """`app`: how other processes find what `worker` answers, as module:attribute."""
        super().__init__(name)
        self._app, self._worker = app, worker

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is None or not any(parameter.name == "app" for parameter in found.params):
            return found
        command = copy.copy(found)
        command.params = [_Known(self._app) if each.name == "app" else each for each in found.params]
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """The project says where the jobs are, so a variable that says otherwise does not count."""
        try:
            worker = self._worker()
        except WorksongError as wrong:
            raise Failure(wrong) from wrong
        os.environ[VARIABLE] = worker.url
        ctx.params["namespace"] = namespace_of(worker.url, worker.name)
        return super().invoke(ctx)


class _Known(click.Argument):
    """APP, which may be left out; a cron expression of its own has none."""

    def __init__(self, app: str) -> None:
        super().__init__(["app"], required=False)
        self._app = app

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:
        return None if ctx.params.get("spec") else self._app


def namespace_of(url: str, name: str) -> str | None:
    """The worker's name, unless the URL says another namespace, or its format is that of peers who have their own."""
    has_own = url.lower().startswith(PEERS) or "namespace" in parse_qs(url.partition("?")[2])
    return None if has_own else name
