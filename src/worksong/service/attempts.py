"""The failed runs of a job, as far as the store was told of them, with what must not be shown taken out."""

from __future__ import annotations

from typing import Any

import msgspec

from worksong.domain.attempt import Attempt
from worksong.engine.attempts import page_of
from worksong.ports.notebook import Notebook
from worksong.service.redaction import without_logins

_decode = msgspec.json.Decoder(Attempt).decode


async def attempts_of(notebook: Notebook, job_id: str) -> list[dict[str, Any]]:
    """The latest first; times as Unix seconds."""
    found = [_read(line) for line in await notebook.lines(page_of(job_id))]
    return [_fields(attempt) for attempt in found if attempt is not None]


def _read(line: str) -> Attempt | None:
    """None: another version wrote it, or somebody else did."""
    try:
        return _decode(line)
    except msgspec.MsgspecError:
        return None


def _fields(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "at": float(attempt.at),
        "began_at": float(attempt.began_at),
        "seconds": attempt.seconds,
        "worker": attempt.worker,
        "dead": attempt.dead,
        "error": without_logins(attempt.error),
        "lines": [without_logins(line) for line in attempt.lines],
    }
