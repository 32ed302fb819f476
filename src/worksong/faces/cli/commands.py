"""The commands: where each one is, what the overview says of it, and how its failures are told."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import IO, Any, NamedTuple

import click

from worksong.domain.errors import WorksongError


class Entry(NamedTuple):
    """One line of the overview."""

    name: str
    place: str
    """Module and attribute, below this package."""
    summary: str


SECTIONS: dict[str, Sequence[Entry]] = {
    "Work": (
        Entry("run", "run:run", "Run the jobs of an app."),
        Entry("enqueue", "enqueue:enqueue", "Enqueue a job."),
        Entry("serve", "serve:serve", "Serve the jobs of an app over HTTP and gRPC, and run them."),
    ),
    "Look": (
        Entry("status", "status:status", "Everything at a glance."),
        Entry("queues", "queues:queues", "Queues: length, latency, limits, pauses."),
        Entry("pools", "pools:pools", "Worker processes that are alive."),
        Entry("busy", "busy:busy", "Jobs running right now."),
        Entry("scheduled", "jobs:scheduled", "Jobs to run later, soonest first."),
        Entry("retries", "jobs:retries", "Failed jobs that will run again, soonest first."),
        Entry("dead", "dead:dead", "Jobs that failed for good; retry or delete them."),
        Entry("top", "top.command:top", "All of this live, in a dashboard."),
        Entry("ui", "ui:ui", "The same in a browser: the web console."),
        Entry("audit", "audit:audit", "Who ordered what at the web console."),
        Entry("why", "why:why", "Why a job is not running."),
        Entry("doctor", "doctor:doctor", "What is wrong with the server and the queues, and the mend."),
        Entry("cron", "cron:cron", "When periodic jobs, or one expression, fire next."),
    ),
    "Act": (
        Entry("pause", "orders:pause", "Start nothing more from a queue."),
        Entry("resume", "orders:resume", "End a pause."),
        Entry("purge", "orders:purge", "Drop all jobs waiting in a queue."),
        Entry("cancel", "orders:cancel", "Drop a job, or stop it if it runs."),
        Entry("quiet", "orders:quiet", "Have a worker process fetch nothing more."),
        Entry("dismiss", "orders:dismiss", "Have a worker process finish what it runs, and end."),
    ),
    "Set up": (
        Entry("password", "users:password", "A line for the file of users of the web console."),
        Entry("migrate", "migrate:migrate", "Create or upgrade the tables of a database."),
        Entry("move", "move:move", "Move all jobs to another backend."),
        Entry("import-valet", "import_valet:import_valet", "Take over what a Valet service has kept."),
    ),
    "Measure": (Entry("bench", "bench:bench", "How fast this machine and backend are."),),
}

EXAMPLES = """\b
Examples:
  worksong run myapp.jobs:worker --concurrency 50 --processes 4
  worksong enqueue send_email --args '{"user_id": 7}' --in 5m
  worksong dead retry --all
"""


class Commands(click.Group):
    """The command `worksong`; imports a command's module only when it is asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            help="Background jobs: run them, enqueue them, look after them.",
            epilog=EXAMPLES,
            params=[_version_option(), debug_option()],
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self._entries = {entry.name: entry for section in SECTIONS.values() for entry in section}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.place.partition(":")
        command: click.Command = getattr(import_module(f"worksong.faces.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self._entries:
            close = get_close_matches(args[0], self._entries, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"there is no command {args[0]!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self._entries))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(entry.name.ljust(width), entry.summary) for entry in entries])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as failure:
            if ctx.meta.get("worksong.debug") or _is_broken_pipe(failure):
                raise
            raise Failure(failure) from failure


class Command(click.Command):
    """A command that takes --debug behind its name as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(debug_option())


class Failure(click.ClickException):
    """One clear line on stderr, exit code 1."""

    def __init__(self, cause: Exception) -> None:
        text = str(cause)
        if not isinstance(cause, WorksongError):
            text = f"{type(cause).__name__}: {text} (--debug shows where)"
        super().__init__(text)

    def show(self, file: IO[Any] | None = None) -> None:
        from worksong.domain.names import one_line
        from worksong.service.redaction import without_logins

        text = one_line(without_logins(" ".join(self.message.split())))
        label = click.style("worksong: error:", fg="red", bold=True)
        click.echo(f"{label} {text}", file=file, err=True)


def debug_option() -> click.Option:
    """--debug, wherever it stands."""
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=_set_debug, help="Show where an error comes from."
    )


def _set_debug(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.meta["worksong.debug"] = True


def _version_option() -> click.Option:
    return click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_show_version,
        help="Show the version and exit.",
    )


def _show_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"worksong {import_module('worksong').__version__}")
        ctx.exit()


def _is_broken_pipe(failure: Exception) -> bool:
    """Whoever read our output has left: click ends quietly then."""
    return isinstance(failure, OSError) and failure.errno == errno.EPIPE
