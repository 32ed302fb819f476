"""A handler in a process of its own behaves like one in ours, and takes nobody along when it dies."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the children too: they get this process's path

import isolation_jobs as jobs

from worksong.domain.errors import ConfigError, RegistrationError, Stopped
from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import Buried, Discarded, Outcome, Retried, Snoozed
from worksong.domain.verdict import WorkerCrashed, error_text, of_failure, of_value
from worksong.engine import isolated
from worksong.engine.isolation import Isolation, RemoteFailure, check_importable, scrubbed
from worksong.ports.backend import Running
from worksong.ports.context import Context
from worksong.registry import JobSpec, Options
from worksong.signature import Signature

NOW = 1000.0


class Watched(Running):
    """A run whose check-ins can be waited for."""

    said: asyncio.Queue[str] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "checkin_at" and self.said:
            self.said.put_nowait(self.checkin)


@pytest.fixture
async def isolation() -> AsyncIterator[Isolation]:
    one = Isolation(2)
    yield one
    await one.close()


def spec_of(function: Callable[..., Any], **options: Any) -> JobSpec:
    return JobSpec("test", function, Options(isolate="process", **options), Signature(function, jobs.MyContext, {}))


def context_of(args: Any = None, *, attempt: int = 1, kind: type[Context] = Context) -> Context:
    job = Job("test", args, id="j1", attempt=attempt, meta={"trace": 7})
    running = Watched(Delivery(job, object(), 42), 0, NOW, said=asyncio.Queue())
    context = kind()
    context.begin(running, lambda: NOW)
    return context


def said(context: Context) -> asyncio.Queue[str]:
    running = context._running
    assert isinstance(running, Watched)
    assert running.said
    return running.said


async def run(isolation: Isolation, function: Callable[..., Any], args: Any = None, **options: Any) -> Any:
    return await isolation.handler(spec_of(function, **options))(context_of(args))


async def outcome_of(isolation: Isolation, function: Callable[..., Any], args: Any = None, **options: Any) -> Outcome:
    """The ending as a lane would settle it."""
    attempt = options.pop("attempt", 1)
    spec = spec_of(function, **options)
    context = context_of(args, attempt=attempt)
    try:
        value = await isolation.handler(spec)(context)
        return of_value(context.job, value, spec.options.policy(), NOW)
    except BaseException as failure:
        return of_failure(context.job, failure, spec.options.policy(), NOW)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# what runs


async def test_arguments_and_results_travel_as_the_signature_says(isolation: Isolation) -> None:
    assert await run(isolation, jobs.converted, {"order": {"item": "tea"}, "note": "hot"}) == ["tea", 1, "hot"]
    assert await run(isolation, jobs.converted, [{"order": {"item": "tea", "count": 2}}]) == ["tea", 2, "none"]
    assert await run(isolation, jobs.with_job, {}) == ["j1", 1, {}, {"trace": 7}, True]
    assert await run(isolation, jobs.coroutine, {"number": 1 << 70}) == [1 << 70, "test"]
    assert await run(isolation, jobs.Methods.static, {"number": 3}) == 3
    assert await run(isolation, jobs.Methods.of_class, {"number": 4}) == 4


async def test_the_child_makes_the_same_kind_of_context(isolation: Isolation) -> None:
    call = isolation.handler(spec_of(jobs.with_context))
    assert await call(context_of({"number": 5}, kind=jobs.MyContext)) == ["acme", 42, False, True, 5]


async def test_a_decorated_handler_is_found_behind_its_job_type(isolation: Isolation) -> None:
    spec = jobs.worker.registry.find("decorated")
    assert spec
    assert await isolation.handler(spec)(context_of({"number": 1})) == 2


@pytest.mark.parametrize("value", [None, 0, "", "text", [1, {"a": None}], {"x": 1.5}])
async def test_a_json_result_comes_back_as_it_was(isolation: Isolation, value: Any) -> None:
    assert await run(isolation, jobs.returns, {"value": value}) == value


@pytest.mark.parametrize("value", ["object", "circle", "surrogate"])
async def test_a_result_that_json_cannot_carry_is_a_failure(isolation: Isolation, value: str) -> None:
    with pytest.raises(TypeError, match=r"result of isolation_jobs\.returns\(\) cannot be carried as JSON"):
        await run(isolation, jobs.returns, {"value": value})


async def test_check_ins_arrive_in_order(isolation: Isolation) -> None:
    context = context_of()
    assert await isolation.handler(spec_of(jobs.tell))(context) == "told"
    assert [said(context).get_nowait() for _ in range(said(context).qsize())] == ["begun", "1/2", "? odd", "2/2"]
    assert (context._running.done, context._running.total, context._running.checkin_at) == (2, 2, NOW)


async def test_a_thread_that_outlives_its_job_does_not_check_in_for_the_next(isolation: Isolation) -> None:
    first, second = context_of(), context_of()
    await isolation.handler(spec_of(jobs.leave_thread))(first)
    await isolation.handler(spec_of(jobs.release_thread))(second)
    assert (first._running.checkin, second._running.checkin) == ("", "")


# what fails


@pytest.mark.parametrize("function", [jobs.fail, jobs.fail_in_task])
@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("value", "ValueError: boom"),
        ("key", "KeyError: 'who'"),
        ("os", "FileNotFoundError: [Errno 2] No such file or directory: 'x'"),
        ("unicode", "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ("memory", "MemoryError"),
        ("group", "ExceptionGroup: several (2 sub-exceptions)"),
        ("untamed", "Untamed: wild"),
        ("refused", "Refused: refused by the peer"),
        ("elsewhere", "Elsewhere: far"),
        ("unprintable", "Unprintable: (its message cannot be printed)"),
        ("surrogate", "ValueError: ?"),
    ],
)
async def test_a_failure_reads_as_if_it_had_happened_here(
    isolation: Isolation, function: Callable[..., Any], how: str, text: str
) -> None:
    outcome = await outcome_of(isolation, function, {"how": how}, max_fails=1)
    assert outcome == Buried(text)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("generator", "GeneratorExit"),
        ("cancelled", "CancelledError"),
        ("stop", "StopIteration: 5"),
    ],
)
async def test_what_would_end_a_program_or_a_task_is_a_failure_like_others(
    isolation: Isolation, how: str, text: str
) -> None:
    assert await outcome_of(isolation, jobs.fail, {"how": how}, max_fails=1) == Buried(text)
    with pytest.raises(RemoteFailure):
        await run(isolation, jobs.fail, {"how": how})


async def test_recursion_ends_as_a_failure(isolation: Isolation) -> None:
    with pytest.raises(RecursionError):
        await run(isolation, jobs.deep)


async def test_wrong_arguments_are_a_failure(isolation: Isolation) -> None:
    with pytest.raises(ValueError, match="missing argument") as raised:
        await run(isolation, jobs.converted, {"note": "x"})
    assert error_text(raised.value).startswith("InvalidArguments: ")


async def test_a_huge_message_is_cut(isolation: Isolation) -> None:
    with pytest.raises(ValueError, match="xxx") as raised:
        await run(isolation, jobs.fail, {"how": "huge"})
    assert len(str(raised.value)) == 8192
    assert len(raised.value.__notes__[0]) < 40_000


async def test_the_traceback_of_the_child_is_shown_with_the_failure(isolation: Isolation) -> None:
    with pytest.raises(ValueError, match="boom") as raised:
        await run(isolation, jobs.fail, {"how": "value"})
    assert "in fail\n    raise failure" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("how", "options", "ending"),
    [
        ("refused", {"discard_on": (jobs.Refused,)}, Discarded),
        ("refused for good", {"discard_on": (jobs.Refused,)}, Discarded),
        ("refused", {"discard_on": (jobs.RefusedForGood,)}, Retried),
        ("refused", {"retry_for": (jobs.Refused, OSError)}, Retried),
        ("os", {"retry_for": (jobs.Refused, OSError)}, Retried),
        ("value", {"retry_for": (jobs.Refused, OSError)}, Buried),
        ("value", {"discard_on": (Exception,)}, Discarded),
        ("elsewhere", {"discard_on": (jobs.Refused,)}, Retried),
        ("exit", {"discard_on": (SystemExit,)}, Discarded),
    ],
)
async def test_retry_for_and_discard_on_know_the_types(
    isolation: Isolation, how: str, options: dict[str, Any], ending: type[Outcome]
) -> None:
    assert type(await outcome_of(isolation, jobs.fail, {"how": how}, **options)) is ending


async def test_no_class_is_taken_from_a_report_that_was_not_known_before(isolation: Isolation) -> None:
    with pytest.raises(RemoteFailure) as raised:
        await run(isolation, jobs.fail, {"how": "elsewhere"})
    assert not isinstance(raised.value, jobs.Elsewhere)
    assert type(raised.value).__name__ == "Elsewhere"


@pytest.mark.parametrize("function", [jobs.fail, jobs.decide])
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("snooze", Snoozed(NOW + 30)),
        ("retry", Retried(NOW + 7, "asked for a retry")),
        ("discard", Discarded("enough")),
    ],
)
async def test_verdicts_count_raised_or_returned(
    isolation: Isolation, function: Callable[..., Any], how: str, expected: Outcome
) -> None:
    assert await outcome_of(isolation, function, {"how": how}) == expected
    assert type(await outcome_of(isolation, function, {"how": "retry whenever"})) is Retried


# what dies


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("exit 0", "worker_crashed:exit 0"),
        ("exit 1", "worker_crashed:exit 1"),
        ("segv", "worker_crashed:SIGSEGV"),
        ("abort", "worker_crashed:SIGABRT"),
        ("kill", "worker_crashed:SIGKILL(oom?)"),
        ("term", "worker_crashed:SIGTERM"),
    ],
)
async def test_a_crash_costs_its_own_job_only(isolation: Isolation, how: str, reason: str) -> None:
    neighbour = context_of({"number": 1})
    crash, other = await asyncio.gather(
        outcome_of(isolation, jobs.die, {"how": how}, max_fails=1),
        isolation.handler(spec_of(jobs.coroutine))(neighbour),
    )
    assert (crash, other) == (Buried(reason), [1, "test"])
    assert [await run(isolation, jobs.coroutine, {"number": n}) for n in range(20)] == [[n, "test"] for n in range(20)]


async def test_the_third_crash_is_the_last_whatever_max_fails_says(isolation: Isolation) -> None:
    outcomes = [
        await outcome_of(isolation, jobs.die, {"how": "kill"}, attempt=attempt, max_fails=100) for attempt in (1, 2, 3)
    ]
    assert [type(outcome) for outcome in outcomes] == [Retried, Retried, Buried]
    assert outcomes[2] == Buried("worker_crashed:SIGKILL(oom?)")


async def test_children_that_crash_one_after_the_other_are_replaced_more_and_more_slowly(isolation: Isolation) -> None:
    clock = asyncio.get_running_loop().time
    begun = clock()
    for _ in range(3):
        with pytest.raises(WorkerCrashed):
            await run(isolation, jobs.die, {"how": "exit 1"})
    assert clock() - begun > 0.3  # 0.1 and 0.2, and 0.4 before the next one
    await run(isolation, jobs.pid)
    assert clock() - begun > 0.7
    assert isolation._pause == 0


async def test_handlers_that_close_fork_or_leak_do_no_harm(isolation: Isolation) -> None:
    assert await run(isolation, jobs.untidy) == "closed"
    assert await run(isolation, jobs.leaking) == "1000 left behind"
    assert await run(isolation, jobs.forked) == "from the child"
    assert await run(isolation, jobs.returns, {"value": 1}) == 1


# what is stopped


async def give_up(patience: asyncio.Timeout, context: Context) -> None:
    """Let the time be up once the handler is at it."""
    await said(context).get()
    patience.reschedule(0)


@pytest.mark.parametrize("function", [jobs.hang, jobs.hang_stubbornly])
async def test_a_timeout_kills_the_child_and_what_it_started(
    isolation: Isolation, tmp_path: Path, function: Callable[..., Any]
) -> None:
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    all_gone = asyncio.create_task(asyncio.to_thread(fifo.read_bytes))
    pid = await run(isolation, jobs.pid)
    context = context_of({"fifo": str(fifo)})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as group:
            group.create_task(give_up(patience, context))
            await isolation.handler(spec_of(function))(context)
    assert gone(pid)
    assert await all_gone == b""
    assert await run(isolation, jobs.pid) != pid


async def test_a_cancelled_run_is_killed_at_once(isolation: Isolation, tmp_path: Path) -> None:
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    all_gone = asyncio.create_task(asyncio.to_thread(fifo.read_bytes))
    context = context_of({"fifo": str(fifo)})
    task = asyncio.ensure_future(isolation.handler(spec_of(jobs.hang))(context))
    await said(context).get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await all_gone == b""
    assert not isolation._children


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    program = f"""
        import asyncio, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import isolation_jobs as jobs
        from worksong import Worker
        async def main():
            worker = Worker()
            worker.register("hang", jobs.hang_stubbornly, isolate="process")
            await worker.astart()
            await worker.aperform(jobs.Job("hang", {{"fifo": {str(fifo)!r}}}))
            await asyncio.Event().wait()
        asyncio.run(main())
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    with fifo.open("rb") as held:  # open once the handler has opened it
        parent.kill()
        assert held.read() == b""
    assert parent.wait() == -signal.SIGKILL


