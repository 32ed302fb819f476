"""A job as what enqueues one like it: a command, Python, and a request to the job service."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from worksong.service.redaction import HIDDEN

NAMED = 5
"""So many of the arguments that are not shown are named."""


class Copy(NamedTuple):
    """Something to be copied."""

    kind: str
    text: str


def copies(job: dict[str, Any], service: str | None, *, guarded: bool) -> list[Copy]:
    """Each begins with a remark where arguments are missing, so nobody copies `***` without being told.

    `service`: the address of the job service, where one has the same jobs; `guarded`: it asks for a token.
    """
    found = [Copy("cli", as_cli(job)), Copy("python", as_python(job))]
    args: object = job["args"]
    if service is not None and (args is None or isinstance(args, dict)):
        found.append(Copy("curl", as_curl(job, service, guarded=guarded)))
    missing = list(_missing(job["args"], ""))
    if not missing:
        return found
    named = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
    return [
        Copy(kind, f"# not shown, so fill in what stands there as {HIDDEN}: {named}\n{text}") for kind, text in found
    ]


def as_cli(job: dict[str, Any]) -> str:
    """A command."""
    words = ["worksong", "enqueue", job["handler"]]
    if job["args"] is not None:
        words += ["--args", _json(job["args"])]
    if job["queue"] != "default":
        words += ["--queue", job["queue"]]
    return shlex.join(words)


def as_python(job: dict[str, Any]) -> str:
    """What a program calls."""
    args = f", args={job['args']!r}" if job["args"] is not None else ""
    queue = f", queue={job['queue']!r}" if job["queue"] != "default" else ""
    return f"worker.perform(Job(handler={job['handler']!r}{args}{queue}))"


def as_curl(job: dict[str, Any], service: str, *, guarded: bool) -> str:
    """A request to the job service, which puts it into the queue of its job type."""
    params: object = job["args"] or {}
    body = {"name": job["handler"], "task_name": job["handler"], "task_params": params}
    token = '-H "Authorization: Bearer $TOKEN" ' if guarded else ""
    return f"curl -s {shlex.quote(f'{service}/api/jobs')} {token}-d {shlex.quote(_json(body))}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _missing(value: object, path: str) -> Iterator[str]:
    """Where in the arguments something is that is not shown."""
    match value:
        case dict():
            for name, inner in cast("dict[str, object]", value).items():
                yield from _missing(inner, f"{path}.{name}" if path else name)
        case list():
            for number, inner in enumerate(cast("list[object]", value)):
                yield from _missing(inner, f"{path}[{number}]")
        case str() if HIDDEN in value:
            yield " ".join(path.split()) or "the arguments"
        case _:
            return
