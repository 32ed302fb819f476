"""A worker that a test kills: it notes each job that it has begun and ended in a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from worksong import Worker

worker = Worker(os.environ["WORKSONG_URL"], concurrency=4)


def _write(line: str) -> None:
    with Path(os.environ["AMQP_LEDGER"]).open("a") as ledger:
        ledger.write(f"{line}\n")


@worker.job()
def note(n: int) -> None:
    _write(f"begun {n}")
    time.sleep(0.02)
    _write(f"done {n}")
