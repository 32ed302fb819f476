"""What worksong costs with nobody beside it: the engine on memory, and starting."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.hot_path import one_run, worker_for
from bench.results import Alone

JOBS, CONCURRENCY = 50_000, 100


def measure(*, runs: int) -> Alone:
    """Medians of so many runs."""
    worker = worker_for("memory://", CONCURRENCY, sync=False)
    engine = [asyncio.run(one_run(worker, JOBS)) for _ in range(runs)]
    bare = _started_in(sys.executable, "-c", "pass", runs=runs)
    return Alone(
        engine_cpu_us=statistics.median(cpu for cpu, _ in engine),
        engine_rate=statistics.median(rate for _, rate in engine),
        start_ms={
            "import worksong": _started_in(sys.executable, "-c", "import worksong", runs=runs) - bare,
            "from worksong import Worker": _started_in(sys.executable, "-c", "from worksong import Worker", runs=runs)
            - bare,
            "worksong --help": _started_in(str(Path(sys.executable).with_name("worksong")), "--help", runs=runs),
        },
    )


def _started_in(*command: str, runs: int) -> float:
    """Median wall milliseconds; a first run, that warms the file cache, does not count."""
    walls = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        walls.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(walls[1:])
