"""`worksong why`: what stands in the way of one job, for people and for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import pytest

from faces.stage import Cli, Shop
from worksong.domain.job import Job, new_id
from worksong.domain.outcome import Buried, Retried
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Beat, Pool, Running, Want

SECRET = "hunter2"


def works(shop: Shop, names: Sequence[str], *, take: int = 0, beats: bool = False, limit: int = 0) -> list[str]:
    """Let a pool with one slot live, that knows these types and takes jobs; answers the ids of what it took."""
    slot = new_id()
    pool = Pool(
        id=new_id(), handlers=tuple(names), worker_ids=(slot,), limits=dict.fromkeys(names, limit) if limit else {}
    )

    async def act(backend: Backend) -> list[str]:
        now = time.time()
        await backend.enlist(pool, now)
        shares = tuple(Share(name, take) for name in names)
        lent = await backend.fetch(Want(pool.id, take, 0.0, shares), now) if take else []
        if beats:
            running = tuple(Running(delivery, 0, now - 60, checkin="i=7", checkin_at=now) for delivery in lent)
            await backend.beat(Beat(pool, running, tuple(lent)), now)
        return [delivery.job.id for delivery in lent]

    return shop.do(act)


def reason(cli: Cli, job_id: str) -> str:
    return str(cli.json("why", job_id)["reason"])


def test_a_job_that_is_nowhere_is_an_error_that_says_where_was_looked(cli: Cli) -> None:
    result = cli("why", "nosuch")
    assert result.exit_code == 1
    assert "not_found: no job of this id is here" in result.stdout
    assert "looked at: queued, scheduled, retry, dead and running jobs of 'test-" in result.stdout
    told = cli("why", "nosuch", "--json")
    assert told.exit_code == 1
    assert (json.loads(told.stdout)["reason"], json.loads(told.stdout)["job"]) == ("not_found", None)


def test_without_a_worker_every_job_waits_for_one(cli: Cli, shop: Shop) -> None:
    first, second = shop.push(Job("a"), Job("a"))
    told = cli.json("why", second)
    assert (told["reason"], told["reasons"], told["ahead"], told["state"]) == ("no_worker", ["no_worker"], 1, "queued")
    assert "it is the next of its queue" in cli("why", first).stdout
    assert "1 goes first" in cli("why", second).stdout


def test_a_paused_queue_comes_first(cli: Cli, shop: Shop) -> None:
    (job_id,) = shop.push(Job("a"))
    cli("pause", "a")
    assert cli.json("why", job_id)["reasons"] == ["paused", "no_worker"]
    assert "`worksong resume a` ends that" in cli("why", job_id).stdout


def test_a_type_that_no_live_worker_knows(cli: Cli, shop: Shop) -> None:
    (job_id,) = shop.push(Job("a"))
    works(shop, ["b"])
    assert reason(cli, job_id) == "unserved"
    assert "of 1 live worker processes none knows jobs called 'a'" in cli("why", job_id).stdout


def test_a_type_at_its_limit(cli: Cli, shop: Shop) -> None:
    _, waiting = shop.push(Job("a"), Job("a"))
    works(shop, ["a"], take=1, limit=1)
    assert reason(cli, waiting) == "at_limit"
    assert "not more than 1 may (max_concurrency)" in cli("why", waiting).stdout


def test_workers_that_are_all_busy(cli: Cli, shop: Shop) -> None:
    _, waiting = shop.push(Job("a"), Job("a"))
    works(shop, ["a"], take=1, beats=True)
    told = cli.json("why", waiting)
    assert (told["reason"], told["slots"], told["busy"]) == ("all_busy", 1, 1)


def test_a_job_whose_turn_comes(cli: Cli, shop: Shop) -> None:
    (job_id,) = shop.push(Job("a"))
    works(shop, ["a"])
    assert reason(cli, job_id) == "waiting"


def test_a_running_job_is_told_with_its_worker_and_check_in(cli: Cli, shop: Shop) -> None:
    shop.push(Job("a"))
    (job_id,) = works(shop, ["a"], take=1, beats=True)
    told = cli.json("why", job_id)
    assert (told["reason"], told["checkin"], bool(told["pool"]), bool(told["worker"])) == ("running", "i=7", True, True)
    assert "for 1 min" in cli("why", job_id).stdout
    cli("cancel", job_id)
    assert reason(cli, job_id) == "cancelling"


def test_a_job_just_taken_is_running_before_its_worker_has_said_so(cli: Cli, shop: Shop) -> None:
    shop.push(Job("a"))
    (job_id,) = works(shop, ["a"], take=1)
    told = cli.json("why", job_id)
    assert (told["reason"], bool(told["pool"]), told["worker"]) == ("running", True, "")


def test_a_scheduled_job_is_due_when_it_is_due(cli: Cli, shop: Shop) -> None:
    (job_id,) = shop.push(Job("a", run_at=time.time() + 3600 * 5 + 60))
    assert cli.json("why", job_id)["reasons"] == ["scheduled", "no_worker"]
    assert "due in 5 h" in cli("why", job_id).stdout


def test_a_scheduled_job_that_nobody_promotes_is_overdue(cli: Cli, shop: Shop) -> None:
    (job_id,) = shop.push(Job("a", run_at=time.time() - 600))
    assert cli.json("why", job_id)["reasons"] == ["overdue", "no_worker"]


def test_a_failed_job_tells_its_error_and_next_try_without_logins(cli: Cli, shop: Shop) -> None:
    (job_id,) = shop.settle(Retried(time.time() + 605, f"ValueError: redis://u:{SECRET}@host/"), Job("a"))
    shown = cli("why", job_id)
    assert "it has failed 1 time, the last time with: ValueError: redis://***@host/" in shown.stdout
    assert "the next try is in 10 min" in shown.stdout
    assert SECRET not in shown.stdout + cli("why", job_id, "--json").stdout


def test_a_dead_job_tells_its_error_and_how_to_queue_it(cli: Cli, shop: Shop) -> None:
    (job_id,) = shop.settle(Buried("ValueError: no"), Job("a"))
    assert reason(cli, job_id) == "dead"
    text = cli("why", job_id).stdout
    assert "ValueError: no" in text
    assert f"`worksong dead retry {job_id}`" in text


def test_an_id_of_the_callers_own_is_remembered_when_its_job_is_done(cli: Cli, shop: Shop) -> None:
    cli("enqueue", "a", "--id", "order-7")
    cli("cancel", "order-7")
    result = cli("why", "order-7")
    assert result.exit_code == 1
    assert "ended: it was enqueued here and is here no more" in result.stdout


def test_arguments_that_look_like_secrets_are_hidden_unless_revealed(cli: Cli, shop: Shop) -> None:
    (job_id,) = shop.push(Job("a", {"password": SECRET}))
    assert SECRET not in cli("why", job_id, "--json").stdout
    assert cli.json("why", job_id, "--reveal")["job"]["args"] == {"password": SECRET}


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_nothing_in_a_job_can_forge_a_line(cli: Cli, shop: Shop, options: tuple[str, ...]) -> None:
    evil = "\x1b[2J\r\nworksong: error: forged\u202e[bold]x"
    (job_id,) = shop.settle(Buried(evil), Job("a"))
    output = cli("why", job_id, *options).output
    assert all(char.isprintable() or char == "\n" for char in output)
    assert "\nworksong: error" not in output
