"""`worksong cron`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from faces.stage import Cli

APP = """
from worksong import Worker

worker = Worker(name="choir")
silent = Worker(name="silent")


@worker.periodic("0 9 * * mon-fri", tz="Europe/Berlin")
@worker.periodic("@every 90s")
@worker.job()
def sing() -> None: ...
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "cron_choir.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "cron_choir", raising=False)
    return "cron_choir:worker"


def test_the_next_firings_of_an_expression(bare: Cli) -> None:
    found = bare.json("cron", "--spec", "30 9 * * *", "--from", "2024-01-01T10:00:00Z", "--count", "2")
    assert found == [
        {"unix": 1704187800, "local": "2024-01-02T09:30:00+00:00"},
        {"unix": 1704274200, "local": "2024-01-03T09:30:00+00:00"},
    ]


def test_a_zone_applies_to_the_expression_and_to_what_is_shown(bare: Cli) -> None:
    args = ("cron", "--spec", "0 9 * * *", "--tz", "Europe/Berlin", "--from", "2024-07-01T00:00:00", "--count", "1")
    assert bare.json(*args) == [{"unix": 1719817200, "local": "2024-07-01T09:00:00+02:00"}]
    assert "local time (Europe/Berlin)" in bare(*args).stdout


def test_a_zone_in_the_expression_goes_first(bare: Cli) -> None:
    spec = "CRON_TZ=Asia/Tokyo 0 9 * * *"
    found = bare.json("cron", "--spec", spec, "--tz", "Europe/Berlin", "--from", "2024-07-01T00:00:00Z", "--count", "1")
    assert found[0]["local"] == "2024-07-02T09:00:00+09:00"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("0 0 30 2 *", "never fires"),
        ("61 * * * *", "end of range (61) above maximum (59): 61"),
        ("", "empty spec string"),
        ("@never", "unrecognized descriptor: @never"),
    ],
)
def test_an_expression_that_cannot_work_is_an_error(bare: Cli, spec: str, text: str) -> None:
    result = bare("cron", "--spec", spec)
    assert result.exit_code == 1
    assert text in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_unknown_zone_is_an_error(bare: Cli) -> None:
    result = bare("cron", "--spec", "@daily", "--tz", "Mars/Olympus")
    assert (result.exit_code, "Mars/Olympus" in result.stderr) == (1, True)


def test_a_start_that_cannot_be_is_a_usage_error(bare: Cli) -> None:
    assert bare("cron", "--spec", "@daily", "--from", "soon").exit_code == 2
    assert bare("cron", "--spec", "@daily", "--from", "9999-12-31T00:00:00Z").exit_code == 2


@pytest.mark.parametrize("args", [(), ("some:app", "--spec", "@daily")])
def test_either_an_app_or_an_expression_is_needed(bare: Cli, args: tuple[str, ...]) -> None:
    assert bare("cron", *args).exit_code == 2


def test_the_periodic_jobs_of_an_app(bare: Cli, app: str) -> None:
    found = bare.json("cron", app, "--from", "2024-07-01T00:00:00Z")
    by_spec = {entry["spec"]: entry for entry in found}
    assert {entry["job"] for entry in found} == {"sing"}
    assert [at["unix"] % 90 for at in by_spec["@every 90s"]["next"]] == [0, 0, 0]
    office = next(entry for entry in found if entry["zone"] == "Europe/Berlin")
    assert office["next"][0]["local"] == "2024-07-01T09:00:00+02:00"
    text = bare("cron", app).stdout
    assert "Europe/Berlin" in text
    assert " in " in text


def test_an_app_without_periodic_jobs_says_so(bare: Cli, app: str) -> None:
    assert "no periodic jobs" in bare("cron", app.replace("worker", "silent")).stdout


