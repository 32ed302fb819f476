"""What the chaos measured, as JSON, and as the table in the documentation.

`pytest tests/chaos --certificates FILE` adds to the file; `python -m tests.chaos.certificates FILE PAGE` writes the
table between the markers of the page.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Certify = Callable[..., None]
"""The fixture."""
BEGIN, END = "<!-- certificates -->", "<!-- /certificates -->"
WHAT = {
    "A1": "workers killed at random",
    "A2": "workers and the server killed at random",
    "A3": "workers and the server killed at random",
    "A4": "a pool dies while nothing else happens",
    "A4-supervised": "the same, under `--processes`",
    "A6": "a frozen worker wakes up",
    "A7": "handlers in processes that run out of memory",
    "A8": "the crash matrix: handlers that fail, block, leak, do not stop",
    "A8-fatal": "the crash matrix: handlers that end their process, under `--processes`",
    "B1": "rolling restarts",
    "B2": "a stop that handlers outlive",
    "B3": "a signal to an idle worker while the server is there, gone or frozen",
    "B3-second": "a second signal to a busy worker, the same",
    "C1": "the server killed and away",
    "C2": "twelve network faults:",
    "C6": "a server that takes nothing in, and queues deleted under those who consume",
    "C6-long": "jobs that run longer than the server leaves a delivery with anybody",
    "C7": "a full disk",
    "C8": "a server that refuses:",
    "C9": "callers cancelled anywhere in a call",
    "D1": "wall clocks that jump",
    "D2": "workers minutes apart",
    "D4": "everything due at once, schedulers killed",
    "D5": "periodic jobs, schedulers killed, skewed, cut off",
    "D5-days": "the same for days, with rare entries",
    "D5-seconds": "the same, entries every second",
    "E1": "poison in a queue, a schedule and the retries, under a worker at work",
    "E2": "readers of foreign texts fuzzed",
    "E3": "documents beyond all size: refused when enqueued, buried unread when found",
    "E4": "arguments that JSON, Lua or Go cannot carry",
    "E5": "every listing while poison lies everywhere",
    "F1": "unique jobs, workers killed at every point of their way",
    "F2": "a limit of three under kills",
    "F5": "results under kills",
    "G1": "pipelines, workers killed at random",
    "G2": "a process dies of each operation between a record, its message and its end",
    "G3": "records without a message, messages without a record",
    "G5": "callers with one and the same key",
    "G6": "jobs cancelled, deleted and retried while they end",
    "G-restart": "the service killed while it is asked, and back",
    "H2": "a transaction of somebody else that stays open",
    "I3": "tables migrated while workers of the version before are at work",
    "K1": "power cuts, simulated write by write",
    "mixed": "workers of both languages killed at random, beside",
}
"""What was done to it, by the first word of the certificate's id; an id that is not here is shown as it is."""


def issue(name: str, backend: str, scale: float, versions: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """One certificate, of now and of this commit."""
    return {
        "id": name,
        "backend": backend,
        "scale": scale,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "versions": f"Python {platform.python_version()}, {versions}"
        if versions
        else f"Python {platform.python_version()}",
        "figures": dict(figures),
    }


def merge(file: Path, fresh: Iterable[Mapping[str, Any]]) -> None:
    """Add certificates to the file; a new one replaces the old one of the same id and backend."""
    known = {_key(one): one for one in read(file)}
    known.update({_key(one): one for one in fresh})
    file.write_text(json.dumps([known[key] for key in sorted(known)], indent=1, ensure_ascii=False) + "\n")


def read(file: Path) -> list[dict[str, Any]]:
    """The certificates of the file; none when there is no file."""
    return json.loads(file.read_text()) if file.exists() else []


def table(certificates: Iterable[Mapping[str, Any]]) -> str:
    """Markdown: a table per backend. Only what was measured at full scale is shown."""
    backends: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for certificate in certificates:
        if certificate["scale"] >= 1:
            backends[certificate["backend"]].append(certificate)
    if not backends:
        return "Nothing was certified yet: run `make chaos`.\n"
    return "\n".join(_of_backend(name, backends[name]) for name in sorted(backends))


def write_into(page: Path, text: str) -> None:
    """Put the text between the page's markers."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no markers {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def _of_backend(name: str, certificates: Collection[Mapping[str, Any]]) -> str:
    killed = "kill -9 " if any(one["id"] == "A1" for one in certificates) else ""
    lines = [f"### {name}: {killed}certified", "", "| | Measured | Date, commit, versions |", "|---|---|---|"]
    for one in sorted(certificates, key=_key):
        figures = "; ".join(f"{what.replace('_', ' ')} {_shown(value)}" for what, value in one["figures"].items())
        proof, _, case = one["id"].partition(" ")
        what = f"{WHAT.get(proof, '')} {case}".strip()
        origin = f"{one['date']}, `{one['commit']}`, {one['versions']}"
        lines.append(f"| **{proof}** {what}".rstrip() + f" | {figures} | {origin} |")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    return f"{value:.2f} s" if isinstance(value, float) else str(value)


def _key(certificate: Mapping[str, Any]) -> tuple[str, str]:
    return certificate["backend"], certificate["id"]


def _commit() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def main(words: list[str]) -> None:
    """Write the table of FILE into PAGE."""
    file, page = map(Path, words)
    write_into(page, table(read(file)))


if __name__ == "__main__":
    main(sys.argv[1:])
