"""What each backend promises, as the table that the documentation shows."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from worksong.domain.capability import Capability
from worksong.ports.backend import Backend


def capability_table(backends: Sequence[Backend]) -> str:
    """Markdown: a row per capability, a column per backend."""
    names = [f"`{urlsplit(backend.name).scheme or backend.name}://`" for backend in backends]
    lines = [_row(["", *names]), _row(["---", *[":-:"] * len(names)])]
    for capability in Capability:
        marks = ["✓" if capability in backend.capabilities else "" for backend in backends]
        lines.append(_row([capability.value, *marks]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
