"""How `run` measures: in this process, or in several of which the supervisor answers for all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext

from worksong.engine.census import Census
from worksong.engine.leash import Leash, Report
from worksong.engine.meter import Meter
from worksong.settings import Address
from worksong.worker import Worker

EVERY = 1.0
"""Seconds between two reports of a process."""


def serving(
    where: Address | None, worker: Worker, *, insecure: bool, census: Census | None = None
) -> AbstractContextManager[None]:
    """Serve the metrics of the worker, or of all processes of the census, if they are asked for."""
    if where is None:
        return nullcontext()
    from worksong.faces.cli.beacon import check, shining
    from worksong.metrics import Metrics

    check(where, insecure=insecure)
    return shining(where, Metrics(worker, measures=(lambda: census.measures) if census else None))


@contextlib.contextmanager
def reporting(leash: Leash, place: int, meter: Meter) -> Generator[None]:
    """Tell the supervisor every second, from a thread that no handler can block, and once more at the end."""
    end = threading.Event()

    def report() -> None:
        while not end.wait(EVERY):
            leash.tell(Report(measures=meter.measures, place=place))

    thread = threading.Thread(target=report, name="worksong-measures", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        leash.tell(Report(measures=meter.measures, place=place))
