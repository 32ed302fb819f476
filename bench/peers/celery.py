"""Celery on Redis."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from celery import Celery

from bench.peer import URL, Peer, program
from bench.tally import done, stamp

app = Celery("bench", broker=URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=128, broker_connection_retry_on_startup=True)


@app.task(name="plain")
def plain() -> None:
    done()


@app.task(name="stamp")
def note(sent: int) -> None:
    stamp(sent)


JOBS = {"plain": plain, "stamp": note}


class CeleryPeer(Peer):
    packages = ("celery", "kombu", "redis", "hiredis")
    kinds: ClassVar = {"plain": 1200}
    best = 25
    own_processes = False
    promise = (
        "Acknowledges before the handler runs (the default, acks_late off): what a killed worker was running is lost, "
        "what it had only fetched comes back after an hour."
    )
    setup = (
        "No results; prefetch multiplier 128, which its guide recommends for short tasks; no gossip, mingle, "
        "heartbeat. The pool of threads, so that one process has several jobs at once; its pool of processes drained "
        "these jobs no faster."
    )

    def send(self, job: str, *args: Any) -> None:
        JOBS[job].apply_async(args)

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"]
        pool = ["--pool=threads", f"--concurrency={slots}", f"--hostname=bench-{os.getpid()}@%h"]
        return [program("celery"), "--app=bench.peers.celery:app", "--quiet", "worker", *pool, *quiet]


PEER = CeleryPeer()
