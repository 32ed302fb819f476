"""Users of the web console: the file that names them, and `worksong password`, which prints its lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from worksong.domain.errors import ConfigError
from worksong.faces.cli.commands import Command
from worksong.service.passwords import ROLES, User, hashed, line_of, users_in

VARIABLE = "WORKSONG_UI_USERS"


def _read(context: click.Context, option: click.Parameter, path: str | None) -> Sequence[User]:
    if not path:
        return ()
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, ValueError) as failure:
        raise ConfigError(f"the users of the console cannot be read from {path}: {failure}") from failure
    return users_in(lines, path)


users_option = click.option(
    "--users",
    envvar=VARIABLE,
    show_envvar=True,
    metavar="FILE",
    callback=_read,
    help="Lets those in who are named there, by password; `worksong password` prints its lines.",
)


@click.command(cls=Command)
@click.argument("name")
@click.option("--role", type=click.Choice(list(ROLES)), default="operator", show_default=True)
def password(*, name: str, role: str) -> None:
    """A line for the file of users of the web console.

    Asks for the password of NAME, and prints a line for `worksong ui --users FILE`. The line holds a digest only.
    """
    given = click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True)
    line = line_of(name, role, hashed(given))
    users_in([line], "the name")
    click.echo(line)