def test_a_periodic_job_is_paused_and_resumed_for_all_processes(cli: Cli, app: str) -> None:
    # When a job is paused
    assert "paused sing (@every 90s)" in cli("cron", app, "--pause", "sing").stdout

    # Then all of its schedules are, and the app and the store say so
    assert [entry["paused"] for entry in cli.json("cron", app)] == [True, True]
    assert cli("cron", app).stdout.count("paused") == 2
    assert {one["job"] for one in cli.json("status")["paused_periodic"]} == {"sing"}
    assert "paused periodic jobs: sing" in " ".join(cli("status").stdout.split())

    # And it goes on when it is resumed
    assert "resumed sing" in cli("cron", app, "--resume", "sing").stdout
    assert [entry["paused"] for entry in cli.json("cron", app)] == [False, False]
    assert cli.json("status")["paused_periodic"] == []


def test_a_pause_is_ended_also_of_a_schedule_that_the_app_has_no_more(cli: Cli, app: str) -> None:
    # Given a job that is paused, and an app that has it no more
    cli("cron", app, "--pause", "sing")
    silent = app.replace("worker", "silent")
    # When it is resumed, then it is told what was paused
    told = cli("cron", silent, "--resume", "sing").stdout
    assert "resumed sing (@every 90s), which this application does not have" in told
    assert cli.json("status")["paused_periodic"] == []
    # And after that there is nothing to resume
    assert "no schedule of sing was paused" in cli("cron", app, "--resume", "sing").stdout
    assert "'sing' is no periodic job of this app" in cli("cron", silent, "--resume", "sing").stderr


def test_to_list_firings_makes_no_file(bare: Cli, app: str, tmp_path: Path) -> None:
    new = tmp_path / "new jobs.db"
    found = bare.json("cron", app, "--url", f"sqlite:///{quote(str(new))}")
    assert [entry["paused"] for entry in found] == [False, False]
    assert not new.exists()


def test_firings_are_told_whatever_the_store_says(bare: Cli, app: str, tmp_path: Path) -> None:
    (tmp_path / "odd.db").write_text("no database, but a text that is long enough" * 100)
    result = bare("cron", app, "--url", f"sqlite:///{tmp_path}/odd.db", "--json")
    assert (result.exit_code, "whether schedules are paused is not known" in result.stderr) == (0, True)
    assert [entry["paused"] for entry in json.loads(result.stdout)] == [None, None]


def test_what_is_paused_is_not_known_where_no_other_process_can_tell(bare: Cli, app: str) -> None:
    assert [entry["paused"] for entry in bare.json("cron", app)] == [None, None]
    refused = bare("cron", app, "--pause", "sing")
    assert refused.exit_code == 1
    assert "use the web console of that process" in refused.stderr


def test_firings_are_told_while_the_store_is_away(bare: Cli, app: str) -> None:
    result = bare("cron", app, "--url", "redis://127.0.0.1:1/0", "--json")
    assert "whether schedules are paused is not known" in result.stderr
    assert [entry["paused"] for entry in json.loads(result.stdout)] == [None, None]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--pause", "dance"), 1, "'dance' is no periodic job of this app; these are: sing"),
        (("--resume", "dance"), 1, "'dance' is no periodic job of this app; these are: sing"),
        (("--pause", ""), 1, "'' is no periodic job of this app; these are: sing"),
        (("--pause", "sing", "--resume", "sing"), 2, "one of --pause JOB and --resume JOB"),
        (("--pause", "sing", "--resume", ""), 2, "one of --pause JOB and --resume JOB"),
        (("--pause", "sing", "--json"), 2, "leave out --json, --from and --count"),
        (("--resume", "sing", "--count", "1"), 2, "leave out --json, --from and --count"),
    ],
)
def test_a_pause_that_cannot_be_meant_is_refused(
    cli: Cli, app: str, args: tuple[str, ...], code: int, words: str
) -> None:
    result = cli("cron", app, *args)
    assert result.exit_code == code
    assert words in result.stderr
