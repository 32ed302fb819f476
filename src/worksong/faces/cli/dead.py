"""`worksong dead`: the jobs that failed for good, and what becomes of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import click

from worksong.admin import Admin
from worksong.domain.errors import WorksongError
from worksong.faces.cli.commands import Command, debug_option
from worksong.faces.cli.listing import emit_jobs, json_option, page_option, reveal_option, show_jobs
from worksong.faces.cli.screen import say
from worksong.faces.cli.target import Target, aim, ask, takes_target, url_options


@click.group(invoke_without_command=True)
@url_options
@json_option
@page_option(1)
@reveal_option
def dead(*, url: str | None, namespace: str | None, as_json: bool, page: int, reveal: bool) -> None:
    """Jobs that failed for good; retry or delete them."""
    if click.get_current_context().invoked_subcommand:
        return
    listing = ask(aim(url, namespace), lambda admin: admin.adead(page))
    if as_json:
        emit_jobs(listing, page, reveal=reveal)
    else:
        show_jobs(listing, page, kind="dead", when="died", reveal=reveal)


dead.params.append(debug_option())


@dead.command(cls=Command)
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="All dead jobs.")
@takes_target
def retry(target: Target, job_id: str | None, every: bool) -> None:
    """Queue a dead job again, its failures forgotten; or all of them."""
    _apply(target, _chosen(job_id, every), Admin.aretry_dead, Admin.aretry_all_dead, "queued again")


@dead.command(cls=Command)
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="All dead jobs.")
@takes_target
def delete(target: Target, job_id: str | None, every: bool) -> None:
    """Drop a dead job; or all of them."""
    _apply(target, _chosen(job_id, every), Admin.adelete_dead, Admin.adelete_all_dead, "deleted")


def _chosen(job_id: str | None, every: bool) -> str | None:
    """The id, or None for all."""
    if bool(job_id) == every:
        raise click.UsageError("say which job, by its ID, or --all")
    return job_id


def _apply(
    target: Target,
    job_id: str | None,
    one: Callable[[Admin, str], Awaitable[bool]],
    whole: Callable[[Admin], Awaitable[int]],
    what: str,
) -> None:
    if job_id is None:
        count = ask(target, whole)
        say(f"{what}: {count:,} dead job{'' if count == 1 else 's'}")
    elif ask(target, lambda admin: one(admin, job_id)):
        say(f"{what}: {job_id}")
    else:
        raise WorksongError(f"no dead job has the id {job_id}; `worksong dead` lists them")
