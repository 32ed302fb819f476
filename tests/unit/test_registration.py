"""What can be registered, as what, and what is refused with which words."""

from __future__ import annotations

import asyncio
import functools
import math
import threading
from datetime import timedelta
from typing import Any

import pytest

from engine_bench import Ledger, shown
from worksong import (
    ConfigError,
    Context,
    InvalidArguments,
    Job,
    JobType,
    RegistrationError,
    Worker,
)
from worksong.domain.cron import CronError
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done


def nothing() -> None: ...


def add(a: int, b: int = 1) -> int:
    return a + b


@pytest.mark.parametrize("name", ["", " ", "a b", "a,b", "a{b}", "x" * 201, "ä", "a\nb", None, 5, b"x"])
def test_a_name_that_no_backend_could_carry_is_refused(worker: Worker, name: Any) -> None:
    with pytest.raises(ValueError, match="cannot be used: 1 to 200 letters, digits and the characters"):
        worker.register(name, nothing)


@pytest.mark.parametrize("name", ["a", "send_email", "a.b:c@d/e-f", "A9", "x" * 200])
def test_names_that_are_fine(worker: Worker, name: str) -> None:
    assert worker.register(name, nothing).name == name


@pytest.mark.parametrize("handler", [None, 5, "send_email", {}])
def test_what_cannot_be_called_is_refused(worker: Worker, handler: Any) -> None:
    with pytest.raises(ValueError, match="must be callable, not"):
        worker.register("x", handler)


async def test_a_duplicate_is_refused_and_the_first_one_stays(worker: Worker, backend: Ledger) -> None:
    # Given a registered name
    worker.register("sum", add)

    # When it is registered again, then that is refused
    with pytest.raises(ValueError, match=r"handler already mapped for name 'sum': .*add stays") as refused:
        worker.register("sum", lambda a: -a)
    assert isinstance(refused.value, RegistrationError)
    assert "register" in str(refused.value)
    assert "under another name" in str(refused.value)

    # And the first handler runs
    async with worker:
        handle = await worker.aperform(Job("sum", {"a": 1}))
        assert handle
        assert await backend.ending(handle.id) == Done(2)


