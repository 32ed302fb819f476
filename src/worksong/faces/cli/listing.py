"""What all listings share: their options, and a job as a row or as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from worksong.admin import PAGE
from worksong.domain.job import JobView
from worksong.faces.cli.screen import clip, emit, show_table
from worksong.ports.backend import Listing
from worksong.service.fields import job_fields, last_line
from worksong.service.moments import relative
from worksong.service.redaction import redacted, without_logins

ARGS_SHOWN = 60
ERROR_SHOWN = 80

T = TypeVar("T")
V = TypeVar("V")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
reveal_option = click.option("--reveal", is_flag=True, help="Show arguments that look like secrets.")


def page_option(default: int | None) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """--page; without a default everything is shown unless a page is asked for."""
    return click.option("--page", type=click.IntRange(1, 10_000), default=default, help=f"{PAGE} to a page, from 1.")


def page_of(every: Sequence[V], page: int | None) -> Sequence[V]:
    """That page, or everything."""
    return every if page is None else every[(page - 1) * PAGE : page * PAGE]


def show_jobs(listing: Listing, page: int, *, kind: str, when: str, reveal: bool) -> None:
    """Print a page of jobs as a table."""
    if not listing.total:
        click.echo(f"No {kind} jobs.")
        return
    failed = kind != "scheduled"
    headers = [f">{when}", "!id", "job", *((">fails", "*error") if failed else ("queue",)), "*arguments"]
    now = time.time()
    show_table(headers, [_row(view, now, failed=failed, reveal=reveal) for view in listing], note=_note(listing, page))


def emit_jobs(listing: Listing, page: int, *, reveal: bool) -> None:
    """Print a page of jobs as JSON."""
    pages = max(1, -(-listing.total // PAGE))
    jobs = [job_fields(view, reveal=reveal) for view in listing]
    emit({"page": page, "pages": pages, "total": listing.total, "jobs": jobs})


def shown_args(args: object, *, reveal: bool) -> str:
    """Arguments on one short line."""
    if not args:
        return ""
    text = json.dumps(args if reveal else redacted(args), ensure_ascii=False, separators=(", ", ": "))
    return clip(text, ARGS_SHOWN)


def _row(view: JobView, now: float, *, failed: bool, reveal: bool) -> list[str]:
    job = view.job
    error = view.reason or job.error
    middle = [str(job.fails), clip(without_logins(last_line(error)), ERROR_SHOWN)] if failed else [job.queue]
    return [relative(view.at, now), job.id, job.handler, *middle, shown_args(job.args, reveal=reveal)]


def _note(listing: Listing, page: int) -> str:
    pages = max(1, -(-listing.total // PAGE))
    jobs = f"{listing.total:,} job{'s' if listing.total > 1 else ''}"
    if pages == 1:
        return jobs
    more = f" \u00b7 next: --page {page + 1}" if page < pages else ""
    return f"page {page} of {pages} \u00b7 {jobs}{more}"
