"""How fast worksong is, alone and beside other systems on the same Redis, and on the same databases.

python -m bench                          everything; QUICK=1 and PEERS=dramatiq,rq as for `make bench`
python -m bench --quick --peers rq --json figures.json
python -m bench --only sql               PostgreSQL, SQLite and MariaDB, and who keeps jobs there
python -m bench --render figures.json --docs
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import alone, page, sql, tables
from bench.environments import Refused, names
from bench.gocraft import Gocraft, build
from bench.plan import Measuring
from bench.results import Field, Results, Subject
from bench.server import RedisServer, running
from bench.system import Failed, PythonSystem, System

GO = "gocraft/work"
ELSEWHERE = ("procrastinate",)
"""Peers that know no Redis."""


def main() -> None:
    """Measure or read, then show and keep."""
    options = _options()
    results = msgspec.json.decode(options.render.read_bytes(), type=Results) if options.render else measure(options)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    if options.docs:
        page.write(results)
    show(results)


def measure(options: argparse.Namespace) -> Results:
    """All that was asked for; what cannot be had is named with the reason, and the others go on."""
    if sys.platform != "linux":
        raise SystemExit("bench: it reads /proc and sets CPU affinity, so it runs on Linux only")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))  # by way of every `finally`
    rounds, seconds = options.rounds or (1 if options.quick else 3), options.seconds or (0.5 if options.quick else 1.5)
    results = Results(
        date=datetime.now(UTC).date().isoformat(),
        machine=_machine(),
        software=f"Python {platform.python_version()}",
        quick=options.quick,
        seconds=seconds,
        rounds=rounds,
        load=os.getloadavg()[0],
    )
    with tempfile.TemporaryDirectory(prefix="worksong-bench-") as directory:
        if options.only != "sql":
            print("worksong alone", file=sys.stderr)
            results.alone = alone.measure(runs=2 if options.quick else 5)
            results.redis = _on_redis(results, options.peers, Path(directory))
        if options.only != "redis":
            results.sql = sql.measure(sql.Plan(options.peers, rounds, seconds, options.quick), Path(directory))
    return results


def _on_redis(results: Results, peers: Sequence[str], directory: Path) -> Field:
    with running() as server:
        subjects: list[Subject] = []
        systems: list[System] = []
        for name in ["worksong", *(peer for peer in peers if peer not in ELSEWHERE)]:
            subject, system = _sit_down(name, server, directory, results.seconds)
            subjects.append(subject)
            if system is not None:
                systems.append(system)
        worksong, *others = systems
        pairs = Measuring(worksong, others, subjects, quick=results.quick).carry_out(results.rounds)
        results.software += f", redis-server {server.version()} beside it, without persistence"
    return Field(name="Redis", subjects=subjects, pairs=pairs)


def show(results: Results) -> None:
    """The tables, in the terminal."""
    print(f"\n{results.machine}; {results.software}. {page.runs(results)}")
    sections = page.sections(results, results.redis) if results.redis else []
    for title, text in [*sections, *(page.sql_sections(results, results.sql) if results.sql else [])]:
        print(f"\n{title}\n\n{text}")
    for line in (line for field in results.fields() for line in tables.missing(field)):
        print(f"\n{line}")


def _sit_down(name: str, server: RedisServer, directory: Path, seconds: float) -> tuple[Subject, System | None]:
    """A system that is ready to be measured, or None with the reason in the subject."""
    try:
        system: System = (
            Gocraft(build(directory), server, seconds=seconds)
            if name == GO
            else PythonSystem(name, server, seconds=seconds)
        )
    except (Refused, Failed) as reason:
        if name == "worksong":
            raise SystemExit(f"bench: {reason}") from None
        print(f"{name} is not measured: {reason}", file=sys.stderr)
        return Subject(name=name, absent=str(reason)), None
    found = system.description
    return Subject(name=name, versions=found.versions, promise=found.promise, setup=found.setup), system


def _options() -> argparse.Namespace:
    everybody = [GO, *names()]
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    wanted = os.environ.get("PEERS") or ",".join(everybody)
    parser.add_argument("--peers", default=wanted, help=f"of {', '.join(everybody)}; none for worksong alone")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")), help="small numbers")
    parser.add_argument("--only", choices=("redis", "sql"), help="measure this alone")
    parser.add_argument("--rounds", type=int, help="how often each is measured (3; 1 when quick)")
    parser.add_argument("--seconds", type=float, help="about how long a run lasts (1.5; 0.5 when quick)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md and its chart")
    parser.add_argument("--render", type=Path, metavar="FILE", help="measure nothing, take figures that were kept")
    options = parser.parse_args()
    options.peers = [] if options.peers == "none" else options.peers.split(",")
    unknown = set(options.peers) - set(everybody)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(everybody)}")
    return options


def _machine() -> str:
    cpu = "unknown processor"
    about = Path("/proc/cpuinfo")
    if about.exists():
        models = [line.partition(":")[2].strip() for line in about.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    return f"{len(os.sched_getaffinity(0))} cores of {cpu}, {platform.system()} {platform.release()}"


if __name__ == "__main__":
    main()
