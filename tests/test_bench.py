"""The bench: what it makes of figures, and that it measures worksong at all."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
import redis
from msgspec.structs import replace

import servers
from conftest import started
from patience import PATIENCE

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import backlog, chart, environments, goals, page, tables  # noqa: E402
from bench.console import PATHS, looked  # noqa: E402
from bench.databases import Mariadb, Postgres, Sqlite  # noqa: E402
from bench.gocraft import Gocraft, build  # noqa: E402
from bench.goworker import Goworker  # noqa: E402
from bench.plan import Match, Measuring, matches  # noqa: E402
from bench.processes import Crew, Ended  # noqa: E402
from bench.results import Alone, Backlog, Cell, Field, Pages, Pair, Quiet, Results, Sql, Subject, percentile  # noqa: E402
from bench.server import RedisServer, ResqueServer  # noqa: E402
from bench.system import Description, Drained, Failed, PythonSystem  # noqa: E402
from bench.tally import PLACE, Tally  # noqa: E402
from bench.waiting import WaitingRedis  # noqa: E402

from worksong import Job  # noqa: E402
from worksong.adapters import connect  # noqa: E402
from worksong.domain.job import new_id  # noqa: E402
from worksong.domain.lifecycle import State  # noqa: E402

LONG = 600
"""Seconds for a test that starts processes one after the other."""
PEERS = environments.names()


def described(**different: object) -> Description:
    """A system with both kinds of jobs and all ways to enqueue."""
    usual = {
        "versions": {"it": "1.0"},
        "kinds": {"async": 1000, "plain": 1000},
        "best": 100,
        "one_at_a_time": False,
        "own_processes": True,
        "promise": "It keeps jobs.",
        "setup": "Nothing.",
        "ways": ["one", "concurrent", "bulk"],
    }
    return Description(**{**usual, **different})  # type: ignore[arg-type]


class Steady:
    """A system whose every run gives the same rate, or fails."""

    def __init__(self, name: str, rate: float, *, fails: bool = False, **different: object) -> None:
        self.name, self.description, self.runs = name, described(**different), 0
        self._rate, self._fails = rate, fails

    def drain(self, cell: Cell) -> Drained:
        self.runs += 1
        if self._fails:
            raise Failed("it broke")
        return Drained(rate=self._rate, jobs=100, memory_mb=30.0)

    def enqueue(self, how: str, kind: str) -> float:
        return self._rate / 10

    def idle(self) -> Quiet:
        return Quiet(pick_up_ms={50: 1.0, 99: 2.0}, commands_per_second=10.0, cpu_percent=0.5, server_cpu_percent=0.2)


def results() -> Results:
    """Two rounds of a fast and a slow peer, and one that is absent."""
    subjects = [
        *(
            Subject(name=name, versions={name: "1.0"}, promise="Keeps jobs.", setup="Nothing.")
            for name in ("worksong",)
        ),
        *(Subject(name=name, versions={name: "2.0"}, promise="Some.", setup="As it is.") for name in ("slow", "fast")),
        Subject(name="gone", absent="no such module"),
    ]
    worksong = Steady("worksong", 10_000.0)
    others = [Steady("slow", 500.0, kinds={"plain": 10}, ways=["one"]), Steady("fast", 2000.0)]
    pairs = Measuring(worksong, others, subjects, quick=False).carry_out(2)
    alone = Alone(engine_cpu_us=6.5, engine_rate=150_000.0, start_ms={"worksong --help": 72.0})
    return Results(
        date="2026-11-20",
        machine="2 cores",
        software="Python 3.11",
        quick=False,
        seconds=1.5,
        rounds=2,
        load=0.1,
        alone=alone,
        redis=Field(name="Redis", subjects=subjects, pairs=pairs),
    )


def on_redis() -> Field:
    """What the two rounds gave."""
    field = results().redis
    assert field is not None
    return field


def on_databases(*, claim_ms: float, grown: float) -> Results:
    """worksong ten times as fast as huey, and beside jobs that wait."""
    subjects = [Subject(name=name, promise="Keeps jobs.", setup="Nothing.") for name in ("worksong", "huey")]
    worksong, huey = Steady("worksong", 10_000.0, one_core=False), Steady("huey", 1000.0, one_core=False)
    pairs = Measuring(worksong, [huey], subjects, quick=True).carry_out(1)
    waiting = Backlog(
        name="SQLite",
        jobs=1_000_000,
        claim_ms={"empty": {50: 1.0, 99: 2.0}, "full": {50: 1.0, 99: claim_ms}},
        memory_mb={"empty": 20.0, "full": 20.0 + grown},
    )
    sql = Sql(software="SQLite 3", fields=[Field(name="SQLite", subjects=subjects, pairs=pairs)], backlogs=[waiting])
    return Results(
        date="2026-11-21", machine="2 cores", software="", quick=False, seconds=1.0, rounds=1, load=0.1, sql=sql
    )


# what is made of figures


def test_a_ratio_is_of_the_medians_and_its_spread_of_the_rounds() -> None:
    cell = Cell(kind="async", slots=25)
    pair = Pair(
        system="it", what="drain", ours=[100.0, 300.0, 200.0], theirs=[10.0, 10.0, 40.0], our_cell=cell, their_cell=cell
    )
    assert pair.ratio() == (20.0, 5.0, 30.0)
    assert tables.times(pair.ratio()) == "20 (5.0 to 30)"


def test_a_percentile_is_a_value_that_so_many_do_not_exceed() -> None:
    assert percentile(range(1, 101), 50) == 50
    assert percentile(range(1, 101), 99) == 99
    assert percentile([3.0], 99) == 3.0
    assert percentile([1.0, 2.0], 99) == 2.0


@pytest.mark.parametrize(
    ("value", "shown"), [(0.04, "0.0"), (9.94, "9.9"), (10.4, "10"), (999.6, "1\u202f000"), (123_456, "123\u202f000")]
)
def test_a_figure_shows_three_digits(value: float, shown: str) -> None:
    assert tables.number(value) == shown


def test_the_columns_of_a_table_stand_below_each_other() -> None:
    shown = tables.table(["", "jobs/s"], [["a", "1"], ["longer", "22 000"]]).splitlines()
    assert shown[1] == "| ------ | -----: |"
    assert len({len(line) for line in shown}) == 1


def test_peers_stand_in_the_order_of_their_speed_and_say_what_is_missing() -> None:
    found = on_redis()
    assert [peer.name for peer in found.peers()] == ["fast", "slow"]
    drains = tables.drains(found)
    assert "| plain, 25 at once | 500 |" in re.sub(" +", " ", drains)
    assert drains.index("fast") < drains.index("slow")
    assert tables.missing(found) == ["gone was not measured: no such module"]


def test_a_goal_is_kept_or_it_is_not() -> None:
    kept = goals.goals(on_databases(claim_ms=4.0, grown=1.0))
    assert [goal.kept for goal in kept] == [True] * 4
    assert kept[0] == ("SQLite: drained at least 5 times as fast as huey", "10 times", True)
    missed = goals.goals(on_databases(claim_ms=4.1, grown=5.0))
    assert [goal.kept for goal in missed] == [True, True, False, False]


def beside_go(ours: float, theirs: float = 1000.0) -> Field:
    """Two steady systems, of which one is as gocraft/work."""
    steady = Steady("worksong", ours)
    asked: dict[str, object] = {"two_processes": False, "beside": [("async", 2), ("plain", 1)], "jobs": 100_000}
    go = Steady("gocraft/work", theirs, kinds={"async": 1}, best=20, **asked)
    subjects = [Subject(name="worksong", promise="Keeps jobs.", setup="Nothing."), Subject(name="gocraft/work")]
    pairs = Measuring(steady, [go], subjects, quick=False).carry_out(1)
    assert subjects[0].quiet
    subjects[0].quiet.fed_ms["gocraft/work"] = {50: 1.5, 99: 3.0}
    claims = {"empty": {50: 1.0, 99: 9.0}, "full": {50: 1.25, 99: 9.0}}
    waiting = Backlog(name="Redis", jobs=1_000_000, claim_ms=claims, memory_mb={"empty": 28.0, "full": 28.0})
    return Field(name="Redis", subjects=subjects, pairs=pairs, backlog=waiting)


def test_every_goal_beside_gocraft_work_has_its_line() -> None:
    # Given worksong, three times as fast in everything
    found = goals.of_redis(beside_go(3000.0))
    # Then each pair that has a goal is measured by it
    speed = [(goal.measured, goal.kept) for goal in found[: len(goals.BARS)]]
    assert speed == [("3.0 times", kept) for kept in (False, True, False, True, False, True)]
    # And so is what an idle worker costs, and how soon it begins
    rest = {goal.text: goal.kept for goal in found[len(goals.BARS) :]}
    assert rest == {
        "50 % of the jobs from another Python process begin within 1 ms": True,
        "99 % of the jobs from another Python process begin within 3 ms": True,
        "50 % of the jobs from gocraft/work begin within 1 ms": False,
        "99 % of the jobs from gocraft/work begin within 3 ms": True,
        "an idle worker costs at most 10 commands of Redis a second": True,
        "an idle worker uses at most 1 % of a core": True,
        "a worker holds at most 45 MB": True,
        "a claim from a queue of 1\u202f000\u202f000 jobs takes at most 1.2 times as long as from a short one": False,
    }


def test_two_processes_beside_one_are_told_as_such() -> None:
    field = beside_go(3000.0)
    assert "async, 100 at once, 2 processes | 3" in re.sub(" +", " ", tables.drains(field))
    assert "plain, 100 at once | 3" in re.sub(" +", " ", tables.drains(field))
    (bar,) = [bar for bar in chart.bars(field) if bar.name == "gocraft/work"]
    assert (bar.equal, bar.best) == (1000.0, 0.0)
    assert {pair.our_cell.jobs for pair in field.pairs if pair.what == "drain"} == {100_000}


def test_the_formats_of_others_have_their_place_on_the_page(tmp_path: Path) -> None:
    # Given Resque beside goworker
    subjects = [Subject(name=name, promise="Keeps jobs.", setup="Nothing.") for name in ("worksong", "goworker")]
    systems = Steady("worksong", 2900.0), Steady("goworker", 1000.0, ways=[], beside=[("async", 1)], best=25)
    pairs = Measuring(systems[0], [systems[1]], subjects, quick=False).carry_out(1)
    found = results()
    found.redis, found.foreign = None, [Field(name="Resque", subjects=subjects, pairs=pairs)]
    # When it is written down
    written = tmp_path / "performance.md"
    written.write_text(f"{page.BEGIN_FOREIGN}\nformer\n{page.END_FOREIGN}\n")
    page.write(found, tmp_path)
    # Then with its goal, which is missed
    text = re.sub(" +", " ", written.read_text())
    assert "| Resque: drained at least 3 times as fast as goworker | 2.9 times | no |" in text
    assert "### Drained jobs on Resque" in text
    assert "Enqueued" not in text


def test_the_console_has_its_place_on_the_page_and_the_goal_is_that_of_its_slowest_page(tmp_path: Path) -> None:
    # Given two backends, of which one has a slow page
    found = results()
    found.redis = None
    found.console = [
        Pages(name=name, jobs=100_000, looks=60, took_ms={"queues": {50: 4.0, 95: 9.0}, "errors": {50: 60.0, 95: slow}})
        for name, slow in (("SQLite", 80.0), ("Redis", 120.0))
    ]
    # When they are written down
    written = tmp_path / "performance.md"
    written.write_text(f"{page.BEGIN_CONSOLE}\nformer\n{page.END_CONSOLE}\n")
    page.write(found, tmp_path)
    # Then with the goal that is kept by one of them
    text = re.sub(" +", " ", written.read_text())
    assert (
        "| SQLite: 95 % of the looks at each page take at most 100 ms beside 100\u202f000 jobs | 80 ms, errors | yes |"
        in text
    )
    assert "| 120 ms, errors | no |" in text
    assert "| queues | 4.0 / 9.0 | 4.0 / 9.0 |" in text


# what is measured


def test_a_peer_is_matched_at_equal_concurrency_and_at_its_best() -> None:
    ours = described()
    theirs = described(kinds={"plain": 10}, best=8, ways=["one", "concurrent"])
    drains = [match for match in matches(ours, theirs, quick=False) if match.what == "drain"]
    assert drains == [
        Match("drain", Cell(kind="plain", slots=25), Cell(kind="plain", slots=25)),
        Match("drain", Cell(kind="plain", slots=100), Cell(kind="plain", slots=8)),
        Match("drain", Cell(kind="plain", slots=100, processes=2), Cell(kind="plain", slots=8, processes=2)),
        Match("drain", Cell(kind="plain", slots=25, pinned=True), Cell(kind="plain", slots=25, pinned=True)),
    ]


def test_who_runs_one_job_at_a_time_is_not_asked_for_more() -> None:
    theirs = described(one_at_a_time=True, best=1)
    assert {match.theirs.slots for match in matches(described(), theirs, quick=False) if match.what == "drain"} == {1}


def test_a_run_that_fails_is_told_once_and_stops_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    subjects = [Subject(name=name) for name in ("worksong", "broken", "sound")]
    worksong, broken, sound = Steady("worksong", 100.0), Steady("broken", 1.0, fails=True), Steady("sound", 10.0)
    pairs = Measuring(worksong, [broken, sound], subjects, quick=True).carry_out(3)
    assert broken.runs == 2
    assert subjects[1].failures == [
        "drain, async, 25 at once: it broke",
        "drain, async, 100 at once, 2 processes: it broke",
    ]
    assert {pair.system for pair in pairs if pair.what == "drain"} == {"sound"}
    assert all(len(pair.ours) == len(pair.theirs) == 3 for pair in pairs)
    assert "broken, drain, async, 25 at once: FAILED, it broke" in capsys.readouterr().err


# the page and its chart


def test_the_page_keeps_what_is_around_the_markers(tmp_path: Path) -> None:
    written = tmp_path / "performance.md"
    written.write_text(f"# Before\n\n{page.BEGIN}\nformer\n{page.END}\n\nAfter.\n")
    for _ in range(2):  # the second time replaces the first
        page.write(results(), tmp_path)
    text = written.read_text()
    assert text.startswith(f"# Before\n\n{page.BEGIN}\n\n2026-11-20. 2 cores; Python 3.11.")
    assert text.endswith(f"\n\n{page.END}\n\nAfter.\n")
    assert "former" not in text
    assert text.count("### Drained jobs") == 1
    assert (tmp_path / "assets" / "drain.svg").exists()


def test_what_was_not_measured_stays_on_the_page(tmp_path: Path) -> None:
    # Given a page with figures of both parts
    written = tmp_path / "performance.md"
    written.write_text(f"{page.BEGIN}\nredis\n{page.END}\n{page.BEGIN_SQL}\nsql\n{page.END_SQL}\n")
    # When only the databases are measured anew
    page.write(on_databases(claim_ms=2.0, grown=0.0), tmp_path)
    # Then the others are what they were
    text = written.read_text()
    assert f"{page.BEGIN}\nredis\n{page.END}" in text
    assert "### Goals" in text
    assert "| 1\u202f000\u202f000 |" in re.sub(" +", " ", text)
    assert not (tmp_path / "assets").exists()


def test_small_numbers_and_a_busy_machine_are_told() -> None:
    found = results()
    assert page.runs(found) == "Medians of 2 rounds, each run about 1.5 s."
    found.quick, found.rounds, found.load = True, 1, 3.75
    told = page.runs(found)
    assert told.startswith("Medians of one round")
    assert "not for publishing" in told
    assert "load 3.8" in told


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"performance\.md has no lines"):
        page.replaced("# Nothing here", "figures", page.BEGIN, page.END)


def test_the_page_of_the_documentation_has_the_markers() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    assert page.replaced(text, "figures", page.BEGIN, page.END) != text
    assert page.replaced(text, "figures", page.BEGIN_SQL, page.END_SQL) != text


def test_bars_are_as_long_as_their_rates_and_inside_the_picture() -> None:
    drawn = ElementTree.fromstring(chart.svg(chart.bars(on_redis())))
    bars = [
        float(bar.get("width", ""))
        for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")
        if bar.get("x") == str(chart.LEFT)
    ]
    assert max(bars) == chart.WIDTH - chart.LEFT - chart.RIGHT
    assert sorted({round(bar / max(bars), 3) for bar in bars}) == [0.05, 0.2, 1.0]


def test_the_chart_has_colours_for_light_and_for_dark() -> None:
    light, dark = chart.STYLE.split("@media (prefers-color-scheme: dark)")
    for style in (".ground", "text", ".soft", ".equal", ".best"):
        assert f"{style} {{ fill" in light
        assert f"{style} {{ fill" in dark


# the peers


@pytest.mark.parametrize("name", PEERS)
def test_every_package_of_a_peer_is_pinned(name: str) -> None:
    lines = environments.requirements(name).read_text().splitlines()
    assert name in {line.partition("==")[0] for line in lines}
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9_.+!-]*", line)] == []


def test_every_peer_has_a_module_and_requirements() -> None:
    modules = {path.stem for path in (ROOT / "bench" / "peers").glob("*.py")} - {"__init__", "worksong"}
    assert sorted(modules) == PEERS


# counting and processes


def counting(body: str) -> list[str]:
    return [sys.executable, "-c", f"from bench.tally import done, stamp\nimport os, threading, time\n{body}"]


def test_jobs_are_counted_in_all_threads_and_in_forks_apart(tmp_path: Path) -> None:
    body = """
