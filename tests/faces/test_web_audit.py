"""Who ordered what at the web console, and who may order how much."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from faces.stage import Cli
from faces.test_web_pages import Shy, stock, store_of
from faces.visitor import SAME, Visitor, check_page, text_of, visiting
from worksong import ConfigError, Worker
from worksong.domain.capability import Capability
from worksong.domain.job import new_id
from worksong.faces.cli import worksong as commands
from worksong.faces.web import Guest, Role
from worksong.ports.notebook import Line
from worksong.service import journal
from worksong.service.access import Caller, Scope
from worksong.service.journal import MOST
from worksong.service.passwords import COST, User, hashed, line_of, users_in
from worksong.service.rates import WRONG_TOKENS
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend, error

ADMIN, OPERATOR, VIEWER = "admin-token-0123456789", "operator-token-0123456789", "viewer-token-0123456789"
TOKENS = {"token": ADMIN, "operator_token": OPERATOR, "viewer_token": VIEWER}
PASSWORD = "correct horse battery"
EVE = User(Caller("eve", frozenset({Scope.MANAGE})), hashed(PASSWORD))
SWEEPING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/queues", {"queue": "letters", "act": "purge"}),
    ("/jobs", {"state": "dead", "act": "delete", "all": True}),
    ("/jobs", {"state": "dead", "act": "delete", "all": True, "q": "handler:charge"}),
    ("/pools", {"act": "dismiss"}),
    ("/pools", {"act": "quiet"}),
)
DAILY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/queues", {"queue": "letters", "act": "pause"}),
    ("/jobs", {"state": "retry", "act": "requeue", "all": True}),
    ("/jobs", {"state": "scheduled", "act": "delete", "ids": ["s1"]}),
    ("/jobs", {"state": "dead", "act": "requeue", "ids": ["d1"]}),
)


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


async def ordered(visitor: Visitor, **headers: str) -> list[dict[str, Any]]:
    """The orders that were written down, as programs read them."""
    answer = await visitor.get("/api/v1/audit", headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["orders"]
    return found


# who ordered what


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "redis"])
async def test_each_order_is_written_down_with_who_gave_it(
    scheme: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # Given a console over a backend that keeps notes, and people with different tokens
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}
    url = urls.get(scheme) or f"{request.getfixturevalue('redis_url')}?namespace={new_id()}"
    worker, clock = Worker(url), FakeClock(1_790_000_000.0)
    worker.clock = clock
    await stock(worker)
    async with visiting(worker, **TOKENS) as visitor:
        client, queue = visitor.client, "mail" if scheme == "redis" else "letters"
        # When they order things, by form and as programs, and one of them may not
        await client.post("/act/queue", data={"queue": queue, "act": "pause"}, headers={**SAME, **bearing(OPERATOR)})
        await clock.aadvance(60)
        order = {"state": "dead", "act": "requeue", "ids": ["d1", "nobody"]}
        await client.post("/api/v1/jobs", json=order, headers=bearing(ADMIN))
        await client.post("/api/v1/queues", json={"queue": queue, "act": "resume"}, headers=bearing(VIEWER))
        # Then an admin sees who they were, what was done and to how many, the latest first
        page = text_of(check_page(await visitor.get("/audit", headers=bearing(ADMIN))))
        assert "viewer refused 403 – POST /api/v1/queues" in page
        assert "admin queued 1 dead job 1 POST /api/v1/jobs" in page
        assert f"operator paused {queue} 1 POST /act/queue" in page
        found = await ordered(visitor, **bearing(ADMIN))
        assert [(one["who"], one["status"], one["done"]) for one in found] == [
            ("viewer", 403, 0),
            ("admin", 200, 1),
            ("operator", 303, 1),
        ]
        assert [one["at"] for one in found] == [1_790_000_060.0, 1_790_000_060.0, 1_790_000_000.0]
        assert {one["address"] for one in found} == {"127.0.0.1"}
    # And so does the console of another process
    if scheme != "memory":
        async with visiting(Worker(url), **TOKENS) as visitor:
            assert len(await ordered(visitor, **bearing(ADMIN))) == 3


async def test_neither_questions_nor_strangers_are_written_down() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, **TOKENS) as visitor:
        asked = {"state": "dead", "act": "delete", "ids": ["d1"]}
        await visitor.client.post("/api/v1/jobs", json={**asked, "dry_run": True}, headers=bearing(ADMIN))
        question = await visitor.client.post(
            "/act/jobs", data={"state": "dead", "act": "delete", "id": "d1"}, headers={**SAME, **bearing(ADMIN)}
        )
        assert "Sure?" in question.text
        await visitor.client.post("/login", data={"token": ADMIN}, headers=SAME)
        for _ in range(3):
            refused = await visitor.client.post("/api/v1/jobs", json=asked, headers=bearing("nobody-has-this-token"))
            assert refused.status_code == 401
        assert await ordered(visitor, **bearing(ADMIN)) == []


@pytest.mark.parametrize("keeps", [True, False])
async def test_who_only_looks_pushes_no_order_out(keeps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an order, and room for a few more
    monkeypatch.setattr(journal, "MOST", 5)
    monkeypatch.setattr(journal, "MOST_REFUSALS", 3)
    worker = Worker()
    await stock(worker)
    kept = worker.backend() if keeps else Shy(worker.backend(), Capability.NOTES)
    async with visiting(store_of(kept), **TOKENS) as visitor:
        order = {"queue": "letters", "act": "pause"}
        await visitor.client.post("/api/v1/queues", json=order, headers=bearing(OPERATOR))
        # When somebody who only looks tries again and again
        for _ in range(10):
            refused = await visitor.client.post("/api/v1/queues", json=order, headers=bearing(VIEWER))
            assert refused.status_code == 403
        # Then the order is still there, and the last tries are
        found = await ordered(visitor, **bearing(ADMIN))
        assert [one["who"] for one in sorted(found, key=lambda one: one["who"])] == ["operator", *["viewer"] * 3]


async def test_where_the_backend_keeps_no_notes_the_process_does(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(store_of(Shy(worker.backend(), Capability.NOTES))) as visitor:
        with caplog.at_level(logging.INFO, "worksong.audit"):
            await visitor.order("/queues", queue="letters", act="pause")
        assert "The orders that this process has heard: the store keeps none" in text_of(await visitor.read("/audit"))
        assert [one["told"] for one in await ordered(visitor)] == ["paused letters"]
    # And the log has it anyway
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "worksong.audit"]
    assert [(line["who"], line["did"], line["status"]) for line in lines] == [
        ("anybody", "POST /api/v1/queues: paused letters", 200)
    ]


async def test_an_order_that_could_not_be_written_down_is_brought_with_the_next_one() -> None:
    # Given a backend that is away just when an order is to be written down
    worker = Worker()
    await stock(worker)
    flaky = FlakyBackend(worker.backend(), {"jot": [error]})
    async with visiting(store_of(flaky)) as visitor:
        done = await visitor.order("/queues", queue="letters", act="pause")
        # Then it is done all the same, and known here
        assert done.json()["text"] == "paused letters"
        assert [one["told"] for one in await ordered(visitor)] == ["paused letters"]
        assert await worker.backend().lines("orders") == []
        # And kept together with the next one
        await visitor.order("/queues", queue="letters", act="resume")
        assert [one["told"] for one in await ordered(visitor)] == ["resumed letters", "paused letters"]
        assert len(await worker.backend().lines("orders")) == 2


async def test_the_page_is_bounded_and_shows_hostile_texts_as_texts() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, role_of=lambda scope: Guest(Role.ADMIN, "<b>mallory</b>\ud800")) as visitor:
        for _ in range(3):
            await visitor.order("/queues", queue="letters", act="pause")
        line = (await worker.backend().lines("orders"))[0]
        await worker.backend().jot([Line("orders", text, MOST, 60.0) for text in ("{", "[]", '{"at": 1}')], 0.0)
        await worker.backend().jot([Line("orders", line, MOST, 60.0) for _ in range(MOST)], 0.0)
        page = check_page(await visitor.get("/audit"))
        assert "<b>mallory" not in page
        assert page.count("data-row") == MOST


# who may order how much


async def test_an_operator_does_daily_business_and_an_admin_what_sweeps() -> None:
    worker = Worker()
    yard = await stock(worker)
    async with visiting(worker, **TOKENS) as visitor:
        for path, order in SWEEPING:
            answers = [
                await visitor.client.post(
                    f"/api/v1{path}", json={"pool": yard.pool.id, **order, **more}, headers=bearing(OPERATOR)
                )
                for more in ({}, {"dry_run": True})
            ]
            assert [answer.status_code for answer in answers] == [403, 403]
            assert "only an admin" in answers[0].json()["error"]["message"]
        asked = {**SAME, **bearing(OPERATOR)}
        form = await visitor.client.post("/act/queue", data={"queue": "letters", "act": "purge"}, headers=asked)
        assert form.status_code == 403
        old = await visitor.client.post("/delete_all_dead_jobs", headers=bearing(OPERATOR))
        assert old.status_code == 403
        assert "only an admin" in old.json()["error"]
        # Nothing of it was done, and what belongs to every day is
        assert (await visitor.get("/api/v1/counts", headers=bearing(OPERATOR))).json()["dead"] == 1
        for path, order in DAILY:
            answer = await visitor.client.post(f"/api/v1{path}", json=order, headers=bearing(OPERATOR))
            assert answer.json()["done"] == 1, order
        # And an admin may do the rest
        purge = await visitor.client.post(
            "/api/v1/queues", json={"queue": "letters", "act": "purge"}, headers=bearing(ADMIN)
        )
        assert purge.status_code == 200


async def test_pages_offer_to_everybody_what_he_may_do() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, **TOKENS) as visitor:
        pages = {
            token: [
                check_page(await visitor.get(path, headers=bearing(token)))
                for path in ("/queues", "/workers", "/jobs?state=dead")
            ]
            for token in (ADMIN, OPERATOR, VIEWER)
        }
        offers = {token: [text.count('name="act"') for text in texts] for token, texts in pages.items()}
        assert offers[VIEWER] == [0, 0, 0]
        assert all(admin > operator for admin, operator in zip(offers[ADMIN], offers[OPERATOR], strict=True))
        assert 'href="/audit"' in pages[ADMIN][0]
        assert 'href="/audit"' not in pages[OPERATOR][0]
        for token in (OPERATOR, VIEWER):
            assert (await visitor.get("/audit", headers=bearing(token))).status_code == 403
            assert (await visitor.get("/api/v1/audit", headers=bearing(token))).status_code == 403


# passwords


async def test_somebody_signs_in_with_a_name_and_a_password() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, users=[EVE]) as visitor:
        assert 'name="password"' in check_page(await visitor.get("/login"))
        for name, password in (("eve", "wrong"), ("adam", PASSWORD), ("", PASSWORD), ("eve", "x" * 2000)):
            wrong = await visitor.send("/login", name=name, password=password)
            assert wrong.status_code == 401
        assert "No such name and password" in check_page(wrong)
        # When it is right, the browser keeps a sign, which holds no word of it
        answer = await visitor.client.post("/login", data={"name": "eve", "password": PASSWORD}, headers=SAME)
        assert answer.status_code == 303
        assert "eve" not in answer.headers["set-cookie"]
        # Then what she does is done under her name
        await visitor.send("/act/queue", queue="letters", act="pause")
        (line,) = await worker.backend().lines("orders")
        assert json.loads(line)["who"] == "eve"
        # And another password makes the sign worthless
    again = User(EVE.caller, hashed(PASSWORD))
    sign = answer.headers["set-cookie"].partition(";")[0]
    async with visiting(Worker(), users=[again]) as visitor:
        assert (await visitor.get("/", headers={"Cookie": sign})).status_code == 303


async def test_programs_give_name_and_password_with_each_request() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, users=[EVE], **TOKENS) as visitor:
        assert (await visitor.get("/api/v1/counts", headers=basic("eve", PASSWORD))).json()["dead"] == 1
        for headers in (
            basic("eve", "wrong"),
            basic("adam", PASSWORD),
            {"Authorization": "Basic %"},
            {"Authorization": "Basic"},
        ):
            refused = await visitor.get("/api/v1/counts", headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == 'Bearer, Basic realm="worksong"'
        # A browser is not asked for it by itself: the page to sign in does that
        page = await visitor.get("/", headers={"HX-Request": "true"})
        assert page.headers["www-authenticate"] == "Bearer"


async def test_who_guesses_is_not_listened_to_and_keeps_nobody_out_who_was_right_before() -> None:
    worker, clock = Worker(), FakeClock()
    worker.clock = clock
    async with visiting(worker, users=[EVE], **TOKENS) as visitor:
        # Given a program that was let in, and another that guesses from the same address
        for headers in (basic("eve", PASSWORD), bearing(ADMIN)):
            assert (await visitor.get("/api/v1/counts", headers=headers)).status_code == 200
        for number in range(WRONG_TOKENS.burst):
            assert (await visitor.get("/api/v1/counts", headers=bearing(f"guess-{number}"))).status_code == 401
        # Then it is told to wait, whatever it tries, and also at the page to sign in
        for headers in (bearing("guess"), basic("eve", "guess"), bearing(VIEWER)):
            refused = await visitor.get("/api/v1/counts", headers=headers)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
        assert (await visitor.send("/login", token=VIEWER)).status_code == 429
        # And who was right before goes on
        for headers in (basic("eve", PASSWORD), bearing(ADMIN)):
            assert (await visitor.get("/api/v1/counts", headers=headers)).status_code == 200
        # And in a minute anybody may try again
        await clock.aadvance(60)
        assert (await visitor.get("/api/v1/counts", headers=bearing(VIEWER))).status_code == 200


async def test_who_guesses_in_parallel_gets_no_more_guesses() -> None:
    worker, burst = Worker(), int(WRONG_TOKENS.burst)
    worker.clock = FakeClock()

    async with visiting(worker, users=[EVE]) as visitor:

        async def answered(password: str) -> int:
            return (await visitor.get("/api/v1/counts", headers=basic("eve", password))).status_code

        # Given a program that sends many requests at once, with the right password: it is no guess
        assert await asyncio.gather(*(answered(PASSWORD) for _ in range(burst + 5))) == [200] * (burst + 5)
        # When another sends as many guesses at once, then only so many are looked at as one by one
        guessed = await asyncio.gather(*(answered(f"guess-{number}") for number in range(burst + 5)))
        assert sorted(guessed) == [401] * burst + [429] * 5
        # And who was right goes on
        assert await answered(PASSWORD) == 200


async def test_passwords_are_compared_beside_the_event_loop() -> None:
    async with visiting(Worker(), users=[EVE]) as visitor:
        answers = await asyncio.gather(
            *(visitor.get("/api/v1/counts", headers=basic("eve", PASSWORD if n % 2 else "no")) for n in range(6))
        )
        assert [answer.status_code for answer in answers] == [401, 200] * 3


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ([], "names no users"),
        (["# nobody", ""], "names no users"),
        (["eve"], "no role of 'eve'"),
        (["e v e:operator:x"], "is no name of a user"),
        (["eve:king:x"], "'king' is no role"),
        (["eve:operator:"], "no digest of a password"),
        (["eve:operator:scrypt$1$8$1$AAAA$AAAA"], "no digest of a password"),
        ([f"eve:operator:scrypt${1 << 40}$8$1$AAAA${'A' * 43}="], "no digest of a password"),
        ([f"eve:operator:scrypt$20000$8$1$AAAA${'A' * 43}="], "no digest of a password"),
        ([f"eve:operator:scrypt$x$8$1$AAAA${'A' * 43}="], "no digest of a password"),
        ([line_of("eve", "viewer", EVE.digest), line_of("eve", "admin", EVE.digest)], "names a user twice"),
    ],
)
def test_a_file_of_users_that_means_nothing_is_refused(lines: list[str], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        users_in(lines, "users.txt")


def test_the_command_prints_a_line_for_the_file_of_users(bare: Cli, tmp_path: Path) -> None:
    made = CliRunner().invoke(commands, ["password", "eve", "--role", "admin"], input=f"{PASSWORD}\n{PASSWORD}\n")
    assert made.exit_code == 0, made.output
    line = made.stdout.strip().splitlines()[-1]
    assert PASSWORD not in line
    (eve,) = users_in([line], "the line")
    assert eve.proves(PASSWORD)
    assert not eve.proves(PASSWORD.upper())
    assert eve.digest.cost == COST
    # And short ones, and files that are not there, are refused
    short = CliRunner().invoke(commands, ["password", "eve"], input="short\nshort\n")
    assert "12 characters at least" in short.output
    gone = bare("ui", "--users", str(tmp_path / "nowhere"))
    assert gone.exit_code == 1
    assert "cannot be read" in gone.output


def test_the_command_lists_orders(cli: Cli, redis_url: str) -> None:
    assert "Nobody has ordered anything" in cli("audit").output

    async def order(url: str) -> None:
        worker = Worker(url)
        await stock(worker)
        async with visiting(worker) as visitor:
            await visitor.order("/queues", queue="mail", act="pause")

    asyncio.run(order(cli.url))
    assert "paused mail" in cli("audit").output
    (found,) = cli.json("audit")
    assert (found["who"], found["told"], found["status"]) == ("anybody", "paused mail", 200)
