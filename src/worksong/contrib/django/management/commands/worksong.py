"""`manage.py worksong ...`: the command line of worksong, for the worker of this project."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from worksong.contrib.django.project import project_worker
from worksong.faces.cli.project import ProjectCommands

APP = "worksong.contrib.django:worker"


class Command(BaseCommand):
    """Hands on what follows its name."""

    help = "The command line of worksong, for the worker of this project."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Not through Django's parser, which knows neither commands nor their options."""
        _commands().main(argv[2:], prog_name=f"{Path(argv[0]).name} {argv[1]}")

    def print_help(self, prog_name: str, subcommand: str) -> None:
        _commands().main(["--help"], prog_name=f"{Path(prog_name).name} {subcommand}", standalone_mode=False)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("arguments", nargs="...")

    def handle(self, *args: Any, **options: Any) -> None:
        """`call_command("worksong", "status")`."""
        _commands().main(options["arguments"], prog_name="manage.py worksong", standalone_mode=False)


def _commands() -> ProjectCommands:
    """The processes of `--processes` import the project as this one does, wherever it was started."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0] or ".", *([path] if path else [])])
    return ProjectCommands("worksong", APP, project_worker)
