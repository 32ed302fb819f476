"""`worksong top`, on the memory backend and on a real Redis."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

import pytest

from faces.console import NEVER, TARGET, Yard, dashboard
from worksong import Worker
from worksong.adapters import connect
from worksong.adapters.redis.address import parse
from worksong.adapters.redis.client import Redis
from worksong.domain.capability import Capability
from worksong.domain.errors import BackendRefused
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.faces.cli.target import Target
from worksong.faces.cli.top import dashboard as module
from worksong.faces.cli.top.dashboard import Dashboard
from worksong.faces.cli.top.panels import POOLS, rows
from worksong.ports.backend import SILENT_FOR, Backend, Listing, PoolView, Window
from worksong.service.glance import Glance
from worksong.testing import FakeClock, drain
from worksong.testing.flaky import FlakyBackend, error

SECRET = {"user_id": 7, "api_token": "hunter2"}
POISON = "\x1b]0;pwned\x07\x1b[2J\u202e[red]x\x9b31m"
SIZES = [(80, 24), (160, 48)]


@pytest.fixture
async def backend() -> Backend:
    return Worker().backend()


@pytest.fixture
def yard(backend: Backend) -> Yard:
    return Yard(backend)


async def failing_shop() -> Worker:
    """A worker whose jobs have run: one failed for good, one waits for another try, one waits for its time."""
    worker = Worker(name="shop")

    @worker.job(max_fails=1)
    async def charge(order: int) -> None:
        raise LookupError(f"order {order} is unknown")

    @worker.job(backoff=lambda job: 600.0)
    async def mail(user_id: int) -> None:
        raise TimeoutError("no answer from the mail server")

    await charge.aperform(order=7)
    await mail.aperform(user_id=1)
    await mail.aperform_in(900, user_id=2)
    await asyncio.to_thread(drain, worker)
    await mail.with_options(queue="letters").aperform(user_id=3)
    return worker


# looking


@pytest.mark.parametrize("size", SIZES)
async def test_the_jobs_of_a_worker_are_counted_and_listed(size: tuple[int, int]) -> None:
    worker = await failing_shop()
    async with dashboard(worker.backend(), size=size) as console:
        # Then every counter and every panel shows what there is, and no line is longer than the terminal
        screen = console.screen
        assert re.search(r"waiting +running +scheduled +retry +dead", screen)
        assert re.search(r"^ *1 +0 +1 +1 +1 *$", screen, re.MULTILINE)
        assert re.search(r"letters +1 ", screen)
        assert "live" in screen
        await console.press("4")
        assert "mail" in await console.look()
        await console.press("5")
        assert "TimeoutError: no answer" in await console.look()
        await console.press("6")
        screen = await console.look()
        assert "LookupError" in screen
        assert max(map(len, screen.splitlines())) <= size[0]
        assert len(screen.splitlines()) <= size[1]


async def test_the_head_names_the_place_and_no_secret(backend: Backend) -> None:
    async with dashboard(backend) as console:
        assert "worksong shop  redis://redis.example:6379/0" in console.screen
        assert "hunter2" not in console.screen


async def test_what_runs_is_shown_with_its_progress_and_without_what_is_hidden(backend: Backend, yard: Yard) -> None:
    await yard.run(Job("resize", {"card": "4111", **SECRET}, id="r1"), checkin="3/10")
    async with dashboard(backend) as console:
        await console.press("2")
        assert "\u25b0\u25b0\u25b0\u25b1\u25b1\u25b1\u25b1\u25b1\u25b1\u25b1 3/10" in console.screen
        assert '"user_id": 7' in (await console.press("enter"))
        assert "hunter2" not in console.screen
        assert "4111" not in console.screen
        await console.press("escape")
        await console.press("3")
        assert re.search(r"web-1 +4711 +1 ", console.screen)


async def test_empty_panels_say_so(backend: Backend) -> None:
    async with dashboard(backend) as console:
        assert "No queues yet" in console.screen
        for key, text in zip(
            "23456", ("Nothing runs", "No worker runs", "No scheduled", "No jobs wait", "No dead"), strict=True
        ):
            await console.press(key)
            assert text in await console.look()


async def test_details_tell_the_whole_error_and_hide_secrets(backend: Backend, yard: Yard) -> None:
    await yard.bury("Traceback:\n  line 1\nValueError: at redis://u:hunter2@host/", Job("mail", SECRET, id="m1"))
    async with dashboard(backend) as console:
        await console.press("6")
        await console.look()
        screen = await console.press("enter")
        assert "Traceback:" in screen
        assert "  line 1" in screen
        assert "ValueError: at redis://***@host/" in screen
        assert '"api_token": "***"' in screen
        assert "hunter2" not in screen
        assert "Esc close" not in await console.press("escape")


async def test_the_cursor_stays_on_its_row_when_rows_come_and_go(backend: Backend, yard: Yard) -> None:
    await yard.push(*(Job("x", queue=name) for name in ("b", "d", "f")))
    async with dashboard(backend) as console:
        await console.press("down")
        assert console.row.startswith("d ")
        await yard.push(Job("x", queue="a"), Job("x", queue="c"))
        await console.look()
        assert console.row.startswith("d ")
        # And when the panel was left and chosen again
        await console.press("2")
        await console.press("1")
        assert console.row.startswith("d ")


async def test_jobs_come_in_pages(backend: Backend, yard: Yard) -> None:
    later = time.time() + 600
    await yard.push(*(Job("x", {"n": f"n{at:02}."}, run_at=later + at) for at in range(45)))
    async with dashboard(backend) as console:
        await console.press("4")
        assert "page 1 of 3" in await console.look()
        assert "n00." in console.screen
        await console.press("right")
        await console.sees("page 2 of 3")
        await console.press("right")
        screen = await console.sees("page 3 of 3")
        assert "n44." in screen
        # When the jobs of the last page are gone, the one before is shown
        last = await backend.jobs(State.SCHEDULED, Window(5, 40))
        await backend.delete(State.SCHEDULED, [view.id for view in last])
        assert "page 2 of 2" in await console.look()
        await console.press("left")
        await console.sees("page 1 of 2")


async def test_a_filter_shows_only_what_matches(backend: Backend, yard: Yard) -> None:
    await yard.push(Job("x", queue="letters"), Job("x", queue="orders"), Job("x", queue="ordinary"))
    async with dashboard(backend) as console:
        await console.press("slash", "O", "R", "D")
        screen = console.screen
        assert "letters" not in screen
        assert "orders" in screen
        assert "ordinary" in screen
        assert "2 of 3 rows" in screen
        # Enter keeps it, and keys are commands again; Escape ends it
        await console.press("enter", "2", "1")
        assert "letters" not in console.screen
        assert "letters" in await console.press("escape")


# doing


async def test_p_pauses_and_resumes(backend: Backend, yard: Yard) -> None:
    await yard.push(Job("x", queue="letters"))
    async with dashboard(backend) as console:
        await console.press("p")
        await console.sees("paused: letters")
        assert (await backend.queues(0.0))[0].paused
        await console.press("p")
        await console.misses("paused: letters")
        assert not (await backend.queues(0.0))[0].paused


@pytest.mark.parametrize("answer", [("n",), ("escape",), ("enter",)])
async def test_nothing_is_purged_without_a_yes(backend: Backend, yard: Yard, answer: tuple[str, ...]) -> None:
    await yard.push(Job("x", queue="letters"), Job("x", queue="letters"))
    async with dashboard(backend) as console:
        await console.press("x")
        await console.is_asked("Purge letters? 2 waiting jobs would be dropped for good.")
        await console.press(*answer)
        assert console.question == ""
        assert (await backend.counts())[State.QUEUED] == 2


async def test_a_queue_is_purged_after_a_yes(backend: Backend, yard: Yard) -> None:
    await yard.push(Job("x", queue="letters"), Job("x", queue="letters"))
    async with dashboard(backend) as console:
        await console.press("x")
        await console.is_asked("Purge letters?")
        await console.press("y")
        await console.hears("purged letters: 2 jobs dropped")
        assert (await backend.counts())[State.QUEUED] == 0


async def test_a_dead_job_is_queued_again() -> None:
    worker = await failing_shop()
    backend = worker.backend()
    async with dashboard(backend) as console:
        await console.press("6")
        await console.look()
        await console.press("r")
        await console.hears("queued charge ")
        await console.sees("No dead jobs.")
        counts = await backend.counts()
        assert (counts[State.DEAD], counts[State.QUEUED]) == (0, 2)


@pytest.mark.parametrize(("panel", "state"), [("4", State.SCHEDULED), ("5", State.RETRY), ("6", State.DEAD)])
async def test_a_job_is_deleted_after_a_yes(panel: str, state: State) -> None:
    worker = await failing_shop()
    backend = worker.backend()
    async with dashboard(backend) as console:
        await console.press(panel)
        await console.look()
        await console.press("d")
        await console.is_asked("It would be dropped for good.")
        assert (await backend.counts())[state] == 1
        await console.press("y")
        await console.hears("deleted ")
        assert (await backend.counts())[state] == 0


async def test_a_scheduled_job_runs_early_only_after_a_yes(backend: Backend, yard: Yard) -> None:
    await yard.push(Job("x", run_at=time.time() + 600))
    async with dashboard(backend) as console:
        await console.press("4")
        await console.look()
        await console.press("r")
        await console.is_asked("now, and not at its time?")
        await console.press("y")
        await console.hears("queued x ")
        assert (await backend.counts())[State.QUEUED] == 1


@pytest.mark.parametrize(("key", "said", "queued"), [("R", "queued 3 dead jobs", 3), ("D", "deleted 3 dead jobs", 0)])
async def test_all_dead_jobs_at_once(backend: Backend, yard: Yard, key: str, said: str, queued: int) -> None:
    await yard.bury("no", Job("x"), Job("x"), Job("x"))
    async with dashboard(backend) as console:
        await console.press("6")
        await console.look()
        await console.press(key)
        await console.is_asked("all 3 dead jobs")
        await console.press("y")
        await console.hears(said)
        counts = await backend.counts()
        assert (counts[State.DEAD], counts[State.QUEUED]) == (0, queued)


async def test_a_running_job_is_cancelled_after_a_yes(backend: Backend, yard: Yard) -> None:
    await yard.run(Job("resize", id="r1"))
    async with dashboard(backend) as console:
        await console.press("2")
        await console.press("c")
        await console.is_asked("Cancel resize r1?")
        await console.press("y")
        await console.hears("told resize r1 to stop")


async def test_a_job_that_is_gone_meanwhile_is_said_to_be_gone(backend: Backend, yard: Yard) -> None:
    await yard.bury("no", Job("x", id="j1"))
    async with dashboard(backend) as console:
        await console.press("6")
        await console.look()
        await backend.delete(State.DEAD, None)
        await console.press("r")
        await console.hears("x j1 is not there any more")


async def test_read_only_offers_nothing_and_obeys_nothing(backend: Backend, yard: Yard) -> None:
    await yard.push(Job("x", queue="letters"))
    await yard.bury("no", Job("x"))
    async with dashboard(backend, read_only=True) as console:
        assert "read only" in console.screen
        assert "Pause" not in console.screen
        await console.press("p", "x")
        assert console.question == ""
        await console.press("6")
        await console.look()
        await console.press("r", "d", "R", "D")
        assert console.question == ""
        assert "purge" not in await console.press("question_mark")
        assert not (await backend.queues(0.0))[0].paused
        assert (await backend.counts())[State.DEAD] == 1


async def test_what_the_backend_cannot_do_is_not_offered(backend: Backend, yard: Yard) -> None:
    class Plain(FlakyBackend):
        @property
        def capabilities(self) -> frozenset[Capability]:
            return super().capabilities - {Capability.PAUSE}

    await yard.push(Job("x", queue="letters"))
    async with dashboard(Plain(backend)) as console:
        assert "Pause" not in console.screen
        assert "Purge" in console.screen


# trouble


async def test_while_the_server_is_away_a_banner_says_so_and_what_was_seen_stays(backend: Backend, yard: Yard) -> None:
    await yard.push(Job("x", queue="letters"))
    flaky, clock = FlakyBackend(backend), FakeClock()
    async with dashboard(flaky, clock=clock) as console:
        # When it goes away
        flaky.expect("counts", [error] * 2)
        await console.look()
        await clock.aadvance(30.0)
        screen = await console.look()
        # Then that is said, with the age of what is shown
        assert "No answer for 30 s, still trying; what you see is 30 s old" in screen
        assert "\u2716 away" in screen
        assert "letters" in screen
        # And when it is back, nothing is left of it
        screen = await console.look()
        assert "No answer" not in screen
        assert "live" in screen
        await console.hears("the server answers again, after 30 s")


async def test_an_order_to_a_server_that_is_away_is_said_to_have_failed(backend: Backend, yard: Yard) -> None:
    await yard.push(Job("x", queue="letters"))
    flaky = FlakyBackend(backend, {"pause": [error]})
    async with dashboard(flaky) as console:
        await console.press("p")
        await console.hears("planned to fail")
        assert not (await backend.queues(0.0))[0].paused


async def test_a_server_that_never_answers_counts_as_away(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(FlakyBackend):
        async def counts(self) -> dict[State, int]:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(module, "PATIENCE", 0.01)
    async with dashboard(Silent(backend)) as console:
        assert "nothing came in 10 ms" in console.screen


async def test_a_list_that_the_server_refuses_is_not_a_server_that_is_away(backend: Backend, yard: Yard) -> None:
    class Broken(FlakyBackend):
        refuses = True

        async def jobs(self, state: State, window: Window) -> Listing:
            if self.refuses:
                raise BackendRefused("WRONGTYPE it is no list")
            return await super().jobs(state, window)

    broken = Broken(backend)
    await yard.bury("boom", Job("charge"))
    async with dashboard(broken) as console:
        # Given a panel that the server cannot list, as of a key that is something else
        await console.press("6")
        screen = await console.sees("WRONGTYPE it is no list")
        assert "live" in screen
        # When it can again, then it is there
        broken.refuses = False
        assert "charge" in await console.look()
        assert "WRONGTYPE" not in console.screen


@pytest.mark.parametrize(("silence", "tone"), [(SILENT_FOR - 1, ""), (SILENT_FOR + 1, "warning")])
def test_a_beat_that_is_late_enough_to_take_the_pool_for_dead_stands_out(silence: float, tone: str) -> None:
    now = 1_700_000_000.0
    pool = PoolView(
        id="p", heartbeat_at=now - silence, started_at=now - 60, handlers=(), concurrency=1, host="web-1", pid=1
    )
    (row,) = rows(POOLS, Glance({}, (), (pool,), ()), None, now)
    assert row.cells[4].tone == tone


async def test_it_goes_on_looking_by_itself(backend: Backend) -> None:
    flaky = FlakyBackend(backend, {"counts": [error] * 3})
    app = Dashboard(flaky, TARGET, interval=0.01)
    async with app.run_test() as pilot:
        while flaky.calls["counts"] < 6:
            await pilot.pause(0.01)
        assert not app.contact.away


@pytest.mark.parametrize("panel", ["1", "2", "4", "5", "6"])
async def test_nothing_that_a_foreign_producer_wrote_reaches_the_terminal(
    backend: Backend, yard: Yard, panel: str
) -> None:
    job = Job(f"job {POISON}", {"name": POISON}, queue=f"queue {POISON}")
    await yard.bury(f"Error: {POISON}", job)
    await yard.fail(f"Error: {POISON}", job)
    await yard.push(job, Job(job.handler, job.args, queue=job.queue, run_at=time.time() + 600))
    await yard.run(job, checkin=f"at {POISON}")
    async with dashboard(backend, size=(160, 48)) as console:
        await console.press(panel)
        await console.look()
        drawn = [console.screen, await console.press("enter"), await console.press("escape", "p", "x")]
        for screen in drawn:
            assert all(line.isprintable() for line in screen.splitlines())
        assert "\\x1b]0;pwned" in drawn[0]
        assert "[red]x" in drawn[1]


async def test_without_colours_everything_is_told_in_words(
    backend: Backend, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    await yard.push(Job("x", queue="letters"))
    await backend.pause("letters")
    async with dashboard(backend, size=(80, 24)) as console:
        assert re.search(r"letters +1 .*paused", console.screen)


@pytest.mark.parametrize(("background", "light"), [("0;15", True), ("15;0", False), ("", False)])
async def test_it_suits_the_terminal_and_t_changes_that(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, background: str, light: bool
) -> None:
    monkeypatch.setenv("COLORFGBG", background)
    async with dashboard(backend) as console:
        assert console.app.current_theme.dark is not light
        await console.press("t")
        assert console.app.current_theme.dark is light


async def test_a_terminal_that_changes_its_size_is_followed(backend: Backend, yard: Yard) -> None:
    await yard.bury("no", Job("x", id="0123456789abcdef01234567"))
    app = Dashboard(backend, TARGET, interval=NEVER)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("6")
        await app.look()
        await pilot.pause()
        assert "0123456789abcdef01234567" not in app.export_screenshot()
        await pilot.resize_terminal(160, 48)
        await pilot.pause()
        assert "0123456789abcdef01234567" in app.export_screenshot()


# a real server


async def test_on_redis_what_a_foreign_producer_left_is_shown_and_put_right(redis_url: str) -> None:
    # Given a namespace with a good job, a dead one, and what no honest producer writes
    namespace = f"top-{uuid.uuid4().hex}"
    backend = connect(redis_url, namespace=namespace)
    yard, redis = Yard(backend), Redis(parse(redis_url))
    await yard.push(Job("mail", {"user_id": 1}))
    await yard.bury("LookupError: order 7", Job("charge", {"order": 7}))
    evil = f"evil{POISON}".encode()
    await redis.call("SADD", f"{namespace}:known_jobs", evil)
    await redis.call("LPUSH", f"{namespace}:jobs:".encode() + evil, b"\x1b[2Jno json")
    await redis.call("SET", f"{namespace}:jobs:mail:lock", "9" * 400)
    await redis.call("ZADD", f"{namespace}:scheduled", "inf", b'{"name":"never","id":"n","t":1,"args":{}}')
    async with dashboard(backend, target=Target(redis_url, namespace)) as console:
        # Then all of it is shown, and harmless
        assert re.search(r"mail +1 ", console.screen)
        assert "evil\\x1b]0;pwned" in console.screen
        assert "\x1b" not in console.screen
        await console.press("4")
        assert "never" in await console.look()
        # When the operator retries the dead job
        await console.press("6")
        await console.look()
        await console.press("r")
        await console.hears("queued charge ")
        # Then it waits again
        assert [view.count for view in await backend.queues(time.time()) if view.name == "charge"] == [1]
    await backend.erase()
    await backend.close()
    await redis.close()