threads = [threading.Thread(target=lambda: [done() for _ in range(5000)]) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if os.fork() == 0:
    done()
    os._exit(0)
os.wait()
stamp(time.monotonic_ns() - 3_000_000_000)
"""
    subprocess.run(counting(body), check=True, cwd=ROOT, env={**os.environ, PLACE: str(tmp_path)})
    tally = Tally(tmp_path)
    assert sorted(tally.counts()) == [1, 20_000]
    assert tally.total() == 20_001
    [delay] = tally.delays()
    assert delay >= 3.0


def test_a_crew_is_ended_with_what_it_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stubborn = "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    stubborn += "subprocess.Popen(['sleep', '1000']); print('ready', flush=True); time.sleep(1000)"
    crew = Crew([[sys.executable, "-c", stubborn]], dict(os.environ), log)
    deadline = time.monotonic() + PATIENCE
    while "ready" not in log.read_text():
        assert time.monotonic() < deadline
    pids = crew.pids()
    assert len(pids) == 2
    assert crew.memory_mb() > 1.0
    crew.end()
    crew.end()  # what has ended can be ended again
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline


def alive(pid: int) -> bool:
    """And not only waiting for whoever inherited it to hear of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    crew = Crew([[sys.executable, "-c", "raise SystemExit('no such app')"]], dict(os.environ), tmp_path / "log")
    deadline = time.monotonic() + PATIENCE
    with pytest.raises(Ended, match="no such app"):
        while time.monotonic() < deadline:
            crew.check()
    crew.end()


# databases


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> backlog.Database:
    """One that the bench may empty."""
    if request.param == "sqlite":
        return Sqlite(tmp_path / "bench.db")
    server = request.getfixturevalue(f"{request.param}_server")
    return (Postgres if request.param == "postgres" else Mariadb)(server, f"bench_{os.getpid()}")


async def test_jobs_in_a_database_are_doubled_kept_and_put_back(database: backlog.Database) -> None:
    # Given a database with the tables and two jobs of either state
    await asyncio.to_thread(database.empty)
    url = f"{database.url}?migrate=auto"
    await seeded(url, 2)
    await asyncio.to_thread(database.double, backlog.COLUMNS, 1)
    assert await waiting(url) == (4, 4)
    kept = await asyncio.to_thread(database.keep)
    # When more come, and what was kept is put back
    await seeded(url, 3)
    assert await waiting(url) == (7, 7)
    await asyncio.to_thread(database.put_back, kept)
    # Then it is as it was
    assert await waiting(url) == (4, 4)
    await asyncio.to_thread(database.empty)


async def seeded(url: str, number: int) -> None:
    backend, now = connect(url, namespace="bench"), time.time()
    for run_at in (0.0, now + backlog.NEVER):
        await backend.push([Job("waiting", id=new_id(), run_at=run_at) for _ in range(number)], now)
    await backend.close()


async def waiting(url: str) -> tuple[int, int]:
    """Queued, scheduled."""
    backend = connect(url, namespace="bench")
    counts = await backend.counts()
    await backend.close()
    return counts[State.QUEUED], counts[State.SCHEDULED]


async def test_every_page_of_the_console_is_timed() -> None:
    took = await looked("memory://", 200, 2)
    assert took.keys() == PATHS.keys()
    assert all(0 < of_page[50] <= of_page[95] for of_page in took.values())


async def test_claims_are_timed_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "SAMPLES", 3)
    monkeypatch.setattr(backlog, "WARM", 1)
    empty, full = Sqlite(tmp_path / "empty.db"), Sqlite(tmp_path / "full.db")
    await seeded(full.url, 50)
    for claimed in ("claimed", backlog.WAITING):
        found = await backlog._claims(empty.url, full.url, claimed)
        assert {side: len(took) for side, took in found.items()} == {"empty": 3, "full": 3}
        assert await waiting(full.url) == (50, 50)