# the pool


async def test_children_are_used_again_and_never_more_than_the_limit(isolation: Isolation) -> None:
    one_by_one = {await run(isolation, jobs.pid) for _ in range(5)}
    assert len(one_by_one) == 1
    at_once = set(await asyncio.gather(*(run(isolation, jobs.pid) for _ in range(20))))
    assert one_by_one <= at_once
    assert len(at_once) <= 2


async def test_a_child_that_died_idle_is_replaced_unseen(isolation: Isolation) -> None:
    pid = await run(isolation, jobs.pid)
    (child,) = isolation._children
    os.kill(pid, signal.SIGKILL)
    await child._process.wait()
    assert await run(isolation, jobs.pid) != pid


async def test_close_leaves_no_process() -> None:
    isolation = Isolation(3)
    handler = isolation.handler(spec_of(jobs.pid))
    pids = await asyncio.gather(*(handler(context_of()) for _ in range(3)))
    await run(isolation, jobs.untidy)
    await isolation.close()
    assert [pid for pid in pids if not gone(int(str(pid)))] == []
    with pytest.raises(Stopped):
        await handler(context_of())


async def test_a_child_has_a_session_of_its_own_and_no_files_of_ours(isolation: Isolation) -> None:
    with socket.socket() as ours:
        ours.set_inheritable(True)
        assert await run(isolation, jobs.signals) == [True, True, True]
        assert await run(isolation, jobs.open_files) == 0


