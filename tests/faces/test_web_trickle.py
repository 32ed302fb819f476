"""Dead jobs of a group that are queued again some a minute."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from faces.console import Yard
from faces.test_web_pages import store_of
from faces.visitor import Visitor, check_page, text_of, visiting
from patience import auntil
from worksong import Worker
from worksong.domain.job import Job
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend, error

ERROR = "OSError: disk"


async def fallen(worker: Worker, count: int) -> None:
    """So many dead jobs of one group, and one of another."""
    yard = Yard(worker.backend())
    await yard.bury(ERROR, *(Job("charge", id=f"d{number:03}") for number in range(count)))
    await yard.bury("LookupError: none", Job("charge", id="other"))


async def dead(visitor: Visitor) -> int:
    counts = await visitor.json("/counts")
    return int(counts["dead"])


async def begin(visitor: Visitor, per_minute: float) -> dict[str, Any]:
    order = {"state": "dead", "act": "requeue", "handler": "charge", "error": ERROR, "per_minute": per_minute}
    answer = await visitor.order("/errors", **order)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until_dead(visitor: Visitor, count: int) -> None:
    await auntil(lambda: dead(visitor), f"{count} dead jobs", met=lambda found: found == count)


async def asleep(clock: FakeClock) -> None:
    await auntil(lambda: clock.sleepers, "somebody who sleeps")


async def test_a_group_is_queued_at_the_pace_that_was_chosen() -> None:
    # Given three dead jobs of a group, and a page that offers a pace
    worker, clock = Worker(), FakeClock()
    await fallen(worker, 3)
    async with visiting(store_of(worker.backend())._replace(clock=clock)) as visitor:
        page = await visitor.read("/errors")
        (fields, *_) = [
            {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}
            for form in re.findall(r'<form method="post" action="/act/group".*?</form>', page, re.DOTALL)
            if "OSError" in html.unescape(form)
        ]
        assert 'name="per_minute"' in page
        # When an operator wants one every half minute, he is asked first
        order = {**fields, "act": "requeue", "per_minute": "2"}
        asked = text_of(check_page(await visitor.send("/act/group", **order)))
        assert "Queue 3 dead jobs, 2 a minute? That takes about 1 min 30 s" in asked
        assert await dead(visitor) == 4
        told = text_of(check_page(await visitor.send("/act/group", **order, sure="yes", count="3")))
        assert "began to queue 3 dead jobs, 2 a minute" in told
        # Then the first goes at once, and another one every half minute
        await until_dead(visitor, 3)
        await asleep(clock)
        assert "charge 1 of 3 queued, 2 a minute Stop" in text_of(await visitor.read("/errors"))
        await clock.aadvance(29)
        assert await dead(visitor) == 3
        await clock.aadvance(1)
        await until_dead(visitor, 2)
        await asleep(clock)
        await clock.aadvance(30)
        # And none of another group
        await until_dead(visitor, 1)
        assert (await visitor.json("/errors"))["trickles"] == []


async def test_it_is_stopped_and_what_is_not_queued_stays_dead() -> None:
    worker, clock = Worker(), FakeClock()
    await fallen(worker, 5)
    async with visiting(store_of(worker.backend())._replace(clock=clock)) as visitor:
        await begin(visitor, 1)
        await until_dead(visitor, 5)
        await asleep(clock)
        (found,) = (await visitor.json("/errors"))["trickles"]
        assert (found["handler"], found["total"], found["left"], found["per_minute"]) == ("charge", 5, 4, 1.0)
        # A second time is refused while it goes on
        again = {"state": "dead", "act": "requeue", "handler": "charge", "error": ERROR, "per_minute": 9}
        assert (await visitor.order("/errors", **again)).status_code == 400
        # When it is stopped
        stopped = await visitor.send("/act/trickle", trickle=found["id"])
        assert "stopped queueing charge: 4 stay dead" in text_of(stopped.text)
        await clock.aadvance(600)
        assert await dead(visitor) == 5
        assert (await visitor.order("/errors", trickle=found["id"])).status_code == 400


async def test_many_a_minute_go_together_and_an_outage_loses_none() -> None:
    worker, clock = Worker(), FakeClock()
    await fallen(worker, 25)
    flaky = FlakyBackend(worker.backend())
    async with visiting(store_of(flaky)._replace(clock=clock)) as visitor:
        flaky.expect("requeue", [error])
        await begin(visitor, 600)
        await asleep(clock)
        assert await dead(visitor) == 26  # nobody was there
        for left in (16, 6, 1):
            await clock.aadvance(1)
            await until_dead(visitor, left)


@pytest.mark.parametrize("pace", [0, -1, "fast", 1e9, "nan", "inf", [], "1e999"])
async def test_a_pace_that_is_none_is_refused(pace: object) -> None:
    worker = Worker()
    await fallen(worker, 1)
    async with visiting(worker) as visitor:
        order = {"state": "dead", "act": "requeue", "handler": "charge", "error": ERROR, "per_minute": pace}
        assert (await visitor.order("/errors", **order)).status_code == 400
        order = {"state": "dead", "act": "delete", "handler": "charge", "error": ERROR, "per_minute": 5}
        assert (await visitor.order("/errors", **order)).status_code == 400
        assert await dead(visitor) == 2


async def test_programs_retry_and_delete_a_group_as_a_page_does() -> None:
    worker = Worker()
    await fallen(worker, 3)
    async with visiting(worker) as visitor:
        order = {"state": "dead", "handler": "charge", "error": ERROR}
        asked = (await visitor.order("/errors", **order, act="requeue", dry_run=True)).json()
        assert asked == {"done": 0, "text": "Queue 3 dead jobs at once?"}
        assert (await visitor.order("/errors", **order, act="delete")).json()["done"] == 3
        assert await dead(visitor) == 1
