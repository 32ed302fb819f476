"""`worksong enqueue`."""

from __future__ import annotations

import time

import pytest

from faces.stage import Cli, Shop
from worksong.domain.lifecycle import State
from worksong.ports.backend import Window


def _waiting(shop: Shop, state: State) -> list[tuple[str, object]]:
    return [(view.id, view.job.args) for view in shop.do(lambda backend: backend.jobs(state, Window()))]


def test_it_prints_the_id_of_the_job_that_waits(cli: Cli, shop: Shop) -> None:
    result = cli("enqueue", "send_email", "--args", '{"user_id": 7}')
    assert result.exit_code == 0
    assert _waiting(shop, State.QUEUED) == [(result.stdout.strip(), {"user_id": 7})]


@pytest.mark.parametrize(
    ("option", "value", "distance"), [("--in", "90s", 90), ("--in", "1h30m", 5400), ("--at", "", 3600)]
)
def test_it_can_run_later(cli: Cli, shop: Shop, option: str, value: str, distance: float) -> None:
    now = time.time()
    moment = value or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + distance))
    answer = cli.json("enqueue", "send_email", option, moment)
    assert answer["run_at"] == pytest.approx(now + distance, abs=5)
    assert [job_id for job_id, _ in _waiting(shop, State.SCHEDULED)] == [answer["id"]]


def test_in_and_at_exclude_each_other(cli: Cli) -> None:
    assert cli("enqueue", "x", "--in", "5s", "--at", "2030-01-01T00:00:00Z").exit_code == 2


def test_a_time_without_zone_is_a_usage_error_with_the_mend(cli: Cli) -> None:
    result = cli("enqueue", "x", "--at", "2030-01-01T00:00:00")
    assert result.exit_code == 2
    assert "write 2030-01-01T00:00:00Z for UTC" in result.stderr


@pytest.mark.parametrize("text", ["{", "7", '"text"', '{"a": NaN}', "[" * 2000 + "]" * 2000])
def test_arguments_that_are_no_object_or_array_are_a_usage_error(cli: Cli, text: str) -> None:
    result = cli("enqueue", "x", "--args", text)
    assert result.exit_code == 2
    assert "write an object" in result.stderr


def test_a_name_that_cannot_be_is_an_error(cli: Cli) -> None:
    result = cli("enqueue", "no good")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


def test_a_unique_job_is_enqueued_once(cli: Cli, shop: Shop) -> None:
    first = cli.json("enqueue", "x", "--unique", "--args", '{"a": 1}')
    again = cli.json("enqueue", "x", "--unique", "--args", '{"a": 1}')
    assert (first["enqueued"], again["enqueued"], again["id"]) == (True, False, None)
    assert "an equal job waits already" in cli("enqueue", "x", "--unique", "--args", '{"a": 1}').stderr
    assert len(_waiting(shop, State.QUEUED)) == 1


def test_an_id_is_enqueued_once(cli: Cli, shop: Shop) -> None:
    assert cli("enqueue", "x", "--id", "order-7").stdout.strip() == "order-7"
    assert "the id order-7 was enqueued before" in cli("enqueue", "x", "--id", "order-7").stderr
    assert [job_id for job_id, _ in _waiting(shop, State.QUEUED)] == ["order-7"]


def test_the_namespace_asked_for_goes_before_that_of_the_url(cli: Cli, shop: Shop, url: str) -> None:
    other = url.replace("test-", "other-")
    cli("enqueue", "x", "--namespace", other.rpartition("=")[2])
    assert _waiting(shop, State.QUEUED) == []
    assert len(_waiting(Shop(other), State.QUEUED)) == 1


def test_memory_is_refused_because_nobody_would_run_the_job(bare: Cli) -> None:
    result = bare("enqueue", "x", "--url", "memory://")
    assert result.exit_code == 1
    assert "ends with this command" in result.stderr
