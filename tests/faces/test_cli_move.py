"""`worksong move`."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faces.stage import Cli, Shop
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Pool, Want


@pytest.fixture
def urls(tmp_path: Path) -> tuple[str, str]:
    """Two files."""
    return f"sqlite:///{tmp_path}/here.db?namespace=shop", f"sqlite:///{tmp_path}/there.db?namespace=shop"


@pytest.fixture
def here(urls: tuple[str, str]) -> Shop:
    """One of them, with a dead job, a scheduled one and three that wait."""
    shop = Shop(urls[0])
    shop.settle(Buried("boom"), Job("die"))
    later = (datetime.now(UTC) + timedelta(hours=1)).timestamp()
    shop.push(Job("send", {"n": 1}), Job("send", {"n": 2}), Job("send", {"n": 3}), Job("send", run_at=later))
    return shop


def counts(url: str) -> dict[str, int]:
    found = Shop(url).do(lambda backend: backend.counts())
    return {str(state): found[state] for state in (State.QUEUED, State.SCHEDULED, State.RETRY, State.DEAD)}


def test_all_jobs_are_moved_and_a_table_says_how_many(bare: Cli, urls: tuple[str, str], here: Shop) -> None:
    result = bare("move", "--from", urls[0], "--to", urls[1])
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["queued", "3", "3", "0", "0", "3"] in rows
    assert ["dead", "1", "1", "0", "0", "1"] in rows
    assert "moved 5 jobs" in result.stdout
    assert counts(urls[1]) == {"queued": 3, "scheduled": 1, "retry": 0, "dead": 1}


def test_json_says_the_same_to_programs(bare: Cli, urls: tuple[str, str], here: Shop) -> None:
    found = bare.json("move", "--from", urls[0], "--to", urls[1], "--state", "queued", "--state", "dead")
    assert found["moved"] == {"queued": 3, "dead": 1}
    assert found["source"]["scheduled"] == 1
    assert found["checksums"][0] == found["checksums"][1]
    assert (found["staying"], found["short"], found["before"]["aside"]) == ({}, 0, 0)


def test_a_dry_run_changes_nothing(bare: Cli, urls: tuple[str, str], here: Shop) -> None:
    before = counts(urls[0])
    result = bare("move", "--from", urls[0], "--to", urls[1], "--dry-run")
    assert result.exit_code == 0, result.output
    assert ["queued", "3", "0"] in [line.split() for line in result.stdout.splitlines()]
    found = bare.json("move", "--from", urls[0], "--to", urls[1], "--dry-run")
    assert (found["source"]["queued"], found["target"]["queued"]) == (3, 0)
    assert counts(urls[0]) == before
    assert sum(counts(urls[1]).values()) == 0


def test_what_the_target_cannot_hold_is_said_before_and_stays(bare: Cli, urls: tuple[str, str], url: str) -> None:
    Shop(urls[0]).push(Job("send", ["by", "position"]), Job("send", {"n": 1}))
    result = bare("move", "--from", urls[0], "--to", url)
    assert result.exit_code == 1
    assert "whole seconds" in result.stderr
    assert "1 job stays in sqlite://" in result.stderr
    assert "carries arguments by name only" in result.stderr
    assert counts(urls[0])["queued"] == 1
    assert counts(url)["queued"] == 1


def test_jobs_that_run_are_told(bare: Cli, urls: tuple[str, str]) -> None:
    async def run_one(backend: Backend) -> None:
        await backend.push([Job("send", id="one")], 0.0)
        await backend.enlist(Pool(id="pool", handlers=("send",)), 0.0)
        assert len(await backend.fetch(Want("pool", 1, 0.0, (Share("send", 1),)), 0.0)) == 1

    Shop(urls[0]).do(run_one)
    result = bare("move", "--from", urls[0], "--to", urls[1])
    assert result.exit_code == 0, result.output
    assert "1 job runs at the source and cannot be moved: stop its workers, then move again" in result.stdout


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("sqlite:///{here}?namespace=shop", "both sides are sqlite:///"),
        ("memory://", "memory:// lives inside one process"),
        ("redis://127.0.0.1:1/0", "127.0.0.1:1"),
        ("sqlite:///{there}?migrate=refuse", "there are no worksong tables"),
        ("nonsense://", "no backend for a URL of the scheme"),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_anything_moves(
    bare: Cli, urls: tuple[str, str], here: Shop, tmp_path: Path, *, given: str, told: str
) -> None:
    before = counts(urls[0])
    to = given.format(here=tmp_path / "here.db", there=tmp_path / "there.db")
    result = bare("move", "--from", urls[0], "--to", to)
    assert result.exit_code == 1
    assert told in result.stderr
    assert counts(urls[0]) == before


def test_an_interrupted_move_is_told_and_goes_on(bare: Cli, urls: tuple[str, str], here: Shop, tmp_path: Path) -> None:
    # Given a load that lies aside since somebody was killed
    name = f"sqlite:///{tmp_path}/there.db (namespace shop)"
    here.do(lambda backend: backend.load(State.QUEUED, passed=0, most=2, destination=name, now=0.0))

    # When the same command is given again
    result = bare("move", "--from", urls[0], "--to", urls[1])

    # Then it says so, and nothing is missing
    assert result.exit_code == 0, result.output
    assert "a move was interrupted: 2 jobs lie aside, and come first" in result.stderr
    assert counts(urls[1]) == {"queued": 3, "scheduled": 1, "retry": 0, "dead": 1}


def test_a_load_that_the_target_has_taken_in_is_not_missed(
    bare: Cli, urls: tuple[str, str], here: Shop, tmp_path: Path
) -> None:
    # Given a load that the target has, and that its source could not drop any more
    name = f"sqlite:///{tmp_path}/there.db (namespace shop)"
    load = here.do(lambda backend: backend.load(State.QUEUED, passed=0, most=2, destination=name, now=0.0))
    assert load
    Shop(urls[1]).do(lambda backend: backend.unload(load, [], time.time()))

    # When the same command is given again
    found = bare.json("move", "--from", urls[0], "--to", urls[1])

    # Then nothing came twice, and nothing is thought to be missing
    assert (found["moved"]["queued"], found["short"]) == (3, 0)
    assert counts(urls[1]) == {"queued": 3, "scheduled": 1, "retry": 0, "dead": 1}


def test_both_sides_are_asked_for(bare: Cli) -> None:
    result = bare("move", "--from", "sqlite:///x.db")
    assert result.exit_code == 2
    assert "--to" in result.stderr


def test_logins_are_not_shown(bare: Cli, urls: tuple[str, str]) -> None:
    result = bare("move", "--from", urls[0], "--to", "redis://u:hush@127.0.0.1:1/0", "--json")
    assert result.exit_code == 1
    assert "hush" not in result.output
    assert json.dumps("hush") not in result.stdout