# a real run


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """Of the bench, which empties it."""
    with started(servers.redis()) as server, closing(RedisServer(server.port, server.pid)) as own:
        yield own


async def test_jobs_in_redis_are_doubled(own_redis: RedisServer) -> None:
    await asyncio.to_thread(own_redis.empty)
    await seeded(own_redis.url, 2)
    full = WaitingRedis(own_redis.port, own_redis.pid)
    await asyncio.to_thread(full.double, backlog.COLUMNS, 2)
    full.close()
    assert await waiting(own_redis.url) == (4, 4)
    await asyncio.to_thread(own_redis.empty)


def test_what_is_in_redis_can_be_kept_and_put_back(own_redis: RedisServer) -> None:
    with redis.Redis(port=own_redis.port) as client:
        client.rpush("list", "a", "b")
        client.set("soon", "gone", px=600_000)
        kept = own_redis.keep()
        client.set("later", "x")
        own_redis.put_back(kept)
        assert sorted(client.keys()) == [b"list", b"soon"]
        assert client.lrange("list", 0, -1) == [b"a", b"b"]
        assert 0 < client.pttl("soon") <= 600_000
        assert client.pttl("list") == -1


@pytest.mark.timeout(LONG)
def test_worksong_is_filled_drained_and_watched(own_redis: RedisServer) -> None:
    worksong = PythonSystem("worksong", own_redis, seconds=0.05)
    found = drained(worksong, Cell(kind="plain", slots=1))
    assert found.jobs >= 1500
    assert found.rate > 0
    assert found.memory_mb is not None
    assert found.memory_mb > 5
    assert drained(worksong, Cell(kind="plain", slots=1, pinned=True)).jobs >= 1500
    for way in worksong.description.ways:
        assert worksong.enqueue(way, "async") > 0
    quiet = worksong.idle()
    assert 0 < quiet.pick_up_ms[50] <= quiet.pick_up_ms[99]
    assert quiet.commands_per_second is not None
    assert quiet.cpu_percent is not None


