"""`worksong status`, `queues`, `pools`, `busy`, `scheduled`, `retries` and `dead`: for people and for programs."""

from __future__ import annotations

import time

import pytest

from faces.stage import Cli, Shop
from worksong.domain.job import Job
from worksong.domain.outcome import Buried, Retried
from worksong.faces.cli import screen
from worksong.service.moments import relative

SECRET = {"user_id": 7, "api_token": "hunter2", "dsn": {"a": "hunter2"}, "link": "redis://u:hunter2@host/"}


def test_everything_empty_is_said_in_words(cli: Cli) -> None:
    assert "No dead jobs." in cli("dead").stdout
    assert "No queues yet" in cli("queues").stdout
    assert "No worker runs here" in cli("pools").stdout
    assert "Nothing runs right now." in cli("busy").stdout
    assert "no worker runs" in cli("status").stdout


def test_status_counts_the_jobs_of_each_state(cli: Cli, shop: Shop) -> None:
    shop.settle(Buried("no"), Job("lost"))
    shop.push(Job("a"), Job("b"), Job("a", run_at=time.time() + 600))
    found = cli.json("status")
    assert {name: found[name] for name in ("queued", "scheduled", "running", "retry", "dead")} == {
        "queued": 2,
        "scheduled": 1,
        "running": 0,
        "retry": 0,
        "dead": 1,
    }
    assert found["namespace"].startswith("test-")
    text = cli("status").stdout
    assert "1 dead: see `worksong dead`" in text
    assert "no worker runs" in text


def test_queues_show_length_and_pause(cli: Cli, shop: Shop) -> None:
    shop.push(Job("a"), Job("a"), Job("b"))
    cli("pause", "b")
    assert [(queue["name"], queue["count"], queue["paused"]) for queue in cli.json("queues")] == [
        ("a", 2, False),
        ("b", 1, True),
    ]
    assert "paused" in cli("queues").stdout


@pytest.mark.parametrize("command", ["scheduled", "retries", "dead"])
def test_job_listings_hide_secrets_unless_asked_to_reveal_them(cli: Cli, shop: Shop, command: str) -> None:
    _one(shop, command, Job("send_email", SECRET))
    shown = cli(command).stdout + cli(command, "--json").stdout
    assert "send_email" in shown
    assert "hunter2" not in shown
    assert "hunter2" in cli(command, "--reveal").stdout
    assert cli.json(command, "--reveal")["jobs"][0]["args"] == SECRET


def test_the_lock_of_a_unique_job_does_not_give_its_arguments_away(cli: Cli, shop: Shop) -> None:
    shop.push(Job("x", SECRET, unique="until_done", run_at=time.time() + 600))
    shown = cli.json("scheduled")["jobs"][0]
    assert "hunter2" not in str(shown)
    assert shown["unique_key"] == "***"


@pytest.mark.parametrize("command", ["scheduled", "retries", "dead"])
def test_json_has_every_field_and_times_as_unix_seconds(cli: Cli, shop: Shop, command: str) -> None:
    (job_id,) = _one(shop, command, Job("x", {"n": 1}))
    page = cli.json(command)
    assert (page["page"], page["pages"], page["total"]) == (1, 1, 1)
    (job,) = page["jobs"]
    assert (job["id"], job["handler"], job["args"]) == (job_id, "x", {"n": 1})
    assert all(isinstance(job[name], float) for name in ("at", "enqueued_at", "run_at", "failed_at"))
    assert job["fails"] == (0 if command == "scheduled" else 1)


def test_listings_come_in_pages(cli: Cli, shop: Shop) -> None:
    ids = shop.push(*(Job("x", {"n": n}, run_at=time.time() + 600 + n) for n in range(45)))
    pages = [cli.json("scheduled", "--page", str(page)) for page in (1, 2, 3, 4)]
    assert [len(page["jobs"]) for page in pages] == [20, 20, 5, 0]
    assert [job["id"] for page in pages for job in page["jobs"]] == ids
    assert "page 2 of 3 \u00b7 45 jobs \u00b7 next: --page 3" in cli("scheduled", "--page", "2").stdout


@pytest.mark.parametrize("page", ["0", "-1", "10001", "x"])
def test_pages_that_cannot_be_are_a_usage_error(cli: Cli, page: str) -> None:
    assert cli("dead", "--page", page).exit_code == 2


def test_nothing_in_a_job_can_move_the_cursor_or_forge_a_line(cli: Cli, shop: Shop) -> None:
    evil = "\x1b[2J\r\nworksong: error: forged\u202e\x9b\x7f[bold]x[/bold]:tada:"
    shop.settle(Buried(evil), Job("x", {"a": evil, evil: 1}))
    for args in (("dead",), ("dead", "--json")):
        output = cli(*args).output
        assert all(char.isprintable() or char == "\n" for char in output)
        assert "\nworksong: error" not in output
    assert "[bold]" in cli("dead").stdout
    assert cli.json("dead")["jobs"][0]["args"]["a"] == evil


@pytest.mark.parametrize("width", [60, 80, 120])
def test_on_a_narrow_screen_the_id_stays_whole(
    cli: Cli, shop: Shop, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "WIDE", width)
    (job_id,) = shop.settle(Buried("ValueError: " + "long " * 50), Job("send_email", {"text": "long " * 50}))
    assert job_id in cli("dead").stdout


def test_times_are_told_from_now(cli: Cli, shop: Shop) -> None:
    shop.push(Job("x", run_at=time.time() + 3 * 86400 + 60))
    shop.settle(Buried("ValueError: no"), Job("y"))
    assert "in 3 d" in cli("scheduled").stdout
    assert "now" in cli("dead").stdout or "ago" in cli("dead").stdout


def _one(shop: Shop, command: str, job: Job) -> list[str]:
    match command:
        case "scheduled":
            return shop.push(Job(job.handler, job.args, run_at=time.time() + 600))
        case "retries":
            return shop.settle(Retried(time.time() + 600, "ValueError: no"), job)
        case _:
            return shop.settle(Buried("ValueError: no"), job)


@pytest.mark.parametrize("at", [float("inf"), float("-inf"), float("nan"), 0.0])
def test_a_time_that_is_none_is_a_dash(at: float) -> None:
    assert relative(at, time.time()) == "\u2013"
