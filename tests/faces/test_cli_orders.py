"""`worksong pause`, `resume`, `purge`, `cancel`, and `dead retry` and `delete`."""

from __future__ import annotations

import pytest

from faces.stage import Cli, Shop
from worksong.domain.job import Job
from worksong.domain.outcome import Buried


def test_a_queue_is_paused_and_resumed(cli: Cli, shop: Shop) -> None:
    shop.push(Job("a"))
    assert cli("pause", "a").exit_code == 0
    assert cli.json("status")["paused"] == ["a"]
    assert cli("resume", "a").exit_code == 0
    assert cli.json("status")["paused"] == []


def test_purge_drops_what_waits_and_says_how_much(cli: Cli, shop: Shop) -> None:
    shop.push(Job("a"), Job("a"), Job("b"))
    assert "purged a: 2 jobs dropped" in cli("purge", "a").stdout
    assert cli.json("status")["queued"] == 1


def test_cancel_drops_a_waiting_job(cli: Cli, shop: Shop) -> None:
    (job_id,) = shop.push(Job("a"))
    assert cli("cancel", job_id).exit_code == 0
    assert cli.json("status")["queued"] == 0
    again = cli("cancel", job_id)
    assert again.exit_code == 1
    assert f"no job with the id {job_id}" in again.stderr


def test_one_dead_job_is_retried(cli: Cli, shop: Shop) -> None:
    first, _ = shop.settle(Buried("no"), Job("a"), Job("b"))
    assert f"queued again: {first}" in cli("dead", "retry", first).stdout
    assert (cli.json("status")["dead"], cli.json("status")["queued"]) == (1, 1)


@pytest.mark.parametrize(("order", "queued"), [("retry", 2), ("delete", 0)])
def test_all_dead_jobs_are_dealt_with_at_once(cli: Cli, shop: Shop, order: str, queued: int) -> None:
    shop.settle(Buried("no"), Job("a"), Job("b"))
    assert "2 dead jobs" in cli("dead", order, "--all").stdout
    assert (cli.json("status")["dead"], cli.json("status")["queued"]) == (0, queued)


@pytest.mark.parametrize("order", ["retry", "delete"])
def test_an_id_that_is_not_dead_is_an_error(cli: Cli, order: str) -> None:
    result = cli("dead", order, "nosuch")
    assert result.exit_code == 1
    assert "no dead job has the id nosuch" in result.stderr


@pytest.mark.parametrize("args", [(), ("some-id", "--all")])
def test_either_an_id_or_all_is_needed(cli: Cli, args: tuple[str, ...]) -> None:
    assert cli("dead", "retry", *args).exit_code == 2


def test_the_url_may_stand_before_or_behind_the_order(bare: Cli, shop: Shop, url: str) -> None:
    shop.settle(Buried("no"), Job("a"), Job("b"))
    assert "2 dead jobs" in bare("dead", "--url", url, "retry", "--all").stdout
    assert "0 dead jobs" in bare("dead", "delete", "--all", "--url", url).stdout
