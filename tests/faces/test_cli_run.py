"""`worksong run`: real processes, real signals."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from faces.stage import Cli, Program, Shop, Start
from patience import until
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.engine.releases import releases

APP = """
from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from worksong import Worker

worker = Worker(name="choir", concurrency=4)
number = 7


@worker.job(max_fails=1)
async def sing(verse: int) -> None:
    print(f"verse {verse} by {os.getpid()}", flush=True)


@worker.job(max_fails=1)
async def hold() -> None:
    print(f"hold by {os.getpid()}", flush=True)
    while not Path("let-go").exists():
        await asyncio.sleep(0.02)
    print(f"let go by {os.getpid()}", flush=True)


@worker.job(max_fails=1)
def fail() -> None:
    raise ValueError("out of tune\\n\\x1b[31m redis://u:hunter2@host/")


@worker.job(max_fails=1)
async def vanish() -> None:
    os._exit(0)


if os.environ.get("CHOIR_SINGS"):
    worker.perform(sing.job(verse=1))
"""
PIDS = re.compile(r"by (\d+)")


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> Path:
    (tmp_path / "choir.py").write_text(APP)
    return tmp_path


def _counts(shop: Shop) -> dict[State, int]:
    counts = shop.do(lambda backend: backend.counts())
    return {state: count for state, count in counts.items() if count}


def _run(start: Start, url: str, *options: str) -> Program:
    return start("run", "choir:worker", *options, url=url)


def _pid(line: str) -> int:
    found = PIDS.search(line)
    assert found
    return int(found[1])


def test_a_burst_runs_what_waits_and_ends(start: Start, shop: Shop, url: str) -> None:
    shop.push(*(Job("sing", {"verse": n}) for n in range(10)), Job("fail"))
    program = _run(start, url, "--burst")
    assert program.wait() == 0, program.output
    assert len(re.findall(r"verse \d", program.output)) == 10
    assert "10 done, 0 retried, 1 dead" in program.output
    assert _counts(shop) == {State.DEAD: 1}


def test_a_failure_is_logged_so_that_it_can_forge_nothing_and_reveals_no_login(
    start: Start, shop: Shop, url: str
) -> None:
    shop.push(Job("fail"))
    program = _run(start, url, "--burst")
    program.wait()
    assert "out of tune\\n\\x1b[31m redis://***@host/" in program.output
    assert "hunter2" not in program.output


def test_processes_tell_the_store_which_release_they_are_of(start: Start, shop: Shop, url: str) -> None:
    program = _run(start, url, "--burst", "--processes", "2", "--release", "2.4.1")
    assert program.wait() == 0, program.output
    assert [release.name for release in shop.do(releases)] == ["2.4.1"]


def test_json_logs_are_one_object_per_line(start: Start, shop: Shop, url: str) -> None:
    import json

    shop.push(Job("fail"))
    program = _run(start, url, "--burst", "--log-format", "json")
    assert program.wait() == 0
    records = [json.loads(line) for line in program.seen]
    assert {"time", "level", "logger", "message"} <= set(records[0])
    assert any("Traceback" in record.get("trace", "") for record in records)


def test_a_burst_on_memory_runs_what_the_app_enqueued(start: Start, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOIR_SINGS", "1")
    program = _run(start, "", "--burst")
    assert program.wait() == 0, program.output
    assert "verse 1 by" in program.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_signal_lets_running_jobs_finish(
    start: Start, shop: Shop, app: Path, number: signal.Signals, processes: str
) -> None:
    program = _run(start, shop.url, "--processes", processes)
    program.line("starts")
    shop.push(Job("hold"))
    program.line("hold by")
    program.send(number)
    program.line("stopping")
    (app / "let-go").touch()
    assert program.wait() == 0, program.output
    assert "let go by" in program.output
    assert "1 done" in program.output
    assert _counts(shop) == {}


def test_what_does_not_finish_in_time_goes_back_uncounted(start: Start, shop: Shop, url: str) -> None:
    program = _run(start, url, "--grace", "0.1s")
    shop.push(Job("hold"))
    program.line("hold by")
    program.send(signal.SIGTERM)
    assert program.wait() == 0, program.output
    assert _counts(shop) == {State.QUEUED: 1}


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_second_signal_ends_at_once(start: Start, shop: Shop, url: str, processes: str) -> None:
    program = _run(start, url, "--processes", processes)
    shop.push(Job("hold"))
    program.line("hold by")
    program.send(signal.SIGTERM)
    program.line("stopping")
    program.send(signal.SIGTERM)
    assert program.wait() == 128 + signal.SIGTERM, program.output


def test_quiet_processes_start_nothing_more(start: Start, shop: Shop, url: str, app: Path) -> None:
    program = _run(start, url, "--processes", "2")
    _until_both_work(shop, program)  # a process that has only begun to start ends by such a signal
    shop.push(Job("hold"), Job("hold"))
    program.line("hold by")
    program.line("hold by")
    program.send(signal.SIGUSR1)
    program.line("quiet: fetching nothing more")
    program.line("quiet: fetching nothing more")
    (app / "let-go").touch()
    program.line("let go")
    program.line("let go")
    shop.push(Job("sing", {"verse": 1}))
    program.send(signal.SIGTERM)
    assert program.wait() == 0, program.output
    assert _counts(shop) == {State.QUEUED: 1}


def test_a_worker_told_to_go_quiet_starts_nothing_more(start: Start, shop: Shop, url: str, cli: Cli, app: Path) -> None:
    program = _run(start, url)
    shop.push(Job("hold"))
    program.line("hold by")
    (pool,) = cli.json("pools")
    assert f"told {pool['id']} to fetch nothing more" in cli("quiet", pool["id"]).stdout
    program.line("quiet: fetching nothing more; 1 jobs run on")
    assert cli.json("pools")[0]["told"] == "quiet"
    shop.push(Job("sing", {"verse": 1}))
    (app / "let-go").touch()
    program.line("let go")
    program.send(signal.SIGTERM)
    assert program.wait() == 0, program.output
    assert _counts(shop) == {State.QUEUED: 1}
    assert cli.json("pools") == []


def test_a_dismissed_worker_finishes_what_it_runs_and_ends(
    start: Start, shop: Shop, url: str, cli: Cli, app: Path
) -> None:
    program = _run(start, url)
    shop.push(Job("hold"))
    program.line("hold by")
    (pool,) = cli.json("pools")
    assert f"told {pool['id']} to finish" in cli("dismiss", pool["id"]).stdout
    program.line("told from outside to end")
    (app / "let-go").touch()
    assert program.wait() == 0, program.output
    assert "let go by" in program.output
    assert _counts(shop) == {}
    # And who is gone cannot be told again
    again = cli("dismiss", pool["id"])
    assert again.exit_code == 1
    assert f"no worker process has the id {pool['id']}" in again.stderr


def test_of_several_processes_only_those_that_are_dismissed_end_and_none_takes_their_place(
    start: Start, shop: Shop, url: str, cli: Cli
) -> None:
    program = _run(start, url, "--processes", "2")
    _until_both_work(shop, program)
    first, second = (pool["id"] for pool in cli.json("pools"))
    # When one is dismissed
    assert cli("dismiss", first).exit_code == 0
    program.line("was dismissed: it is not started again")
    # Then the other one goes on alone
    assert [pool["id"] for pool in cli.json("pools")] == [second]
    shop.push(Job("sing", {"verse": 1}))
    program.line("verse 1 by")
    # And when that one is dismissed as well, nothing is left to supervise
    assert cli("dismiss", second).exit_code == 0
    assert program.wait() == 0, program.output
    assert _counts(shop) == {}


def test_a_killed_process_is_replaced_and_its_job_runs_again_within_seconds(
    start: Start, shop: Shop, url: str, app: Path
) -> None:
    program = _run(start, url, "--processes", "2")
    shop.push(Job("hold"))
    victim = _pid(program.line("hold by"))
    os.kill(victim, signal.SIGKILL)
    heir = _pid(program.line("hold by"))
    assert heir != victim
    (app / "let-go").touch()
    program.line("let go")
    assert "ended by SIGKILL; starting it again" in program.output
    others = {_worker_of(shop, program, app) for _ in range(2)}
    assert victim not in others
    program.send(signal.SIGTERM)
    assert program.wait() == 0, program.output
    assert _counts(shop) == {}


def _until_both_work(shop: Shop, program: Program) -> None:
    until(
        lambda: shop.do(lambda backend: backend.pools()),
        lambda pools: f"two pools, not {len(pools)}: {program.output}",
        met=lambda pools: len(pools) >= 2,
        pause=0.1,
    )


def _worker_of(shop: Shop, program: Program, app: Path) -> int:
    """Some process that works now; both pools must be there."""
    _until_both_work(shop, program)
    shop.push(Job("sing", {"verse": 1}))
    return _pid(program.line("verse 1"))


def test_a_burst_of_several_processes_ends_when_all_is_done(start: Start, shop: Shop, url: str) -> None:
    shop.push(*(Job("sing", {"verse": n}) for n in range(50)))
    program = _run(start, url, "--burst", "--processes", "2")
    assert program.wait() == 0, program.output
    assert "50 done" in program.output
    assert _counts(shop) == {}


def test_a_job_that_ends_its_process_in_silence_is_noticed_and_in_the_end_buried(
    start: Start, shop: Shop, url: str
) -> None:
    shop.push(Job("vanish"))
    program = _run(start, url, "--burst", "--processes", "2")
    assert program.wait() == 0, program.output
    assert "ended by itself with exit code 0; starting it again" in program.output
    assert _counts(shop) == {State.DEAD: 1}


def test_processes_end_with_their_supervisor(start: Start, shop: Shop, url: str, app: Path) -> None:
    program = _run(start, url, "--processes", "2")
    shop.push(Job("hold"))
    worker = _pid(program.line("hold by"))
    program.send(signal.SIGKILL)
    (app / "let-go").touch()
    program.wait()  # its output ends when the last process has closed it
    assert f"let go by {worker}" in program.output
    assert _counts(shop) == {}


def test_processes_that_do_not_start_are_given_up_with_their_error(start: Start) -> None:
    program = _run(start, "redis://127.0.0.1:1/0", "--processes", "2")
    assert program.wait() == 1
    assert program.seen[-1].startswith("worksong: error: redis://127.0.0.1:1/0 cannot be reached")


def test_memory_in_several_processes_is_refused(start: Start) -> None:
    program = _run(start, "", "--processes", "2")
    assert program.wait() == 1
    assert "lives inside one process" in program.output
    assert "use a backend they share" in program.output


def test_reload_starts_anew_when_the_source_changes_and_waits_while_it_is_broken(
    start: Start, shop: Shop, url: str, app: Path
) -> None:
    program = _run(start, url, "--reload")
    shop.push(Job("sing", {"verse": 1}))
    program.line("verse 1")
    (app / "choir.py").write_text("broken = (")
    program.line("waiting for a change")
    (app / "choir.py").write_text(APP.replace("verse {verse} by", "strophe {verse} by"))
    shop.push(Job("sing", {"verse": 2}))
    program.line("strophe 2")
    program.send(signal.SIGTERM)
    assert program.wait() == 0, program.output


@pytest.mark.parametrize(
    ("app_path", "text"),
    [
        ("nosuch:worker", "there is no module 'nosuch'"),
        ("choir:nosuch", "has no 'nosuch'; it has choir:worker"),
        ("choir:number", "is a int, not a Worker"),
        ("choir.py:worker", "is a file; name the module instead: choir:"),
    ],
)
def test_an_app_that_cannot_be_had_is_an_error(start: Start, app_path: str, text: str) -> None:
    program = start("run", app_path)
    assert program.wait() == 1
    assert text in program.output
    assert "Traceback" not in program.output


@pytest.mark.parametrize(
    "args",
    [
        ("choir",),
        ("choir:worker", "--queues", "high=2,low"),
        ("choir:worker", "--queues", "high,high"),
        ("choir:worker", "--concurrency", "0"),
        ("choir:worker", "--grace", "soon"),
        (),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(bare: Cli, args: tuple[str, ...]) -> None:
    assert bare("run", *args).exit_code == 2


def test_only_the_queues_asked_for_are_worked_on(start: Start, shop: Shop, url: str) -> None:
    shop.push(Job("sing", {"verse": 1}), Job("fail"))
    program = _run(start, url, "--burst", "--queues", "sing=2", "--concurrency", "2")
    assert program.wait() == 0, program.output
    assert _counts(shop) == {State.QUEUED: 1}


def test_the_pools_and_busy_workers_are_shown(start: Start, shop: Shop, url: str, app: Path, cli: Cli) -> None:
    program = _run(start, url, "--processes", "2")
    shop.push(Job("hold"))
    program.line("hold by")
    pools = cli.json("pools")
    (busy,) = until(lambda: cli.json("busy"), "the next beat, which tells of the job", pause=0.1)
    assert {pool["concurrency"] for pool in pools} == {4}
    assert "fail, hold, sing, vanish" in cli("pools").stdout
    assert busy["handler"] == "hold"
    assert "hold" in cli("busy").stdout
    (app / "let-go").touch()
    program.line("let go")