async def test_a_child_does_not_see_the_brokers_credentials(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSONG_URL", "redis://:hunter2@h/1")
    monkeypatch.setenv("REDIS_PROVIDER", "MY_REDIS")
    monkeypatch.setenv("MY_REDIS", "rediss://user:hunter2/#@h:7000?password=hunter2")
    monkeypatch.setenv("OTHER", "untouched")
    seen = await run(isolation, jobs.environment)
    assert "hunter2" not in str(seen)
    expected = {
        "WORKSONG_URL": "redis://h/1",
        "REDIS_PROVIDER": "MY_REDIS",
        "MY_REDIS": "rediss://h:7000",
        "OTHER": "untouched",
    }
    assert expected.items() <= seen.items()


def test_a_url_without_scheme_loses_its_credentials_too() -> None:
    assert scrubbed({"REDIS_URL": "user:hunter2@h:6379", "X": "a@b"}) == {"REDIS_URL": "h:6379", "X": "a@b"}


# what is refused


def closure() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (closure(), "inside another function"),
        (lambda: None, "lambda"),
        (jobs.Methods().bound, "bound to an object"),
        (functools.partial(jobs.pid), "without a name"),
    ],
)
def test_a_function_that_a_child_could_not_import_is_refused(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(RegistrationError, match=f"{why}.*define it at the top level of a module"):
        check_importable(function)


@pytest.mark.parametrize("function", [jobs.pid, jobs.Methods.static, jobs.Methods.of_class, jobs.MyContext, os.getpid])
def test_a_function_of_a_module_is_accepted(function: Callable[..., Any]) -> None:
    check_importable(function)


async def test_a_function_that_is_gone_when_imported_again_is_a_clear_failure(isolation: Isolation) -> None:
    def vanished() -> None: ...

    vanished.__module__, vanished.__qualname__ = "isolation_jobs", "vanished"
    with pytest.raises(ValueError, match="'vanished' is not found in 'isolation_jobs'"):
        await run(isolation, vanished)


def test_importing_a_jobs_module_must_not_start_a_worker() -> None:
    isolated.loading.set()
    try:
        with pytest.raises(ConfigError, match="__main__"):
            Isolation(1)
    finally:
        isolated.loading.clear()


# the main script

SCRIPT = """
    from worksong import Context, Job, Worker, current

    class Odd(Exception): ...
    class Mine(Context):
        tenant = "acme"

    worker = Worker(context=Mine, concurrency=1)

    @worker.job(isolate="process")
    def double(number: int) -> None:
        print(number * 2, current().tenant)

    @worker.job(isolate="process", discard_on=Odd)
    def odd() -> None:
        raise Odd("so be it")

    {guard}
    double.perform(21)
    odd.perform()
    print(worker.run(burst=True))
"""


@pytest.mark.parametrize("how", [["app.py"], ["-m", "app"], ["-m", "package"]])
def test_handlers_of_the_main_script_run_in_a_child(tmp_path: Path, how: list[str]) -> None:
    head, tail = textwrap.dedent(SCRIPT).split("{guard}")
    text = f'{head}if __name__ == "__main__":{textwrap.indent(tail, "    ")}'
    (tmp_path / "package").mkdir()
    for file in (tmp_path / "app.py", tmp_path / "package" / "__main__.py"):
        file.write_text(text)
    done = subprocess.run([sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines()[0] == "42 acme"
    assert "done=1" in done.stdout
    assert "discarded=1" in done.stdout


def test_a_script_without_guard_fails_its_jobs_with_advice(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(textwrap.dedent(SCRIPT).replace("{guard}", ""))
    done = subprocess.run([sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ConfigError: a job's module starts a worker" in done.stderr