def test_an_alias_cannot_be_somebody_elses_name(worker: Worker) -> None:
    worker.register("new", nothing, aliases=("old",))
    with pytest.raises(ValueError, match="handler already mapped for name 'old'"):
        worker.register("old", nothing)
    with pytest.raises(ValueError, match="handler already mapped for name 'new'"):
        worker.register("newer", nothing, aliases=["new"])
    with pytest.raises(ValueError, match="names an alias twice"):
        worker.register("twice", nothing, aliases=["a", "a"])
    with pytest.raises(ValueError, match="names an alias twice"):
        worker.register("self", nothing, aliases="self")
    with pytest.raises(ValueError, match="alias of 'bad' 'a b' cannot be used"):
        worker.register("bad", nothing, aliases="a b")
    assert worker.registry.names() == ("new", "old")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"priority": 0}, "priority must be a whole number from 1 to 100000"),
        ({"priority": 100_001}, "priority must be a whole number from 1 to 100000"),
        ({"priority": 1.5}, "priority must be a whole number from 1 to 100000"),
        ({"priority": True}, "priority must be a whole number from 1 to 100000"),
        ({"max_fails": 0}, "max_fails must be a whole number from 1"),
        ({"max_fails": "4"}, "max_fails must be a whole number from 1"),
        ({"max_concurrency": -1}, "max_concurrency must be a whole number from 0"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"timeout": -5}, "timeout must be a number of seconds above 0"),
        ({"timeout": math.nan}, "timeout must be a number of seconds above 0"),
        ({"timeout": math.inf}, "timeout must be a number of seconds above 0"),
        ({"timeout": "5"}, "timeout must be a number of seconds above 0"),
        ({"expires": 0}, "expires must be a number of seconds above 0"),
        ({"expires": timedelta(seconds=5)}, "expires must be a number of seconds above 0"),
        ({"isolate": "container"}, "isolate must be None, 'thread' or 'process'"),
        ({"unique": "until_dawn"}, "unique must be False, 'until_start' or 'until_done'"),
        ({"backoff": 5}, r"backoff must be callable: \(job\) -> seconds"),
        ({"retry_for": 5}, "retry_for and discard_on must be exception types"),
        ({"retry_for": [ValueError, "x"]}, "retry_for and discard_on must be exception types"),
        ({"discard_on": str}, "retry_for and discard_on must be exception types"),
        ({"redact": 5}, "redact must be names of arguments"),
        ({"aliases": 5}, "alias of 'x' 5 cannot be used"),
        ({"queue": ""}, "queue of 'x' '' cannot be used"),
        ({"queue": None}, "queue of 'x' None cannot be used"),
        ({"quue": "low"}, r"unknown options \['quue'\]; there are queue, priority, max_fails"),
        ({"priority": 0, "timeout": 0}, "priority must be .* 100000; timeout must be"),
    ],
    ids=shown,
)
def test_an_option_out_of_range_is_refused(worker: Worker, options: dict[str, Any], why: str) -> None:
    with pytest.raises(RegistrationError, match=why) as refused:
        worker.register("x", nothing, **options)
    assert "'x'" in str(refused.value)
    assert worker.registry.names() == ()


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({"unique": True}, "unique", "until_start"),
        ({"unique": False}, "unique", None),
        ({"unique": None}, "unique", None),
        ({"unique": "until_done"}, "unique", "until_done"),
        ({"aliases": "old"}, "aliases", ("old",)),
        ({"aliases": ["a", "b"]}, "aliases", ("a", "b")),
        ({"retry_for": OSError}, "retry_for", (OSError,)),
        ({"discard_on": [OSError]}, "discard_on", (OSError,)),
        ({"timeout": 5}, "timeout", 5),
        ({}, "max_fails", 4),
        ({}, "queue", "default"),
    ],
    ids=shown,
)
def test_options_are_taken_in_their_convenient_forms(
    worker: Worker, options: dict[str, Any], name: str, value: object
) -> None:
    assert getattr(worker.register("x", nothing, **options).spec.options, name) == value


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": ""}, "worker name '' cannot be used"),
        ({"name": "a b"}, "worker name 'a b' cannot be used"),
        ({"concurrency": 0}, "concurrency must be a whole number from 1 to 10000, not 0"),
        ({"concurrency": 10_001}, "concurrency must be"),
        ({"concurrency": 2.5}, "concurrency must be"),
        ({"concurrency": True}, "concurrency must be"),
        ({"context": dict}, "context must be a subclass of worksong.Context"),
        ({"context": Context()}, "context must be a subclass of worksong.Context"),
        ({"queues": "default"}, "queues must be names in strict order, or names with their weights, not 'default'"),
        ({"queues": []}, "queues must be names in strict order"),
        ({"queues": {}}, "queues must be names in strict order"),
        ({"queues": 5}, "queues must be names in strict order"),
        ({"queues": ["a b"]}, "queue 'a b' cannot be used"),
        ({"queues": [5]}, "queue 5 cannot be used"),
        ({"queues": {"low": 0}}, "the weight of queue 'low' must be a whole number from 1 to 100000, not 0"),
        ({"queues": {"low": 0.5}}, "the weight of queue 'low' must be"),
        ({"url": None}, "is the variable it comes from set"),
        ({"url": "nonsense"}, "no backend for a URL of the scheme ''"),
        ({"url": "nonsense://user:secret@host"}, "no backend for a URL of the scheme 'nonsense'"),
        ({"url": "memory://host"}, "memory:// takes nothing behind it"),
    ],
    ids=shown,
)
def test_a_setting_of_a_worker_that_cannot_work_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        Worker(**options)
    assert "secret" not in str(refused.value)


