"""A worker process that notes in a ledger what began where.

Its arguments: URL, namespace, ledger, gate (a named pipe that lets go who holds the interpreter's lock), concurrency.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from pathlib import Path

from worksong import Worker


def main(url: str, namespace: str, ledger: str, gate: str, concurrency: str) -> None:
    worker = Worker(url, name=namespace, concurrency=int(concurrency))
    notes = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str) -> bool:
        """Whether it is the first one of these."""
        first = what not in Path(ledger).read_text(encoding="utf-8")
        os.write(notes, f"{what} {os.getpid()} {time.monotonic()}\n".encode())
        return first

    @worker.job()
    async def waits() -> None:
        if note("waits"):
            await asyncio.sleep(3600)

    @worker.job()
    async def holds_the_lock() -> None:
        if note("holds_the_lock"):
            ctypes.PyDLL(None).read(os.open(gate, os.O_RDWR), ctypes.create_string_buffer(1), 1)

    worker.start()
    note("ready")
    sys.stdin.read()
    worker.stop(grace=1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
