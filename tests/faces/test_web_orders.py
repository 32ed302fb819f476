"""What an operator does in the web console: with forms, and as a program."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from faces.console import Yard
from faces.test_web_pages import STATES, Shy, stock, store_of
from faces.visitor import SAME, Visitor, check_page, text_of, visiting
from patience import PATIENCE
from worksong import Worker
from worksong.domain.capability import Capability
from worksong.domain.cron import parse
from worksong.domain.job import Job, JobView
from worksong.domain.lifecycle import State
from worksong.engine.timetable import pause, schedule_ahead
from worksong.engine.vitals import Vitals, tell
from worksong.faces.web.console import store_of as console_store
from worksong.ports.backend import Backend, Beat, PoolView
from worksong.service.ailments import grouped
from worksong.service.desk import Desk
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend, error

NOW = 1_790_000_000.0


async def counts(visitor: Visitor) -> dict[str, int]:
    found = await visitor.json("/counts")
    return {state: found[state] for state in STATES if found[state]}


class Filled(NamedTuple):
    """A form as a page has it."""

    action: str
    fields: dict[str, str]
    text: str


def forms_of(page: str) -> list[Filled]:
    """The forms of a page that give orders."""
    found: list[Filled] = []
    for action, text in re.findall(r'<form method="post" action="([^"]+)"[^>]*>(.*?)</form>', page, re.DOTALL):
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', text)
        found.append(Filled(html.unescape(action), {name: html.unescape(value) for name, value in hidden}, text))
    return found


def exactly(form: Filled, handler: str, error: str) -> bool:
    """Whether the form is about the group of such a failure."""
    (group,) = grouped([JobView(job=Job(handler, error=error), state=State.DEAD)])
    told = form.fields.get("handler", "null"), form.fields.get("error", "null")
    return (json.loads(told[0]), json.loads(told[1])) == (group.handler, group.error)


async def test_a_queue_is_paused_resumed_and_purged_after_a_question() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        page = text_of((await visitor.send("/act/queue", queue="letters", act="pause")).text)
        assert "paused letters" in page
        assert "letters paused 1" in page
        assert "resumed letters" in text_of((await visitor.send("/act/queue", queue="letters", act="resume")).text)
        # When it is to be purged
        asked = check_page(await visitor.send("/act/queue", queue="letters", act="purge"))
        # Then that is asked first, with what would go
        assert "Purge letters? 1 waiting job would be dropped for good." in text_of(asked)
        assert (await counts(visitor))["queued"] == 1
        # And done when it is confirmed
        done = await visitor.send("/act/queue", queue="letters", act="purge", sure="yes", count="1")
        assert "purged letters: 1 job dropped" in text_of(done.text)
        assert "queued" not in await counts(visitor)


@pytest.mark.parametrize(
    ("state", "job_id", "act", "told"),
    [
        ("dead", "d1", "requeue", "queued 1 dead job"),
        ("retry", "r1", "requeue", "queued 1 retry job"),
        ("scheduled", "s1", "requeue", "queued 1 scheduled job"),
        ("dead", "d1", "delete", "deleted 1 dead job"),
        ("scheduled", "s1", "delete", "deleted 1 scheduled job"),
        ("queued", "q1", "cancel", "cancelled 1 queued job"),
        ("running", "x1", "cancel", "cancelled 1 running job"),
    ],
)
async def test_chosen_jobs_are_queued_deleted_or_cancelled(state: str, job_id: str, act: str, told: str) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        before = await counts(visitor)
        answer = await visitor.send("/act/jobs", state=state, act=act, id=[job_id, "nobody"])
        if act != "requeue":
            # Then what could be regretted is asked first, and nothing is done yet
            assert "Sure?" in check_page(answer)
            assert await counts(visitor) == before
            answer = await visitor.send("/act/jobs", state=state, act=act, id=[job_id, "nobody"], sure="yes")
        assert told in text_of(check_page(answer))
        after = await counts(visitor)
        assert after.get(state, 0) == (1 if state == "running" else 0)  # who runs it is told at its next beat


async def test_all_jobs_that_are_sought_are_meant_and_counted_before() -> None:
    # Given two kinds of dead jobs
    worker = Worker()
    yard = Yard(worker.backend())
    await yard.bury("ValueError: order 7", *(Job("charge", id=f"a{n}") for n in range(3)))
    await yard.bury("OSError: disk", Job("export", id="b1"))
    async with visiting(worker) as visitor:
        # When all of one kind are to be queued
        fields = {"state": "dead", "act": "requeue", "all": "1", "q": 'handler:charge error:"order *"'}
        assert "Queue 3 dead jobs at once?" in text_of((await visitor.send("/act/jobs", **fields)).text)
        assert "queued 3 dead jobs" in text_of((await visitor.send("/act/jobs", **fields, sure="yes", count="3")).text)
        # Then the others stay
        assert await counts(visitor) == {"queued": 3, "dead": 1}
        # And all of a state are meant without a search
        asked = await visitor.send("/act/jobs", state="dead", act="delete", all="1")
        assert "Delete all 1 dead job?" in text_of(asked.text)
        await visitor.send("/act/jobs", state="dead", act="delete", all="1", sure="yes", count="1")
        assert await counts(visitor) == {"queued": 3}


async def test_all_waiting_jobs_that_a_search_finds_are_cancelled_after_their_number_was_told() -> None:
    # Given jobs that wait, some of which nobody wants any more
    worker = Worker()
    await Yard(worker.backend()).push(*(Job("mail", {"to": n % 2}, id=f"m{n}") for n in range(6)), Job("charge"))
    async with visiting(worker) as visitor:
        # When all are looked at, they are not offered to be cancelled at once; those of a search are
        assert "Cancel all" not in await visitor.read("/jobs?state=queued")
        sought = "handler:mail args.to:1"
        assert "all 3 found Cancel all" in text_of(await visitor.read(f"/jobs?state=queued&q={sought}"))
        fields = {"state": "queued", "act": "cancel", "all": "1", "q": sought}
        assert "Cancel 3 queued jobs?" in text_of((await visitor.send("/act/jobs", **fields)).text)
        answer = await visitor.send("/act/jobs", **fields, sure="yes", count="3")
        # Then these are gone, and no others
        assert "cancelled 3 queued jobs" in text_of(answer.text)
        assert await counts(visitor) == {"queued": 4}


@pytest.mark.parametrize(
    ("handler", "error"),
    [("charge", "OSError: disk"), ("charge", ""), ("", "OSError: disk"), ("charge", 'a "b" \x1b\u202e <i> 100*')],
)
async def test_an_order_for_a_group_reaches_that_group_only(handler: str, error: str) -> None:
    # Given a group, and others that a search for it would find as well
    worker = Worker()
    yard = Yard(worker.backend())
    others = {("charge", "OSError: disk is full"), ("charged", "OSError: disk"), ("charge", "OSError: disk")}
    others |= {("charge", ""), ("mail", "OSError: disk"), ("charge", "a *b* 1 <i> 100*")}
    others -= {(handler, error)}
    for number, (name, text) in enumerate(sorted(others)):
        await yard.bury(text, Job(name, id=f"o{number}"))
    await yard.bury(error, Job(handler, id="mine"))
    async with visiting(worker) as visitor:
        # When its row of Errors is told to delete, as the form there has it, and that is confirmed
        wanted = f'aria-label="Delete the dead jobs of {handler} with this error"'
        forms = [form for form in forms_of(await visitor.read("/errors")) if wanted in form.text]
        asked = [await visitor.send(form.action, **form.fields, act="delete") for form in forms]
        (form,) = [form for page in asked for form in forms_of(check_page(page)) if exactly(form, handler, error)]
        assert form.fields["count"] == "1"
        await visitor.send(form.action, **form.fields)
        # Then its job is gone, and no other
        left = (await visitor.json("/jobs?state=dead"))["jobs"]
        assert sorted(job["id"] for job in left) == [f"o{number}" for number in range(len(others))]


@pytest.mark.parametrize("fields", [{}, {"handler": '"charge"'}, {"handler": "charge", "error": "x"}, {"error": "[]"}])
async def test_a_group_that_is_not_named_is_none(fields: dict[str, str]) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        order = {"state": "dead", "act": "delete", "sure": "yes", "count": "9", **fields}
        assert (await visitor.send("/act/group", **order)).status_code == 400
        assert (await counts(visitor))["dead"] == 1


@pytest.mark.parametrize("sought", ["state:retry", "state:retry handler:charge", 'error:""', '"', "state:dead"])
async def test_all_is_refused_where_its_search_says_something_else(sought: str) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        order = {"state": "dead", "act": "delete", "q": sought}
        for answer in (
            await visitor.order("/jobs", **order, all=True),
            await visitor.send("/act/jobs", **order, all="1", sure="yes", count="9"),
        ):
            assert answer.status_code == 400
        assert (await counts(visitor))["dead"] == 1


async def test_all_and_some_at_once_is_refused() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        order = {"state": "dead", "act": "delete"}
        assert (await visitor.order("/jobs", **order, ids=["d1"], all=True)).status_code == 400
        assert (await visitor.send("/act/jobs", **order, id="d1", all="1", sure="yes", count="9")).status_code == 400
        assert (await counts(visitor))["dead"] == 1


async def test_a_search_for_a_state_alone_offers_all_of_it() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        page = await visitor.read("/jobs?q=state:dead")
        (form,) = [form for form in forms_of(page) if "all" in form.fields]
        asked = text_of(check_page(await visitor.send(form.action, **form.fields, act="delete")))
        assert "Delete all 1 dead job?" in asked


@pytest.mark.parametrize("order", [{"q": ""}, {"q": "handler:charge"}])
async def test_more_jobs_than_were_shown_are_asked_for_again(order: dict[str, str]) -> None:
    # Given a question about one job
    worker = Worker()
    yard = await stock(worker)
    async with visiting(worker) as visitor:
        asked = check_page(await visitor.send("/act/jobs", state="dead", act="delete", all="1", **order))
        (form,) = [form for form in forms_of(asked) if "sure" in form.fields]
        # When there are two by the time it is answered
        await yard.bury("OSError: disk", Job("charge", id="d2"))
        again = check_page(await visitor.send(form.action, **form.fields))
        # Then nothing is done yet, and it is asked about both
        assert "2 dead jobs?" in text_of(again)
        assert (await counts(visitor))["dead"] == 2
        (form,) = [form for form in forms_of(again) if "sure" in form.fields]
        await visitor.send(form.action, **form.fields)
        assert "dead" not in await counts(visitor)


async def test_from_the_page_of_a_job_one_comes_back_to_it() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        answer = await visitor.send("/act/jobs", state="dead", act="requeue", id="d1", back="job")
        assert str(answer.url).partition("?")[2].startswith("id=d1")
        assert "queued 1 dead job" in text_of(answer.text)


async def test_from_the_page_of_a_job_that_is_deleted_one_comes_to_the_others() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        order = {"state": "dead", "act": "delete", "id": "d1", "back": "job"}
        # When the question is answered with no, then the job is shown again
        assert 'href="/job?id=d1"' in (await visitor.send("/act/jobs", **order)).text
        # When it is answered with yes, then there is no job to be shown
        answer = await visitor.send("/act/jobs", **order, sure="yes", count="1")
        assert (answer.status_code, answer.url.path, answer.url.params["state"]) == (200, "/jobs", "dead")
        assert "deleted 1 dead job" in text_of(answer.text)


async def test_what_was_done_cannot_be_made_up_by_an_address() -> None:
    async with visiting(Worker()) as visitor:
        assert "all is lost" not in await visitor.read("/?notice=all+is+lost")


async def test_programs_give_the_same_orders_as_json() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        asked = (await visitor.order("/jobs", state="dead", act="delete", all=True, dry_run=True)).json()
        assert asked == {"done": 0, "text": "Delete all 1 dead job? They would be dropped for good."}
        done = (await visitor.order("/jobs", state="dead", act="requeue", ids=["d1"])).json()
        assert done == {"done": 1, "text": "queued 1 dead job"}
        assert (await visitor.order("/queues", queue="letters", act="pause")).json()["text"] == "paused letters"
        assert (await visitor.json("/counts"))["paused"] == ["letters"]


@pytest.mark.parametrize(
    "body",
    [
        {"state": "dead", "act": "explode", "ids": ["d1"]},
        {"state": "dead", "act": "cancel", "ids": ["d1"]},
        {"state": "queued", "act": "requeue", "ids": ["q1"]},
        {"state": "queued", "act": "cancel", "all": True},
        {"state": "dead", "act": "requeue"},
        {"state": "dead", "act": "requeue", "ids": ["a"] * 1001},
        {"state": "gone", "act": "requeue", "ids": ["d1"]},
        {"state": "dead", "act": "requeue", "all": True, "q": "colour:red"},
    ],
)
async def test_orders_that_make_no_sense_change_nothing(body: dict[str, object]) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        answer = await visitor.order("/jobs", **body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]
        assert await counts(visitor) == dict.fromkeys(STATES, 1)


async def test_a_queue_that_is_not_there_is_not_paused() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        answer = await visitor.client.post("/act/queue", data={"queue": "<b>", "act": "pause"}, headers=SAME)
        assert answer.status_code == 400
        assert "There is no queue '<b>' now" in text_of(check_page(answer))


async def test_a_periodic_job_runs_when_an_operator_says_so() -> None:
    # Given an application with a report every night
    worker = Worker()
    worker.register("report", lambda to: None)
    worker.periodic("0 0 3 * * *", "report", args={"to": "a@example.com"}, tz="Europe/Berlin", queue="slow")
    async with visiting(worker) as visitor:
        (form,) = [form for form in forms_of(await visitor.read("/cron")) if form.action == "/act/periodic"]

        # When an operator wants it now, then that is asked first
        asked = text_of(check_page(await visitor.send(form.action, **form.fields)))
        assert "Run report now? It fires at its times as before." in asked
        assert await counts(visitor) == {}

        # And done once he is sure
        done = text_of((await visitor.send(form.action, **form.fields, sure="yes")).text)
        assert "queued report" in done
        (job,) = (await visitor.json("/jobs?state=queued"))["jobs"]
        assert (job["handler"], job["args"], job["queue"]) == ("report", {"to": "a@example.com"}, "slow")

        # And a program says the same in JSON
        answer = await visitor.order("/cron", job="report", spec=form.fields["spec"])
        assert answer.json() == {"done": 1, "text": "queued report"}
        assert (await visitor.order("/cron", job="report", spec="@daily")).status_code == 400
        assert await counts(visitor) == {"queued": 2}


async def test_a_periodic_job_is_paused_and_resumed_and_every_page_says_so() -> None:
    # Given a schedule with a firing ahead, and a job that fires by another one as well
    worker = Worker(clock=FakeClock(NOW))
    worker.register("report", lambda: None)
    worker.periodic("@every 60s", "report")
    worker.periodic("0 0 1 1 *", "report")
    await schedule_ahead(worker.backend(), worker.registry.periodic, NOW)
    async with visiting(worker) as visitor:
        assert (await counts(visitor))["scheduled"] >= 3

        # When it is paused
        done = text_of((await visitor.send("/act/periodic", job="report", spec="@every 60s", act="pause")).text)

        # Then that is told, its firings are gone, and it is shown wherever one may look
        assert "paused report (@every 60s)" in done
        assert "1 periodic job paused: report" in text_of(check_page(await visitor.get("/")))
        found = await visitor.json("/counts")
        assert found["scheduled"] == 0
        assert [(one["job"], one["spec"]) for one in found["paused_periodic"]] == [("report", "@every 60s")]
        entries = {entry["spec"]: entry for entry in await visitor.json("/cron")}
        assert [entries[spec]["paused"] for spec in ("@every 60s", "0 0 1 1 *")] == [True, False]
        assert entries["@every 60s"]["paused_at"] == NOW
        page = await visitor.read("/cron")
        assert [len(re.findall(f'value="{act}"', page)) for act in ("pause", "resume", "run")] == [1, 1, 2]
        asked = text_of((await visitor.send("/act/periodic", job="report", spec="@every 60s", act="run")).text)
        assert "Its schedule stays paused." in asked

        # And it goes on when a program says so
        answer = await visitor.order("/cron", job="report", spec="@every 60s", act="resume")
        assert answer.json()["text"].startswith("resumed report (@every 60s): it fires again with its next time")
        assert (await counts(visitor))["scheduled"] >= 3
        assert (await visitor.json("/counts"))["paused_periodic"] == []
        assert (await visitor.order("/cron", job="report", spec="@every 60s", act="stop")).status_code == 400


async def test_periodic_jobs_cannot_be_paused_where_no_other_process_would_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker()
    worker.register("report", lambda: None)
    worker.periodic("@hourly", "report")
    monkeypatch.setattr(type(worker.backend()), "capabilities", worker.capabilities - {Capability.NOTES})
    async with visiting(worker) as visitor:
        page = await visitor.read("/cron")
        assert 'value="pause"' not in page
        assert "Periodic jobs cannot be paused here" in text_of(page)
        refused = await visitor.order("/cron", job="report", spec="@hourly", act="pause")
        assert (refused.status_code, refused.json()["error"]["type"]) == (409, "unsupported")
        assert (await visitor.order("/cron", job="report", spec="@hourly")).json()["done"] == 1


async def test_a_worker_is_told_to_go_quiet_and_to_end_after_a_question() -> None:
    worker = Worker()
    yard = await stock(worker)
    async with visiting(worker) as visitor:
        (quiet_form, *_) = [form for form in forms_of(await visitor.read("/workers")) if form.action == "/act/pool"]
        assert quiet_form.fields == {"pool": yard.pool.id}
        for act, question, done, shown in (
            ("quiet", "Have web-1 4711 go quiet?", "told web-1 4711 to go quiet", "web-1 4711 going quiet"),
            ("dismiss", "Have web-1 4711 end?", "told web-1 4711 to end", "web-1 4711 ending"),
        ):
            # When it is ordered, it is asked first
            asked = check_page(await visitor.send("/act/pool", pool=yard.pool.id, act=act))
            assert question in text_of(asked)
            assert shown not in text_of(await visitor.read("/workers"))
            # And done when it is confirmed
            page = text_of((await visitor.send("/act/pool", pool=yard.pool.id, act=act, sure="yes", count="0")).text)
            assert done in page
            assert shown in page
        orders = await worker.backend().beat(Beat(yard.pool), time.time())
        assert orders.stop


async def test_programs_tell_workers_as_json() -> None:
    worker = Worker()
    yard = await stock(worker)
    async with visiting(worker) as visitor:
        order = {"pool": yard.pool.id, "act": "dismiss"}
        asked = (await visitor.order("/pools", **order, dry_run=True)).json()
        assert asked == {
            "done": 0,
            "text": "Have web-1 4711 end? It fetches nothing more, and what it runs may finish.",
        }
        assert [pool["told"] for pool in await visitor.json("/pools")] == [""]
        assert (await visitor.order("/pools", **order)).json()["done"] == 1
        assert [pool["told"] for pool in await visitor.json("/pools")] == ["stop"]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"pool": "gone", "act": "quiet"}, "there is no worker process 'gone' now: it has ended, and nothing was done"),
        ({"pool": "<b>", "act": "dismiss"}, "there is no worker process '<b>' now"),
        ({"pool": "gone", "act": "purge"}, "workers cannot be told to 'purge'"),
        ({"pool": 7, "act": "quiet"}, "'pool' must be a text"),
        ({}, "workers cannot be told to ''"),
    ],
)
async def test_a_worker_that_is_not_there_is_told_nothing(order: dict[str, object], said: str) -> None:
    async with visiting(Worker()) as visitor:
        answer = await visitor.order("/pools", **order)
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]


async def test_workers_that_hear_nothing_are_offered_no_orders() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(store_of(Shy(worker.backend(), Capability.DIRECT))) as visitor:
        page = await visitor.read("/workers")
        assert "/act/pool" not in page
        assert "send the process a signal: USR1 to go quiet, TERM to end" in text_of(page)
        assert (await visitor.order("/pools", pool="p", act="quiet")).status_code == 409


async def test_a_pause_is_ended_also_of_a_schedule_that_the_application_has_no_more() -> None:
    # Given two schedules of a job that are paused, of which the application has one only
    worker = Worker(clock=FakeClock(NOW))
    worker.register("report", lambda: None)
    worker.periodic("@every 60s", "report")
    gone = worker.registry.periodic[0]
    for spec in ("@every 60s", "@every 90s"):
        await pause(worker.backend(), replace(gone, schedule=parse(spec)), NOW)
    async with visiting(worker) as visitor:
        # When the page of schedules is read, then both can be resumed there
        page = await visitor.read("/cron")
        assert "Paused, and not in this application" in text_of(page)
        forms = [form for form in forms_of(page) if 'value="resume"' in form.text]
        assert [form.fields["spec"] for form in forms] == ["@every 60s", "@every 90s"]

        # And nothing else can be done about the one that is not there
        refused = await visitor.order("/cron", job="report", spec="@every 90s", act="run")
        assert refused.status_code == 400

        # When it is resumed, then nothing warns of it any more
        told = text_of((await visitor.send(forms[1].action, **forms[1].fields, act="resume")).text)
        assert "resumed report (@every 90s), which this application does not have" in told
        assert [one["spec"] for one in (await visitor.json("/counts"))["paused_periodic"]] == ["@every 60s"]
        assert "not in this application" not in await visitor.read("/cron")
        again = await visitor.order("/cron", job="report", spec="@every 90s", act="resume")
        assert (again.status_code, "no job 'report' fires by" in again.text) == (400, True)


class Crowd(FlakyBackend):
    """Tells what is on a page only when so many pages were asked for."""

    def __init__(self, inner: Backend, most: int) -> None:
        super().__init__(inner)
        self._barrier = asyncio.Barrier(most)

    async def lines(self, page: str) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            await self._barrier.wait()
        return await super().lines(page)


async def test_what_is_asked_of_many_schedules_and_processes_is_asked_at_once() -> None:
    # Given two schedules, and three processes that tell how they are
    worker = Worker(clock=FakeClock(NOW))
    worker.register("report", lambda: None)
    for spec in ("@every 60s", "@every 90s"):
        worker.periodic(spec, "report")
    crowd = Crowd(worker.backend(), 3)
    pools = [
        PoolView(id=name, heartbeat_at=NOW, started_at=NOW, handlers=(), concurrency=1, host="h", pid=1)
        for name in ("a", "b", "c")
    ]
    for pool in pools:
        await tell(crowd, pool.id, Vitals(NOW, 1, 0.0))
    # When a console asks for all of it, then no question waits for another
    desk = Desk(console_store(worker)._replace(backend=lambda: crowd))
    assert len((await desk.agenda.plan()).entries or ()) == 2
    assert [*(await desk.vitals(pools))] == ["a", "b", "c"]


async def test_when_periodic_jobs_fire_is_told_while_the_store_is_away() -> None:
    # Given an application whose store does not answer
    worker = Worker(clock=FakeClock(NOW))
    worker.register("report", lambda: None)
    worker.periodic("@every 60s", "report")
    away = FlakyBackend(worker.backend(), {"lines": [error] * 4})
    async with visiting(console_store(worker)._replace(backend=lambda: away)) as visitor:
        # When it is asked when they fire
        page = await visitor.read("/cron")
        (entry,) = await visitor.json("/cron")

    # Then it says so, and what is not known
    assert "is not known" in text_of(page)
    assert [len(re.findall(f'value="{act}"', page)) for act in ("pause", "resume", "run")] == [0, 0, 1]
    assert (entry["paused"], entry["last"], len(entry["next"])) == (None, None, 3)