def test_a_signature_that_cannot_work_is_refused_at_registration(worker: Worker) -> None:
    def handler(connection: threading.Lock) -> None: ...

    with pytest.raises(
        RegistrationError, match=r"handler .*\(connection: 'threading.Lock'\): .*the accepted forms are"
    ):
        worker.register("x", handler)
    with pytest.raises(RegistrationError, match="the accepted forms are"):
        worker.job()(handler)
    assert worker.registry.names() == ()


def test_types_local_to_a_function_are_understood_where_a_handler_is_registered(worker: Worker) -> None:
    # Given a type that only this function knows
    class Local(dict[str, int]):
        pass

    import msgspec

    class Order(msgspec.Struct):
        number: int

    # When handlers that use it are registered, by decorator and by name
    @worker.job()
    def decorated(order: Order) -> int:
        return order.number

    def registered(order: Order) -> int:
        return order.number

    worker.register("registered", registered)

    # Then their arguments are checked by it
    assert decorated.job(Order(5)).args == {"order": {"number": 5}}
    with pytest.raises(InvalidArguments, match=r"argument 'order.number': Expected `int`"):
        decorated.job({"number": "x"})  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", [lambda: None, lambda context: None, nothing, 5, None])
def test_what_cannot_stand_around_a_handler_is_no_middleware(worker: Worker, layer: Any) -> None:
    with pytest.raises(RegistrationError, match=r"must take \(context, call_next\)"):
        worker.middleware(layer)


# the decorated function


def test_a_decorated_function_is_still_the_plain_one(worker: Worker) -> None:
    # Given a decorated function
    @worker.job(name="sum", max_fails=2)
    def total(a: int, b: int = 1) -> int:
        """Adds."""
        return a + b

    # When it is called, then it runs here and now, unchecked, and nothing is enqueued
    assert total(1, b=2) == 3
    assert str(total("x", b="y")) == "xy"  # type: ignore[arg-type]
    assert worker.admin.counts()[State.QUEUED] == 0

    # And it looks like itself
    assert (total.__name__, total.__doc__, total.name) == ("total", "Adds.", "sum")
    assert total.__wrapped__.__qualname__.endswith("total")  # type: ignore[attr-defined]
    assert repr(total) == "<JobType sum>"
    assert worker.registry.names() == ("sum",)


async def test_a_decorated_coroutine_function_is_still_one(worker: Worker) -> None:
    @worker.job()
    async def total(a: int, b: int = 1) -> int:
        await asyncio.sleep(0)
        return a + b

    assert await total(1) == 2


def test_a_job_type_may_be_registered_again_under_another_name(worker: Worker) -> None:
    first = worker.job(queue="low")(add)
    second = worker.register("plus", first, queue="high")
    assert (first.name, second.name) == ("add", "plus")
    assert (first.job(1).queue, second.job(1).queue) == ("low", "high")


def test_a_function_without_a_name_needs_one(worker: Worker) -> None:
    with pytest.raises(ValueError, match="handler name '' cannot be used"):
        worker.job()(functools.partial(add, b=2))
    assert worker.job(name="plus2")(functools.partial(add, b=2)).name == "plus2"


def test_a_job_type_makes_jobs_with_its_options(worker: Worker) -> None:
    total = worker.job(queue="low", unique=True)(add)
    assert total.job(1) == Job("add", {"a": 1}, queue="low", unique="until_start")
    other = total.with_options(queue="high", unique="until_done", unique_by={"a": 1}, id="once")
    assert other.job(2) == Job("add", {"a": 2}, "high", "once", "until_done", {"a": 1})
    assert total.with_options(unique=False).job(1).unique is None
    assert total.with_options().job(1) == total.job(1)
    assert isinstance(other, JobType)


@pytest.mark.parametrize("verb", ["job", "perform"])
def test_arguments_are_checked_when_a_typed_job_is_enqueued(worker: Worker, verb: str) -> None:
    total = worker.job()(add)
    with pytest.raises(InvalidArguments, match=r"add\(\): argument 'a': Expected `int`, got `str`"):
        getattr(total, verb)("x")
    with pytest.raises(InvalidArguments, match=r"add\(\): missing argument `a`"):
        getattr(total, verb)()
    assert worker.admin.counts()[State.QUEUED] == 0


