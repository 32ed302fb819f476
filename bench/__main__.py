"""How fast worksong is, alone and beside other systems on the same Redis, on the same databases, in the same formats.

python -m bench                          everything; QUICK=1 and PEERS=dramatiq,rq as for `make bench`
python -m bench --quick --peers rq --json figures.json
python -m bench --only sql               PostgreSQL, SQLite and MariaDB, and who keeps jobs there
python -m bench --only foreign           Resque beside goworker, RabbitMQ beside dramatiq, Faktory beside its Go worker
python -m bench --only console           the pages of the web console beside a hundred thousand jobs
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

from bench import alone, backlog, console, foreign, page, sql, tables
from bench.environments import Refused, names
from bench.goals import GO
from bench.gocraft import Gocraft, build
from bench.plan import Measuring, Plan
from bench.results import Backlog, Field, Results, Subject
from bench.server import RedisServer, running
from bench.system import Failed, PythonSystem, System, subject
from bench.waiting import WaitingRedis

PARTS = ("redis", "sql", "foreign", "console")
ELSEWHERE = ("procrastinate", *foreign.PEERS)
"""Peers that keep nothing on Redis, or in a format of their own."""


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
    plan, parts = Plan(options.peers, rounds, seconds, options.quick), [options.only] if options.only else PARTS
    results = Results(
        date=datetime.now(UTC).date().isoformat(),
        machine=_machine(),
        software=f"Python {platform.python_version()}",
        quick=options.quick,
        seconds=seconds,
        rounds=rounds,
        load=os.getloadavg()[0],
    )
    with tempfile.TemporaryDirectory(prefix="worksong-bench-") as name:
        directory = Path(name)
        if "redis" in parts:
            print("worksong alone", file=sys.stderr)
            results.alone = alone.measure(runs=2 if options.quick else 5)
            results.redis = _on_redis(results, plan, directory)
        if "sql" in parts:
            results.sql = sql.measure(plan, directory)
        if "foreign" in parts:
            results.foreign = foreign.measure(plan, directory)
        if "console" in parts:
            results.console = console.measure(directory, quick=options.quick)
    return results


def _on_redis(results: Results, plan: Plan, directory: Path) -> Field:
    with running(RedisServer) as server:
        worksong = _worksong(server, plan)
        subjects, others = [subject(worksong)], list[System]()
        for name in (peer for peer in plan.peers if peer not in ELSEWHERE):
            found, system = _sit_down(name, server, directory, plan.seconds)
            subjects.append(found)
            if system is not None:
                others.append(system)
        pairs = Measuring(worksong, others, subjects, quick=plan.quick).carry_out(plan.rounds)
        _feed(worksong, others, subjects[0])
        results.software += f", redis-server {server.version()} beside it, without persistence"
    return Field(name="Redis", subjects=subjects, pairs=pairs, backlog=_backlog(plan))


def _worksong(server: RedisServer, plan: Plan) -> PythonSystem:
    try:
        return PythonSystem("worksong", server, seconds=plan.seconds)
    except Failed as reason:
        raise SystemExit(f"bench: {reason}") from None


def _feed(worksong: PythonSystem, others: Sequence[System], told: Subject) -> None:
    """How fast worksong is at jobs that gocraft/work enqueued."""
    for system in others:
        if isinstance(system, Gocraft) and told.quiet:
            try:
                told.quiet.fed_ms[system.name] = worksong.fed_by(system.feed)
            except Failed as failed:
                told.failures.append(f"fed by {system.name}: {failed}")


def _backlog(plan: Plan) -> Backlog:
    """Two servers: a million jobs in one of them would be in the way of everything else."""
    with running(WaitingRedis) as empty, running(WaitingRedis) as full:
        jobs = sql.FEW_JOBS if plan.quick else sql.JOBS
        return backlog.measure("Redis", empty, full, jobs, claimed=backlog.WAITING)


def show(results: Results) -> None:
    """The tables, in the terminal."""
    print(f"\n{results.machine}; {results.software}. {page.runs(results)}")
    sections = page.sections(results, results.redis) if results.redis else []
    sections += page.sql_sections(results, results.sql) if results.sql else []
    for title, text in [*sections, *page.foreign_sections(results), *page.console_sections(results)]:
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
        print(f"{name} is not measured: {reason}", file=sys.stderr)
        return Subject(name=name, absent=str(reason)), None
    return subject(system), system


def _options() -> argparse.Namespace:
    everybody = [GO, *foreign.PEERS, *names()]
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    wanted = os.environ.get("PEERS") or ",".join(everybody)
    parser.add_argument("--peers", default=wanted, help=f"of {', '.join(everybody)}; none for worksong alone")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")), help="small numbers")
    parser.add_argument("--only", choices=PARTS, help="measure this alone")
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