@pytest.mark.timeout(LONG)
def test_a_job_that_ran_twice_or_not_at_all_is_no_figure(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    worksong = PythonSystem("worksong", own_redis, seconds=0.05)
    drained(worksong, Cell(kind="plain", slots=1))
    honest = Tally.total
    monkeypatch.setattr(Tally, "total", lambda self: honest(self) + 1)
    with pytest.raises(Failed, match=r"\d01 jobs ran where \S+00 were enqueued"):
        drained(worksong, Cell(kind="plain", slots=1))


GOBENCH = """#!/bin/sh
echo "$@" >>"$0.asked"
case $1 in
latency) echo '{"jobs": 300, "p50_ms": 7.9, "p99_ms": 3031.0, "max_ms": 5000.0}' ;;
drain) echo '{"jobs": 20000, "seconds": 1.0, "rate": 20000.0}' ;;
*) echo "gobench: no such mode" >&2; exit 2 ;;
esac
"""


def test_the_go_program_is_asked_on_its_command_line(own_redis: RedisServer, tmp_path: Path) -> None:
    program = tmp_path / "gobench"
    program.write_text(GOBENCH)
    program.chmod(0o755)
    gocraft = Gocraft(program, own_redis, seconds=1.0)
    assert gocraft.drain(Cell(kind="async", slots=20)) == Drained(rate=20_000.0, jobs=20_000)
    assert gocraft.drain(Cell(kind="async", slots=20, jobs=100)) == Drained(rate=20_000.0, jobs=100)
    assert gocraft.idle().pick_up_ms == {50: 7.9, 99: 3031.0}
    with pytest.raises(Failed, match="enqueue-concurrent: gobench: no such mode"):
        gocraft.enqueue("concurrent", "async")
    with pytest.raises(Failed, match="feed: gobench: no such mode"):
        gocraft.feed(50, 100.0)
    there = f"-redis redis://127.0.0.1:{own_redis.port}/0"
    assert (tmp_path / "gobench.asked").read_text().splitlines() == [
        f"drain {there} -clean -jobs 20000 -concurrency 20",
        f"drain {there} -clean -jobs 100 -concurrency 20",
        f"latency {there} -clean -jobs 300 -concurrency 25",
        f"enqueue-concurrent {there} -clean -jobs 5000 -goroutines 20",
        f"feed {there} -ns bench -jobs 50 -rate 100",
    ]
    assert not any(match.theirs.processes > 1 for match in matches(described(), gocraft.description, quick=False))


def test_goworker_is_asked_to_drain_with_a_connection_for_each_job(own_redis: RedisServer, tmp_path: Path) -> None:
    program = tmp_path / "gobench"
    program.write_text(GOBENCH)
    program.chmod(0o755)
    goworker = Goworker(program, own_redis, seconds=1.0)
    assert goworker.drain(Cell(kind="async", slots=25)).rate == 20_000.0
    asked = (tmp_path / "gobench.asked").read_text()
    there = f"-redis redis://127.0.0.1:{own_redis.port}/0"
    assert asked == f"drain {there} -connections 25 -jobs 10000 -concurrency 25\n"
    assert [match.what for match in matches(described(), goworker.description, quick=True)] == ["drain"]


@pytest.mark.timeout(LONG)
def test_worksong_is_timed_at_jobs_that_somebody_else_enqueues(own_redis: RedisServer) -> None:
    # Given somebody who knows nothing but the format
    def feed(number: int, per_second: float) -> None:
        with redis.Redis(port=own_redis.port) as client:
            for _ in range(number):
                document = {"name": "stamp", "id": new_id(), "t": 1, "args": {"sent": time.monotonic_ns()}}
                client.lpush("bench:jobs:stamp", msgspec.json.encode(document))

    # When a worker runs them
    took = PythonSystem("worksong", own_redis, seconds=0.05).fed_by(feed)
    # Then their way is known
    assert 0 < took[50] <= took[99]


@pytest.mark.timeout(LONG)
def test_worksong_drains_in_the_format_of_resque(own_redis: RedisServer) -> None:
    server = ResqueServer(own_redis.port, own_redis.pid)
    try:
        assert drained(PythonSystem("worksong", server, seconds=0.05), Cell(kind="async", slots=25)).rate > 0
    finally:
        server.close()


def drained(system: PythonSystem, cell: Cell) -> Drained:
    """With more and more jobs, until they take longer than this process may have stood still."""
    for jobs in (1500, 6000, 24_000, 96_000):
        try:
            return system.drain(replace(cell, jobs=jobs))
        except Failed as failed:
            if "in no time" not in str(failed):
                raise
    raise AssertionError("nothing could be timed")


def test_without_go_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(environments.Refused, match="there is no go command here"):
        build(tmp_path)


def test_what_cannot_be_measured_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    figures.write_bytes(msgspec.json.encode(results()))
    command = [sys.executable, "-m", "bench", "--render", str(figures)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "gone was not measured: no such module" in shown
    assert "| fast" in shown
    wrong = subprocess.run([*command, "--peers", "nobody"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "no such peer: nobody" in wrong.stderr