# periodic jobs


@pytest.mark.parametrize("spec", ["0 0 30 2 *", "0 0 0 31 11 *"])
def test_what_never_fires_is_refused(worker: Worker, spec: str) -> None:
    with pytest.raises(CronError, match="never fires"):
        worker.periodic(spec, "x")


@pytest.mark.parametrize("spec", ["", "nonsense", "* * *", "61 * * * *", "@never", "* * * * * * *"])
def test_what_is_no_expression_is_refused(worker: Worker, spec: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        worker.periodic(spec, "x")
    with pytest.raises(ValueError, match=r".+"):
        worker.periodic(spec)(nothing)
    assert worker.registry.periodic == []


def test_an_unknown_zone_is_refused(worker: Worker) -> None:
    with pytest.raises(ValueError, match="Mars"):
        worker.periodic("@daily", "x", tz="Mars/Olympus")


def test_arguments_that_the_handler_would_not_accept_are_refused(worker: Worker) -> None:
    worker.register("sum", add)
    with pytest.raises(RegistrationError, match=r"periodic job 'sum' could not run with args=None: add\(\): missing"):
        worker.periodic("@daily", "sum")
    with pytest.raises(RegistrationError, match="Expected `int`"):
        worker.periodic("@daily", "sum", args={"a": "x"})
    with pytest.raises(RegistrationError, match="missing argument"):
        worker.periodic("@daily")(worker.job(name="other")(add))
    assert worker.registry.periodic == []
    worker.periodic("@daily", "sum", args={"a": 1})
    worker.periodic("@hourly", "sum", args=[1])


def test_the_same_job_twice_at_the_same_times_is_refused(worker: Worker) -> None:
    # Given a periodic job
    worker.register("report", lambda region: None)
    worker.periodic("@daily", "report", args={"region": "eu"})

    # When it is to fire with other arguments at the same times, then that is refused: one firing would hide the other
    with pytest.raises(RegistrationError, match="periodic job 'report' fires at '@daily' already"):
        worker.periodic("@daily", "report", args={"region": "us"})
    worker.periodic("@daily", "report", args={"region": "us"}, tz="America/New_York")
    worker.periodic("@hourly", "report", args={"region": "us"})
    assert len(worker.registry.periodic) == 3


def test_a_periodic_function_is_a_job_type(worker: Worker) -> None:
    @worker.periodic("@hourly")
    def tick() -> str:
        return "tock"

    assert tick() == "tock"
    assert [(entry.handler, entry.queue) for entry in worker.registry.periodic] == [("tick", "default")]


@pytest.mark.parametrize(
    ("handler", "redact", "accepted"),
    [
        (add, "a", True),
        (add, ["a", "b"], True),
        (add, "password", False),
        (add, ["a", "B"], False),
        (nothing, "password", False),
        (lambda args: None, "password", True),
        (lambda **more: None, "password", True),
        (lambda a, **more: None, "password", True),
    ],
    ids=shown,
)
def test_only_arguments_that_the_handler_takes_can_be_hidden(
    worker: Worker, handler: Any, redact: Any, accepted: bool
) -> None:
    if accepted:
        worker.register("x", handler, redact=redact)
        return
    with pytest.raises(RegistrationError, match=r"handler 'x': redact names .*, but it takes "):
        worker.register("x", handler, redact=redact)
    assert worker.registry.names() == ()


def test_a_handler_that_looks_at_the_job_itself_may_hide_any_argument(worker: Worker) -> None:
    def whole(job: Job) -> None: ...

    assert worker.register("x", whole, redact="password").spec.options.redact == ("password",)


def test_a_decorator_without_its_parentheses_is_refused_with_the_right_form(worker: Worker) -> None:
    with pytest.raises(RegistrationError, match=r"not nothing: write @worker\.job\(\) above it"):
        worker.job(nothing)  # type: ignore[call-overload]
    with pytest.raises(RegistrationError, match="not 'low'"):
        worker.job("low")  # type: ignore[call-overload]
    assert worker.registry.names() == ()
