"""A program that creates jobs and pipelines, and is killed: for each line (SEED) it forks a child that dies of it.

    python -m chaos.creator URL NAMESPACE

Queue and records are both at the URL. The child names what it was told is created, an id in each line; then, by this
program, comes `killed`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import sys
import threading
import time

from worksong import Worker
from worksong.domain.errors import BackendUnavailable
from worksong.domain.record import JobRecord
from worksong.service.forms import BatchForm, JobForm, PipelineForm
from worksong.service.jobservice import JobService

CALLERS = 8
LONGEST = 0.05
"""Seconds from the first answer to the death, at most."""
FORM = JobForm(name="a job", task_name="count", task_params={"n": 1})


def a_service(url: str, namespace: str) -> JobService:
    """Before a worker that runs nothing."""
    worker = Worker(url, name=namespace, records=url)

    @worker.task("count")
    async def count(params: dict[str, int]) -> None: ...

    return JobService(worker)


async def create(service: JobService, chance: random.Random) -> None:
    """Job after job; the process ends soon after the first one."""
    while True:
        try:
            created = await one_more(service, chance)
        except BackendUnavailable:  # beside others, on a slow disk: not answered in time, and it may be there or not
            continue
        os.write(1, "".join(f"{job.id}\n" for job in created).encode())
        if not any(thread.name == "death" for thread in threading.enumerate()):
            threading.Thread(target=die, args=(chance.uniform(0, LONGEST),), name="death", daemon=True).start()


async def one_more(service: JobService, chance: random.Random) -> list[JobRecord]:
    """The jobs of one request."""
    match chance.choice(("job", "batch", "pipeline")):
        case "job":
            return [await service.create_job(FORM)]
        case "batch":
            return await service.create_jobs(BatchForm(jobs=[FORM] * chance.randint(2, 20)))
        case _:
            form = PipelineForm(name="a pipeline", jobs=[FORM] * chance.randint(2, 4))
            return (await service.create_pipeline(form))[1]


def die(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


async def live(seed: int, url: str, namespace: str) -> None:
    service, chance = a_service(url, namespace), random.Random(seed)
    await asyncio.gather(*(create(service, chance) for _ in range(CALLERS)))


def main() -> None:
    url, namespace = sys.argv[1:]
    a_service(url, namespace)  # what it imports is imported once, not in every child
    for line in sys.stdin:
        child = os.fork()
        if not child:
            if sys.platform.startswith("linux"):  # a test that is killed leaves nobody
                ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
            asyncio.run(live(int(line), url, namespace))
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"failed {status}", flush=True)


if __name__ == "__main__":
    main()
