"""The ten job types that `bench` runs; they do nothing."""

from __future__ import annotations

from worksong.worker import Worker

NAMES = tuple(f"bench_{number}" for number in range(10))


async def _coroutine() -> None:
    """A handler in the loop."""


def _function() -> None:
    """A handler in a thread."""


def make(*, sync: bool) -> Worker:
    """A worker that knows them."""
    worker = Worker(name="worksong-bench")
    worker.warns = False  # nobody misses these jobs
    for name in NAMES:
        worker.register(name, _function if sync else _coroutine)
    return worker


in_loop, in_threads = make(sync=False), make(sync=True)
"""For `worksong run`."""
