"""A job as what enqueues one like it: a command, Python, and a request to the job service."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

from worksong.registry import JobSpec
from worksong.service.redaction import HIDDEN

NAMED = 5
"""So many of the arguments that are not shown are named."""
HARMLESS = re.compile(r"[A-Za-z0-9_.\[\]-]+")
"""How an argument is called that a remark may name. Names come from whoever enqueues, and not every shell passes over
what stands after `#` when it is pasted."""


class Copy(NamedTuple):
    """Something to be copied."""

    kind: str
    text: str


def copies(job: dict[str, Any], service: str | None, *, spec: JobSpec | None, guarded: bool) -> list[Copy]:
    """Each begins with a remark where arguments are missing, so nobody copies `***` without being told.

    `service`: the address of the job service, where one has the same jobs; `spec`: the job type there, None if it has
    none of that name; `guarded`: it asks for a token.
    """
    found = [Copy("cli", as_cli(job)), Copy("python", as_python(job))]
    params = _params(job["args"], spec) if spec else None
    if service is not None and params is not None:
        found.append(Copy("curl", as_curl(job["handler"], params, service, guarded=guarded)))
    missing = list(_missing(job["args"], ""))
    if not missing:
        return found
    remark = f"# not shown, so fill in what stands there as {HIDDEN}: {_named(missing)}"
    return [Copy(kind, f"{remark}\n{text}") for kind, text in found]


def _params(args: object, spec: JobSpec) -> dict[str, Any] | None:
    """What the service is given to make these arguments of it; None: it makes them of nothing."""
    if args is not None and not isinstance(args, dict):
        return None
    named = cast("dict[str, Any]", args or {})
    if not spec.signature.of_valets_form:
        return named
    params: object = named.get("params")  # it puts them into one argument, and no other beside it
    return cast("dict[str, Any]", params) if isinstance(params, dict) and len(named) == 1 else None


def _named(missing: Sequence[str]) -> str:
    """Those that may be named, and how many others there are."""
    names = [path for path in missing if HARMLESS.fullmatch(path)][:NAMED]
    others = len(missing) - len(names)
    if not names:
        return f"{others} argument{'' if others == 1 else 's'}"
    return ", ".join(names) + (f" and {others} more" if others else "")


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


def as_curl(handler: str, params: dict[str, Any], service: str, *, guarded: bool) -> str:
    """A request to the job service, which puts it into the queue of its job type."""
    body = {"name": handler, "task_name": handler, "task_params": params}
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
            yield path
        case _:
            return
