"""RQ: one job at a time in a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from redis import Redis
from rq import Queue

from bench.peer import URL, Peer, program
from bench.tally import done, stamp

queue = Queue("bench", connection=Redis.from_url(URL))


def plain() -> None:
    done()


def note(sent: int) -> None:
    stamp(sent)


class Rq(Peer):
    packages = ("rq", "redis", "hiredis")
    kinds: ClassVar = {"plain": 400}
    best = 1
    one_at_a_time = True
    own_processes = False
    promise = "Keeps a job in Redis until it ran; the jobs of a killed worker are moved to the failed ones."
    setup = (
        "`SimpleWorker`, which its notes on performance name for very short jobs: no fork for each job. Results are "
        "not kept. Concurrency is processes."
    )

    def send(self, job: str, *args: Any) -> None:
        queue.enqueue(f"bench.peers.rq.{job if job == 'plain' else 'note'}", *args, result_ttl=0)

    def send_many(self, job: str, number: int) -> None:
        queue.enqueue_many([Queue.prepare_data(f"bench.peers.rq.{job}", result_ttl=0) for _ in range(number)])

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        return [program("rq"), "worker", "--worker-class=rq.worker.SimpleWorker", f"--url={URL}", "--quiet", "bench"]


PEER = Rq()
