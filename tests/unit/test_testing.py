"""`worksong.testing` as users meet it: the clock, jobs run inline, drained, and looked at."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

import pytest

from worksong import (
    Context,
    Discard,
    InvalidArguments,
    Job,
    JobFailed,
    Retry,
    Snooze,
    UnknownHandler,
    Worker,
    current,
)
from worksong.domain.outcome import Buried, Discarded, Done, Retried, Snoozed
from worksong.testing import (
    FakeClock,
    adrain,
    aenqueued,
    assert_enqueued,
    drain,
    enqueued,
    inline,
)

DAY = 86400.0


class Mailer:
    """A worker with two job types, and what they did."""

    def __init__(self) -> None:
        self.clock = FakeClock(start=1_700_000_000.0)
        self.worker = Worker(clock=self.clock)
        self.sent: list[object] = []
        self.fails = 0

        @self.worker.job(backoff=lambda _: 3 * DAY)
        async def send_email(user_id: int, subject: str = "hi") -> str:
            if self.fails:
                self.fails -= 1
                raise ConnectionError("the mail server is away")
            self.sent.append(user_id)
            return f"{subject} {user_id}"

        @self.worker.job()
        def call(user_id: int) -> int:
            self.sent.append((threading.current_thread(), user_id))
            return user_id

        self.send_email, self.call = send_email, call


@pytest.fixture
def mailer() -> Mailer:
    return Mailer()


class TestFakeClock:
    def test_it_stands_still(self) -> None:
        clock = FakeClock(start=100.0)
        assert (clock.now(), clock.now(), clock.monotonic()) == (100.0, 100.0, 0.0)

    def test_without_a_start_it_shows_the_present_second(self) -> None:
        assert abs(FakeClock().now() - time.time()) < 5

    def test_both_readings_advance(self) -> None:
        clock = FakeClock(start=100.0)
        clock.advance(2.5)
        assert (clock.now(), clock.monotonic()) == (102.5, 2.5)

    def test_time_does_not_go_back(self) -> None:
        with pytest.raises(ValueError, match="set_wall"):
            FakeClock().advance(-1)

    async def test_stepping_the_wall_clock_wakes_nobody(self) -> None:
        clock = FakeClock(start=100.0)
        asleep = asyncio.create_task(clock.sleep(10))
        await asyncio.sleep(0)
        clock.set_wall(5000.0)
        assert (clock.now(), clock.monotonic(), asleep.done()) == (5000.0, 0.0, False)
        await clock.aadvance(10)
        assert asleep.done()

    async def test_sleepers_wake_when_due_soonest_first(self) -> None:
        # Given three who sleep
        clock, woken = FakeClock(), list[int]()

        async def doze(seconds: int) -> None:
            await clock.sleep(seconds)
            woken.append(seconds)

        asleep = [asyncio.create_task(doze(seconds)) for seconds in (30, 10, 20)]
        await asyncio.sleep(0)
        # When less time passes than the first one wants, then more
        await clock.aadvance(9.5)
        assert woken == []
        await clock.aadvance(15)
        assert woken == [10, 20]
        await clock.aadvance(1000)
        # Then all are awake, in order
        assert woken == [10, 20, 30]
        assert clock.sleepers == 0
        await asyncio.gather(*asleep)

    async def test_who_sleeps_again_after_a_jump_wakes_at_the_next_one(self) -> None:
        clock, ticks = FakeClock(), list[float]()

        async def tick() -> None:
            while True:
                await clock.sleep(1)
                ticks.append(clock.monotonic())

        ticking = asyncio.create_task(tick())
        await clock.aadvance(0)
        for jump in (1, 3600, 1):
            await clock.aadvance(jump)
        assert ticks == [1, 3601, 3602]
        ticking.cancel()

    async def test_a_cancelled_sleeper_is_forgotten(self) -> None:
        clock = FakeClock()
        asleep = asyncio.create_task(clock.sleep(10))
        await asyncio.sleep(0)
        asleep.cancel()
        await asyncio.wait([asleep])
        assert clock.sleepers == 0
        clock.advance(20)

    async def test_no_time_is_no_sleep(self) -> None:
        await FakeClock().sleep(0)
        await FakeClock().sleep(-1)

    async def test_a_sleeper_in_another_thread_wakes(self) -> None:
        clock = FakeClock()
        in_bed = threading.Event()

        async def doze() -> None:
            asyncio.get_running_loop().call_soon(in_bed.set)
            await clock.sleep(60)

        asleep = asyncio.create_task(asyncio.to_thread(asyncio.run, doze()))
        await asyncio.to_thread(in_bed.wait)
        clock.advance(60)
        await asleep


class TestInline:
    def test_perform_runs_the_job_before_it_returns(self, mailer: Mailer) -> None:
        with inline(mailer.worker) as ran:
            handle = mailer.send_email.perform(user_id=17)
            assert mailer.sent == [17]
        assert [(job.id, outcome) for job, outcome in ran] == [(handle.id, Done("hi 17"))]

    async def test_aperform_runs_the_job_before_it_returns(self, mailer: Mailer) -> None:
        with inline(mailer.worker):
            await mailer.send_email.aperform(user_id=17)
            assert mailer.sent == [17]

    def test_a_plain_function_runs_in_the_thread_that_called(self, mailer: Mailer) -> None:
        with inline(mailer.worker):
            mailer.call.perform(user_id=17)
        assert mailer.sent == [(threading.current_thread(), 17)]

    async def test_a_plain_function_runs_beside_a_loop_that_waits(self, mailer: Mailer) -> None:
        with inline(mailer.worker) as ran:
            await mailer.call.aperform(user_id=17)
        assert ran[0].outcome == Done(17)

    def test_after_the_block_perform_enqueues_again(self, mailer: Mailer) -> None:
        with inline(mailer.worker):
            pass
        mailer.send_email.perform(user_id=17)
        assert mailer.sent == []
        assert len(enqueued(mailer.worker)) == 1

    def test_what_a_handler_raises_comes_out_of_perform(self, mailer: Mailer) -> None:
        mailer.fails = 1
        with inline(mailer.worker) as ran, pytest.raises(ConnectionError, match="mail server"):
            mailer.send_email.perform(user_id=17)
        assert isinstance(ran[0].outcome, Retried)
        assert enqueued(mailer.worker) == []

    async def test_what_a_handler_raises_comes_out_of_aperform(self, mailer: Mailer) -> None:
        mailer.fails = 1
        with inline(mailer.worker), pytest.raises(ConnectionError, match="mail server"):
            await mailer.send_email.aperform(user_id=17)

    def test_what_a_plain_function_raises_comes_out_too(self) -> None:
        worker = Worker()

        @worker.job(max_fails=1)
        def fail() -> None:
            raise ValueError("no")

        with inline(worker) as ran, pytest.raises(ValueError, match="no"):
            fail.perform()
        assert ran[0].outcome == Buried("ValueError: no")

    @pytest.mark.parametrize("failure", [SystemExit(3), KeyboardInterrupt()])
    def test_a_handler_that_ends_the_program_has_failed(self, failure: BaseException) -> None:
        worker = Worker()

        @worker.job()
        async def leave() -> None:
            raise failure

        with inline(worker):
            for _ in range(2):  # the loop behind it lives on
                with pytest.raises(JobFailed, match=type(failure).__name__):
                    leave.perform()

    @pytest.mark.parametrize(
        ("verdict", "outcome"),
        [
            (Retry(5), Retried(1_700_000_005.0, "asked for a retry")),
            (Snooze(5), Snoozed(1_700_000_005.0)),
            (Discard("no use"), Discarded("no use")),
        ],
        ids=["retry", "snooze", "discard"],
    )
    @pytest.mark.parametrize("raised", [True, False], ids=["raised", "returned"])
    def test_an_ending_that_the_handler_chooses_is_noted(
        self, verdict: Exception, outcome: object, raised: bool
    ) -> None:
        worker = Worker(clock=FakeClock(start=1_700_000_000.0))

        @worker.job()
        async def choose() -> Exception:
            if raised:
                raise verdict
            return verdict

        with inline(worker) as ran:
            choose.perform()
        assert ran[0].outcome == outcome

    def test_what_the_job_type_discards_is_noted(self) -> None:
        worker = Worker()

        @worker.job(discard_on=KeyError)
        def look_up() -> None:
            raise KeyError("gone")

        with inline(worker) as ran:
            look_up.perform()
        assert isinstance(ran[0].outcome, Discarded)

    def test_jobs_for_later_run_at_once(self, mailer: Mailer) -> None:
        with inline(mailer.worker):
            mailer.send_email.perform_in(timedelta(days=1), user_id=1)
            mailer.send_email.perform_at(datetime(2030, 1, 1, tzinfo=UTC), user_id=2)
        assert mailer.sent == [1, 2]

    def test_jobs_for_later_are_enqueued_when_told(self, mailer: Mailer) -> None:
        with inline(mailer.worker, scheduled=False):
            mailer.send_email.perform_in(60, user_id=1)
            mailer.send_email.perform(user_id=2)
        assert mailer.sent == [2]
        assert [view.job.args for view in enqueued(mailer.worker)] == [{"user_id": 1}]

    def test_jobs_enqueued_by_a_job_run_within_it(self) -> None:
        worker, steps = Worker(), list[str]()

        @worker.job()
        def inner(name: str) -> None:
            steps.append(name)

        @worker.job()
        def outer() -> None:
            steps.append("outer begins")
            inner.perform("from a function")
            steps.append("outer ends")

        @worker.job()
        async def loop() -> None:
            await inner.aperform("from the loop")

        with inline(worker):
            outer.perform()
            loop.perform()
        assert steps == ["outer begins", "from a function", "outer ends", "from the loop"]

    def test_middleware_and_context_are_those_of_the_worker(self) -> None:
        class MyContext(Context):
            tenant: str = ""

        worker = Worker(context=MyContext)

        @worker.middleware
        async def set_tenant(ctx: MyContext, call_next: Callable[[MyContext], Awaitable[object]]) -> object:
            ctx.tenant = "acme"
            return await call_next(ctx)

        @worker.job()
        def report(ctx: MyContext) -> tuple[str, bool]:
            return ctx.tenant, current() is ctx

        with inline(worker) as ran:
            report.perform()
        assert ran[0].outcome == Done(("acme", True))

    def test_a_timeout_is_a_failure(self) -> None:
        worker = Worker()

        @worker.job(timeout=0.01)
        async def hang() -> None:
            await asyncio.Event().wait()

        with inline(worker), pytest.raises(TimeoutError, match="timed out"):
            hang.perform()

    def test_arguments_go_through_json(self) -> None:
        worker, seen = Worker(), list[object]()

        @worker.job()
        def keep(args: dict[str, object]) -> None:
            seen.append(args)

        given = {"pair": (1, 2)}
        with inline(worker):
            worker.perform(Job("keep", given))
        assert seen == [{"pair": [1, 2]}]

    def test_arguments_that_cannot_be_carried_are_refused(self, mailer: Mailer) -> None:
        with inline(mailer.worker), pytest.raises(InvalidArguments):
            mailer.worker.perform(Job("send_email", {"user_id": {1, 2}}))

    def test_a_job_of_an_unknown_type_is_refused(self, mailer: Mailer) -> None:
        with inline(mailer.worker), pytest.raises(UnknownHandler):
            mailer.worker.perform(Job("nobody"))

    def test_no_server_is_needed(self) -> None:
        worker, ran_with = Worker("redis://127.0.0.1:1/0"), list[int]()

        @worker.job()
        def count(number: int) -> None:
            ran_with.append(number)

        with inline(worker):
            count.perform(7)
            with pytest.raises(InvalidArguments, match="by name only"):
                worker.perform(Job("count", [7]))
            with pytest.raises(UnknownHandler):
                worker.perform(Job("nobody"))
        assert ran_with == [7]

    def test_an_equal_unique_job_is_refused_while_one_runs(self) -> None:
        worker, refused = Worker(), list[object]()

        @worker.job(unique="until_done")
        def once() -> None:
            refused.append(once.perform())

        with inline(worker):
            assert once.perform() is not None
            assert once.perform() is not None
        assert refused == [None, None]

    def test_an_id_runs_once(self, mailer: Mailer) -> None:
        with inline(mailer.worker):
            for _ in range(2):
                mailer.send_email.with_options(id="order-17").perform(user_id=17)
        assert mailer.sent == [17]

    def test_many_jobs_run_in_their_order(self, mailer: Mailer) -> None:
        with inline(mailer.worker):
            mailer.worker.perform_many([mailer.send_email.job(user_id=n) for n in range(5)])
        assert mailer.sent == [0, 1, 2, 3, 4]

    def test_context_variables_of_the_test_are_not_those_of_the_job(self) -> None:
        worker, variable = Worker(), ContextVar("variable", default="its own")

        @worker.job()
        def read() -> str:
            return variable.get()

        variable.set("the test's")
        with inline(worker) as ran:
            read.perform()
        assert ran[0].outcome == Done("its own")

    def test_an_isolated_coroutine_function_has_a_loop_of_its_own(self) -> None:
        worker = Worker()

        @worker.job(isolate="thread")
        async def double(number: int) -> int:
            await asyncio.sleep(0)
            return 2 * number

        with inline(worker) as ran:
            double.perform(4)
        assert ran[0].outcome == Done(8)


class TestDrain:
    def test_all_that_waits_is_run(self, mailer: Mailer) -> None:
        for user_id in range(100):
            mailer.send_email.perform(user_id)
        stats = drain(mailer.worker)
        assert (stats.done, stats.ran) == (100, 100)
        assert sorted(map(str, mailer.sent)) == sorted(map(str, range(100)))

    async def test_all_that_waits_is_run_in_async_code(self, mailer: Mailer) -> None:
        await mailer.send_email.aperform(user_id=1)
        await mailer.call.aperform(user_id=2)
        assert (await adrain(mailer.worker)).done == 2

    def test_an_empty_queue_is_drained_at_once(self, mailer: Mailer) -> None:
        assert drain(mailer.worker).ran == 0

    def test_a_retry_after_three_days_runs_in_milliseconds(self, mailer: Mailer) -> None:
        # Given a job whose first try fails, and which waits three days for the next
        mailer.fails = 1
        mailer.send_email.perform(user_id=17)
        assert drain(mailer.worker).retried == 1
        # When too little time passes, it stays
        mailer.clock.advance(2 * DAY)
        assert drain(mailer.worker).ran == 0
        # When it is due, it is run
        mailer.clock.advance(DAY)
        assert drain(mailer.worker).done == 1
        assert mailer.sent == [17]

    def test_jobs_for_later_stay_until_they_are_due(self, mailer: Mailer) -> None:
        mailer.send_email.perform_in(timedelta(hours=1), user_id=17)
        assert drain(mailer.worker).ran == 0
        mailer.clock.advance(3600)
        assert drain(mailer.worker).done == 1

    def test_what_jobs_enqueue_is_run_too(self) -> None:
        worker = Worker(clock=FakeClock())

        @worker.job()
        async def count_down(number: int) -> None:
            if number:
                await count_down.aperform(number - 1)

        count_down.perform(10)
        assert drain(worker).done == 11

    def test_a_retry_that_is_due_at_once_is_run_at_once(self) -> None:
        worker = Worker(clock=FakeClock())

        @worker.job(max_fails=3, backoff=lambda _: 0.0)
        def fail() -> None:
            raise ValueError("no")

        fail.perform()
        stats = drain(worker)
        assert (stats.retried, stats.buried, stats.ran) == (2, 1, 3)
        assert [view.job.fails for view in worker.admin.dead()] == [3]

    def test_afterwards_the_worker_enqueues_and_runs_as_before(self, mailer: Mailer) -> None:
        drain(mailer.worker)
        mailer.send_email.perform(user_id=1)
        assert len(enqueued(mailer.worker)) == 1
        drain(mailer.worker)
        mailer.worker.start()
        mailer.worker.stop()
        assert mailer.sent == [1]

    def test_a_paused_queue_is_left_alone(self, mailer: Mailer) -> None:
        mailer.send_email.perform(user_id=1)
        mailer.worker.admin.pause("default")
        assert drain(mailer.worker).ran == 0

    def test_no_periodic_jobs_are_scheduled(self) -> None:
        worker = Worker(clock=FakeClock())

        @worker.periodic("* * * * *")
        @worker.job()
        def tick() -> None: ...

        assert drain(worker).ran == 0
        assert enqueued(worker) == []

    async def test_a_running_worker_hears_the_clock_too(self, mailer: Mailer) -> None:
        # Given a running worker and a job for tomorrow
        async with mailer.worker:
            await mailer.send_email.aperform_in(DAY, user_id=17)
            await mailer.clock.aadvance(DAY - 1)
            assert mailer.sent == []
            # When the day has passed, upkeep promotes it and the lane runs it
            await mailer.clock.aadvance(2)
            assert mailer.sent == [17]


class TestEnqueued:
    def test_what_waits_and_what_is_for_later_is_told(self, mailer: Mailer) -> None:
        mailer.send_email.perform(user_id=1)
        mailer.send_email.perform_in(60, user_id=2)
        mailer.call.perform(user_id=3)
        assert [view.job.args for view in enqueued(mailer.worker)] == [{"user_id": 1}, {"user_id": 3}, {"user_id": 2}]

    def test_one_job_type_can_be_asked_for(self, mailer: Mailer) -> None:
        mailer.send_email.perform(user_id=1)
        mailer.call.perform(user_id=3)
        by_name, by_type = enqueued(mailer.worker, "call"), enqueued(mailer.worker, mailer.call)
        assert [view.handler for view in by_name] == [view.handler for view in by_type] == ["call"]

    async def test_async_code_can_ask_too(self, mailer: Mailer) -> None:
        await mailer.send_email.aperform(user_id=1)
        assert len(await aenqueued(mailer.worker, mailer.send_email)) == 1

    def test_what_ran_or_waits_for_its_retry_is_not_told(self, mailer: Mailer) -> None:
        mailer.fails = 1
        mailer.send_email.perform(user_id=1)
        drain(mailer.worker)
        assert enqueued(mailer.worker) == []

    def test_many_jobs_are_all_told(self, mailer: Mailer) -> None:
        mailer.worker.perform_many([mailer.send_email.job(user_id=n) for n in range(2500)])
        assert len(enqueued(mailer.worker)) == 2500

    def test_an_enqueued_job_is_found_by_some_of_its_arguments(self, mailer: Mailer) -> None:
        mailer.send_email.perform(user_id=1, subject="hello")
        assert assert_enqueued(mailer.worker, "send_email", user_id=1).job.args == {"user_id": 1, "subject": "hello"}
        assert_enqueued(mailer.worker, mailer.send_email, subject="hello")
        assert_enqueued(mailer.worker, mailer.send_email)

    def test_arguments_are_compared_as_they_are_carried(self) -> None:
        worker = Worker()

        @worker.job()
        def remind(when: datetime, users: tuple[int, ...]) -> None: ...

        when = datetime(2030, 1, 1, tzinfo=UTC)
        remind.perform(when=when, users=(1, 2))
        assert_enqueued(worker, remind, when=when, users=(1, 2))

    def test_a_failure_tells_what_there_is(self, mailer: Mailer) -> None:
        mailer.send_email.perform(user_id=1)
        mailer.call.perform_in(60, user_id=3)
        with pytest.raises(AssertionError) as failed:
            assert_enqueued(mailer.worker, "send_email", user_id=2)
        assert str(failed.value).splitlines() == [
            "not enqueued: send_email(user_id=2); there is",
            "  send_email(user_id=1)",
            "  call(user_id=3) at 1700000060",
        ]

    def test_a_failure_tells_that_there_is_nothing(self, mailer: Mailer) -> None:
        with pytest.raises(AssertionError, match=r"^not enqueued: send_email\(\); nothing is$"):
            assert_enqueued(mailer.worker, "send_email")
