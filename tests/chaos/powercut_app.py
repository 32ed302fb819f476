"""A program that uses the embedded backend, and whose file is recorded: `powercut_app.py FILE OPTIONS JOBS OUTPUT`.

What became of the jobs is noted among the writes: `acked ID`, then `ending ID` before its ending may be stored, then
`ended ID` when that was acknowledged.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from pathlib import Path

from chaos.recorder import Recorder, Unshared
from chaos.theatre import NAMESPACE
from worksong.adapters import connect
from worksong.adapters.sql import sqlite_file
from worksong.domain.job import Job, new_id
from worksong.domain.outcome import Done, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Pool, Want

PRODUCERS = 4
CHECKPOINT = 40
"""Pages: so that the log is copied into the file, and begun anew, many times within the run."""


async def produce(store: Backend, recorder: Recorder, count: int) -> None:
    for number in range(count):
        job = Job(
            "work", {"number": number, "padding": "x" * (97 * number % 2000)}, id=new_id(), enqueued_at=time.time()
        )
        await store.push([job], time.time())
        recorder.note("acked", job.id)


async def consume(store: Backend, recorder: Recorder, count: int) -> None:
    """End so many of them."""
    pool = Pool(id=new_id(), handlers=("work",))
    await store.enlist(pool, time.time())
    while count > 0:
        lent = await store.fetch(Want(pool.id, 3, 0.1, (Share("work", 3),)), time.time())
        for delivery in lent:
            recorder.note("ending", delivery.job.id)
        ended = await store.settle([Settlement(delivery, Done()) for delivery in lent], time.time())
        assert all(ended)
        for delivery in lent:
            recorder.note("ended", delivery.job.id)
        count -= len(lent)


async def use(url: str, jobs: int, recorder: Recorder) -> None:
    store = connect(url, namespace=NAMESPACE)
    await store.counts()  # the file and its tables are there before anything is promised
    recorder.note("made", "")
    producers = [produce(store, recorder, jobs // PRODUCERS) for _ in range(PRODUCERS)]
    await asyncio.gather(*producers, consume(store, recorder, jobs // 2))
    recorder.note("over", "")
    await store.close()


def main(file: str, options: str, jobs: str, output: str) -> None:
    sqlite_file.CHECKPOINT = CHECKPOINT
    recorder = Recorder()
    try:
        recorder.install()
    except Unshared as unshared:
        raise SystemExit(f"unshared: {unshared}") from None
    asyncio.run(use(f"sqlite:///{file}{options}", int(jobs), recorder))
    Path(output).write_bytes(pickle.dumps([tuple(event) for event in recorder.events]))


if __name__ == "__main__":
    main(*sys.argv[1:])
