"""What a handler accepts: its form, decided once; its arguments, converted when run and checked when enqueued."""

from __future__ import annotations

import functools
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict
from uuid import UUID

import msgspec
import pytest

from engine_bench import shown
from worksong import Context, InvalidArguments, Job, RegistrationError
from worksong.signature import FORMS, Inject, Signature

if TYPE_CHECKING:
    from fractions import Fraction


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    x: int
    y: int = 0


class User(msgspec.Struct):
    name: str
    born: date | None = None


class Address(TypedDict):
    street: str
    number: int


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)


class Model:
    """Like a pydantic model: validates itself, and dumps itself."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def model_validate(cls, value: Any) -> Self:
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise ValueError(f"1 validation error for {cls.__name__}\nname\n  Field required")
        return cls(value["name"])

    def model_dump(self, mode: str = "python") -> dict[str, Any]:
        assert mode == "json"
        return {"name": self.name}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Database:
    """Nothing that JSON could become."""


@dataclass
class Order:
    number: int
    database: Database


class MyContext(Context):
    tenant: str = ""


class OtherContext(Context):
    pass


def signature(function: Callable[..., Any], context: type[Context] = Context, **scope: Any) -> Signature:
    return Signature(function, context, scope)


def call(function: Callable[..., Any], args: Any) -> Any:
    """What the handler gets, when a job with these arguments runs."""
    places, keywords = signature(function).call(args)
    return function(*places, **keywords)


def refusal(function: Any, context: type[Context] = Context) -> str:
    with pytest.raises(RegistrationError) as refused:
        signature(function, context)
    return str(refused.value)


def complaint(function: Callable[..., Any], args: Any) -> str:
    with pytest.raises(InvalidArguments) as refused:
        signature(function).call(args)
    return str(refused.value)


# forms


def plain(user_id: int, subject: str = "hi") -> tuple[int, str]:
    return user_id, subject


async def coroutine(user_id: int) -> int:
    return user_id


def with_job(job: Job, user_id: int) -> tuple[Job, int]:
    return job, user_id


def with_context(ctx: Context, user_id: int) -> tuple[Context, int]:
    return ctx, user_id


def with_my_context(ctx: MyContext) -> MyContext:
    return ctx


def raw(args: dict[str, Any]) -> dict[str, Any]:
    return args


def raw_mapping(args: Mapping[str, Any]) -> Mapping[str, Any]:
    return args


def raw_any(args: Any) -> Any:
    return args


def raw_bare(args):  # type: ignore[no-untyped-def]
    return args


def raw_with_job(job: Job, args: dict[str, Any]) -> dict[str, Any]:
    return args


def named_args(args: list[int]) -> list[int]:
    return args


def typed_args(args: Address) -> Address:
    return args


def nothing() -> str:
    return "done"


@pytest.mark.parametrize(
    ("function", "inject", "is_raw"),
    [
        (plain, Inject.NOTHING, False),
        (coroutine, Inject.NOTHING, False),
        (with_job, Inject.JOB, False),
        (with_context, Inject.CONTEXT, False),
        (raw, Inject.NOTHING, True),
        (raw_mapping, Inject.NOTHING, True),
        (raw_any, Inject.NOTHING, True),
        (raw_bare, Inject.NOTHING, True),
        (raw_with_job, Inject.JOB, True),
        (named_args, Inject.NOTHING, False),
        (typed_args, Inject.NOTHING, False),
        (nothing, Inject.NOTHING, False),
    ],
)
def test_the_first_parameter_decides_the_form(function: Callable[..., Any], inject: Inject, is_raw: bool) -> None:
    found = signature(function)
    assert (found.inject, found.raw) == (inject, is_raw)


@pytest.mark.parametrize("context", [MyContext, type("Deeper", (MyContext,), {})])
def test_a_handler_may_ask_for_any_base_of_the_workers_context(context: type[Context]) -> None:
    assert signature(with_my_context, context).inject is Inject.CONTEXT
    assert signature(with_context, context).inject is Inject.CONTEXT


def test_what_is_injected_is_none_of_the_arguments() -> None:
    assert signature(with_job).call({"user_id": 7}) == ((7,), {})
    assert signature(with_context).call({"user_id": "7"}) == ((7,), {})


def test_a_parameter_is_not_injected_for_its_name() -> None:
    # Given a handler that calls an argument of its own "job"
    def handler(job: int) -> int:
        return job

    # When it runs, then it gets that argument
    assert call(handler, {"job": 5}) == 5


@pytest.mark.parametrize("args", [{}, {"a": 1, "b": [2]}, {"args": 1}])
@pytest.mark.parametrize("function", [raw, raw_mapping, raw_any, raw_bare])
def test_raw_handlers_get_the_arguments_as_they_are(function: Callable[..., Any], args: dict[str, Any]) -> None:
    assert call(function, args) == args


def test_raw_handlers_get_an_empty_mapping_when_there_is_nothing() -> None:
    assert call(raw, None) == {}


def test_a_list_of_one_object_is_that_object_to_a_raw_handler() -> None:
    assert call(raw, [{"a": 1}]) == {"a": 1}


def test_a_raw_handler_refuses_other_lists() -> None:
    assert complaint(raw, [1, 2]) == "raw() takes named arguments, but the job has a list of 2"


def test_arguments_called_args_of_another_type_are_ordinary() -> None:
    assert call(named_args, {"args": [1, "2"]}) == [1, 2]
    assert call(typed_args, {"args": {"street": "x", "number": 1}}) == {"street": "x", "number": 1}


# callables of every kind


class Mailer:
    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def send(self, user_id: int) -> str:
        return f"{self.prefix}{user_id}"

    @classmethod
    def make(cls, user_id: int) -> str:
        return f"{cls.__name__}{user_id}"

    @staticmethod
    def static(user_id: int) -> str:
        return str(user_id)

    def __call__(self, user_id: int, point: Point | None = None) -> str:
        return f"{self.prefix}{user_id}{point or ''}"


class AsyncMailer:
    async def __call__(self, user_id: int) -> str:
        return str(user_id)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


CALLABLES: list[tuple[Callable[..., Any], Any]] = [
    (Mailer("to ").send, "to 7"),
    (Mailer.make, "Mailer7"),
    (Mailer.static, "7"),
    (Mailer("to "), "to 7"),
    (lambda user_id: user_id, "7"),
    (functools.partial(plain, subject="x"), (7, "x")),
    (functools.partial(functools.partial(plain), subject="x"), (7, "x")),
    (functools.partial(Mailer("to ").send), "to 7"),
    (logged(plain), (7, "hi")),
    (logged(functools.partial(plain, subject="x")), (7, "x")),
    (functools.lru_cache(plain), (7, "hi")),
]


@pytest.mark.parametrize(("function", "result"), CALLABLES)
def test_any_callable_can_be_a_handler(function: Callable[..., Any], result: Any) -> None:
    assert call(function, {"user_id": "7"}) == result


@pytest.mark.parametrize(("function", "result"), CALLABLES)
def test_any_callable_takes_a_list(function: Callable[..., Any], result: Any) -> None:
    assert call(function, ["7"]) == result


def test_an_object_with_an_async_call_can_be_a_handler() -> None:
    assert signature(AsyncMailer()).call({"user_id": "7"}) == ((7,), {})


def test_a_class_can_be_a_handler() -> None:
    assert call(Point, {"x": "7"}) == Point(7)
    assert call(User, {"name": "Ada", "born": "1815-12-10"}) == User("Ada", date(1815, 12, 10))
    assert call(Mailer, {"prefix": "x"}).prefix == "x"


def test_a_builtin_that_tells_its_parameters_can_be_a_handler() -> None:
    assert call(len, [[1, 2, 3]]) == 3
    assert call(math.gcd, [12, 18]) == 6


@pytest.mark.parametrize("function", [dict, int, max])
def test_a_builtin_that_does_not_is_refused(function: Callable[..., Any]) -> None:
    assert "does not tell its parameters: wrap it in a function" in refusal(function)


# refusals


@pytest.mark.parametrize("thing", [None, 5, "send_email", {}, object()])
def test_what_cannot_be_called_is_refused(thing: object) -> None:
    told = refusal(thing)
    assert f"handler {thing!r} is not callable; the accepted forms are" in told


def generator(user_id: int) -> Iterator[int]:
    yield user_id


async def async_generator(user_id: int) -> AsyncIterator[int]:
    yield user_id


class Generators:
    def method(self) -> Iterator[int]:
        yield 1

    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    "function",
    [generator, async_generator, functools.partial(generator, 5), Generators().method, Generators()],
    ids=["generator", "async generator", "partial", "method", "object"],
)
def test_generators_are_refused(function: Callable[..., Any]) -> None:
    assert "is a generator, which nobody would iterate; the accepted forms are" in refusal(function)


def wants_my_context(ctx: MyContext, user_id: int) -> None: ...
def job_second(user_id: int, job: Job) -> None: ...
def context_second(user_id: int, ctx: MyContext) -> None: ...
def job_and_context(job: Job, ctx: Context) -> None: ...
def job_by_name(*, job: Job) -> None: ...
def jobs(*jobs: Job) -> None: ...
def wants_database(user_id: int, database: Database) -> None: ...
def wants_databases(databases: list[Database]) -> None: ...
def wants_order(order: Order) -> None: ...
def wants_optional(database: Database | None = None) -> None: ...
def wants_function(function: Callable[[], int]) -> None: ...
def wants_either(value: Point | User) -> None: ...
def wants_fraction(part: Fraction) -> None: ...
def wants_unknown(part: Unheard) -> None: ...  # type: ignore[name-defined]  # noqa: F821


FIRST = "only the first parameter, given by position, can be a"
JSON = "no JSON value can become a Database; use the basic types, datetime, UUID, Decimal, an enum, a dataclass"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (
            wants_my_context,
            "handler wants_my_context(ctx: 'MyContext', user_id: 'int'): it asks for a MyContext, but this worker "
            "gives a Context: create it with Worker(context=MyContext)",
        ),
        (job_second, f"handler job_second(user_id: 'int', job: 'Job'): {FIRST} Job, not 'job'"),
        (context_second, f"{FIRST} MyContext, not 'ctx'"),
        (job_and_context, f"{FIRST} Context, not 'ctx'"),
        (job_by_name, f"{FIRST} Job, not 'job'"),
        (jobs, f"{FIRST} Job, not 'jobs'"),
        (wants_database, f"parameter 'database': {JSON}"),
        (wants_databases, f"parameter 'databases': {JSON}"),
        (wants_order, f"parameter 'order': {JSON}"),
        (wants_optional, f"parameter 'database': {JSON}"),
        (wants_function, "parameter 'function': "),
        (wants_either, "parameter 'value': "),
    ],
)
def test_a_signature_that_cannot_work_is_shown_beside_the_accepted_forms(
    function: Callable[..., Any], why: str
) -> None:
    told = refusal(function)
    assert why in told
    assert f"handler {function.__qualname__}(" in told
    assert told.endswith(FORMS)
    assert told.count("def handler(") == 4


def test_a_worker_with_another_context_refuses_too() -> None:
    assert "it asks for a MyContext, but this worker gives a OtherContext" in refusal(wants_my_context, OtherContext)


@pytest.mark.parametrize(("function", "annotation"), [(wants_fraction, "Fraction"), (wants_unknown, "Unheard")])
def test_an_annotation_that_is_unknown_at_run_time_is_named(function: Callable[..., Any], annotation: str) -> None:
    told = refusal(function)
    assert f"the annotation '{annotation}' of parameter 'part' cannot be read when the program runs" in told
    assert "import its type at the module's top level, not only for type checkers" in told


def test_the_results_annotation_is_nobodys_business() -> None:
    def handler(user_id: int) -> Fraction:
        raise NotImplementedError

    assert signature(handler).call({"user_id": 1}) == ((1,), {})


# names in annotations


def test_local_types_are_found_through_the_scope() -> None:
    # Given a type and a handler that live in a function
    @dataclass
    class Local:
        x: int

    def handler(local: Local) -> Local:
        return local

    # When the scope tells what the names mean, then they are understood
    places, _ = signature(handler, Local=Local).call({"local": {"x": 1}})
    assert places == (Local(1),)

    # And without it they are refused
    assert "the annotation 'Local' of parameter 'local' cannot be read" in refusal(handler)


def test_a_local_type_hides_a_global_one_from_a_local_handler() -> None:
    @dataclass
    class Point:
        z: int

    def handler(point: Point) -> Any:
        return point

    places, _ = signature(handler, Point=Point).call({"point": {"z": 1}})
    assert places == (Point(1),)


def takes_point(point: Point) -> Point:
    return point


def test_names_where_a_handler_is_registered_do_not_change_what_its_module_means() -> None:
    # Given a module's handler, registered where its type's name means something else
    places, _ = signature(takes_point, Point=User).call({"point": {"x": 1}})

    # When it is called, then the name means what it means in the handler's own module
    assert places == (Point(1),)


def test_a_partial_finds_the_names_of_the_function_behind_it() -> None:
    assert call(functools.partial(takes_point), {"point": {"x": 1}}) == Point(1)


# conversions


def converted(kind: Any, value: object) -> object:
    """The value as a handler with one parameter of this type gets it."""

    def handler(value: Any) -> Any:
        return value

    handler.__annotations__ = {"value": kind}
    return call(handler, {"value": value})


UNIVERSAL = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
CONVERSIONS: list[tuple[Any, Any, Any]] = [
    (int, 5, 5),
    (int, 5.0, 5),
    (int, "5", 5),
    (int, -(2**53), -(2**53)),
    (float, 5, 5.0),
    (float, "2.5", 2.5),
    (str, "x", "x"),
    (str, "", ""),
    (bool, True, True),
    (bool, "true", True),
    (bool, 0, False),
    (None, None, None),
    (int | None, None, None),
    (int | None, 5.0, 5),
    (int | str, "x", "x"),
    (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (datetime, 0, datetime(1970, 1, 1, tzinfo=UTC)),
    (date, "2026-01-02", date(2026, 1, 2)),
    (time, "03:04:05", time(3, 4, 5)),
    (timedelta, "PT5S", timedelta(seconds=5)),
    (timedelta, 5, timedelta(seconds=5)),
    (UUID, UNIVERSAL, UUID(UNIVERSAL)),
    (Decimal, "1.10", Decimal("1.10")),
    (Decimal, 5, Decimal(5)),
    (Colour, "blue", Colour.BLUE),
    (Level, 2, Level.HIGH),
    (Literal["a", "b"], "a", "a"),
    (Point, {"x": 1}, Point(1)),
    (Point, {"x": 1.0, "y": "2"}, Point(1, 2)),
    (Point | None, {"x": 1}, Point(1)),
    (User, {"name": "Ada", "born": "1815-12-10"}, User("Ada", date(1815, 12, 10))),
    (Address, {"street": "x", "number": 5.0}, {"street": "x", "number": 5}),
    (Tree, {"name": "a", "children": [{"name": "b"}]}, Tree("a", [Tree("b")])),
    (Model, {"name": "x"}, Model("x")),
    (list[Model], [{"name": "x"}], [Model("x")]),
    (list[int], [1, 2.0, "3"], [1, 2, 3]),
    (list[int], {}, []),
    (list[Point] | None, {}, []),
    (tuple[int, str], [1, "x"], (1, "x")),
    (set[int], [1, 2, 1], {1, 2}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (dict[str, int], {"a": 1.0}, {"a": 1}),
    (dict[str, int], {}, {}),
    (dict[str, list[UUID]], {"a": [UNIVERSAL]}, {"a": [UUID(UNIVERSAL)]}),
    (Mapping[str, Any], {"a": 1}, {"a": 1}),
    (bytes, "aGk=", b"hi"),
    (object, {"a": [1]}, {"a": [1]}),
    (Any, {"a": [1]}, {"a": [1]}),
]


@pytest.mark.parametrize(("kind", "value", "expected"), CONVERSIONS, ids=shown)
def test_arguments_are_converted_to_the_annotation(kind: Any, value: object, expected: object) -> None:
    found = converted(kind, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (int, "x", "argument 'value': Expected `int`, got `str`"),
        (int, 5.5, "argument 'value': Expected `int`, got `float`"),
        (int, None, "argument 'value': Expected `int`, got `null`"),
        (int, {}, "argument 'value': Expected `int`, got `object`"),
        (str, 5, "argument 'value': Expected `str`, got `int`"),
        (datetime, "tomorrow", "argument 'value': Invalid RFC3339 encoded datetime"),
        (UUID, "x", "argument 'value': Invalid UUID"),
        (Colour, "green", "argument 'value': Invalid enum value 'green'"),
        (Point, {"x": "a"}, "argument 'value.x': Expected `int`, got `str`"),
        (Point, {}, "argument 'value': Object missing required field `x`"),
        (list[int], [1, "x"], "argument 'value[1]': Expected `int`, got `str`"),
        (list[Point], [{"x": 1}, {"x": []}], "argument 'value[1].x': Expected `int`, got `array`"),
        (list[int], {"a": 1}, "argument 'value': Expected `array`, got `object`"),
        (dict[str, int], {"a": "x"}, "argument 'value[...]': Expected `int`, got `str`"),
        (Model, {"nom": 1}, "argument 'value': 1 validation error for Model; name;   Field required"),
    ],
    ids=shown,
)
def test_the_argument_that_does_not_convert_is_named(kind: Any, value: object, why: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        converted(kind, value)
    assert f"handler(): {why}" in str(refused.value)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({}, "plain(): missing argument `user_id`"),
        (None, "plain(): missing argument `user_id`"),
        ([], "plain(): missing argument `user_id`"),
        ({"user_id": 1, "subjekt": "x"}, "plain(): unknown argument `subjekt`"),
        ({"user_id": "x"}, "plain(): argument 'user_id': Expected `int`, got `str`"),
        ([1, 2], "plain(): argument 'subject': Expected `str`, got `int`"),
        ([1, "x", 2], "plain() takes 2 arguments by position, but the job has 3"),
    ],
)
def test_what_does_not_fit_is_told(args: Any, why: str) -> None:
    assert complaint(plain, args).startswith(why)


def test_a_handler_without_parameters_takes_nothing() -> None:
    ways: list[Any] = [None, {}, []]
    assert [call(nothing, args) for args in ways] == ["done"] * 3
    assert complaint(nothing, {"a": 1, "b": 2}) == "nothing() takes no arguments, but the job has 'a', 'b'"
    assert complaint(nothing, [1]) == "nothing() takes 0 arguments by position, but the job has 1"


# ways of giving arguments


def defaults(a: int = 1, b: list[int] | None = None, c: str = "c") -> Any:
    return a, b, c


def keyword_only(a: int, *, b: int, c: int = 3) -> Any:
    return a, b, c


def positional_only(a: int = 1, b: int = 2, /, c: int = 3) -> Any:
    return a, b, c


def rest(a: int, *more: int) -> Any:
    return a, more


def rest_alone(*more: Any) -> Any:
    return more


def rest_and_name(a: int, *more: int, b: int = 2) -> Any:
    return a, more, b


def spread(a: int, **more: Any) -> Any:
    return a, more


def spread_alone(**more: Any) -> Any:
    return more


def positional_and_spread(a: int, /, b: int = 2, **more: Any) -> Any:
    return a, b, more


def everything(a: int, /, b: int = 2, *more: int, c: int, d: int = 4, **others: Any) -> Any:
    return a, b, more, c, d, others


def one_object(payload: dict[str, int]) -> Any:
    return payload


def one_point(point: Point) -> Any:
    return point


GIVEN: list[tuple[Callable[..., Any], Any, Any]] = [
    (defaults, None, (1, None, "c")),
    (defaults, {"c": "x"}, (1, None, "x")),
    (defaults, {"b": {}}, (1, [], "c")),
    (defaults, {"b": None}, (1, None, "c")),
    (defaults, [], (1, None, "c")),
    (defaults, [5], (5, None, "c")),
    (defaults, [5, [6]], (5, [6], "c")),
    (keyword_only, {"a": 1, "b": 2}, (1, 2, 3)),
    (keyword_only, {"a": 1, "b": 2, "c": "4"}, (1, 2, 4)),
    (positional_only, {}, (1, 2, 3)),
    (positional_only, {"b": 5}, (1, 5, 3)),
    (positional_only, {"c": 5}, (1, 2, 5)),
    (positional_only, {"a": 7, "c": 5}, (7, 2, 5)),
    (positional_only, [7, 8, 9], (7, 8, 9)),
    (rest, {"a": 1}, (1, ())),
    (rest, [1, 2, 3], (1, (2, 3))),
    (rest_alone, [], ()),
    (rest_alone, None, ()),
    (rest_alone, [1, "x"], (1, "x")),
    (rest_alone, [{"a": 1}], ({"a": 1},)),
    (rest_and_name, [1, 2, 3], (1, (2, 3), 2)),
    (rest_and_name, {"a": 1, "b": 5}, (1, (), 5)),
    (rest_and_name, [{"a": 1, "b": 5}], (1, (), 5)),
    (spread, {"a": "1", "b": [2]}, (1, {"b": [2]})),
    (spread, [1], (1, {})),
    (spread_alone, None, {}),
    (spread_alone, {"b": [2]}, {"b": [2]}),
    (spread_alone, [{"b": [2]}], {"b": [2]}),
    (positional_and_spread, {"a": 1, "x": 5}, (1, 2, {"x": 5})),
    (everything, {"a": 1, "c": 3, "x": 9}, (1, 2, (), 3, 4, {"x": 9})),
    (plain, [{"user_id": 1}], (1, "hi")),
    (plain, [1, "x"], (1, "x")),
    (one_object, [{"a": 1}], {"a": 1}),
    (one_object, [{"payload": {"a": 1}}], {"a": 1}),
    (one_object, {"payload": {"a": 1}}, {"a": 1}),
    (one_point, [{"x": 1}], Point(1)),
]


@pytest.mark.parametrize(("function", "args", "expected"), GIVEN, ids=shown)
def test_arguments_come_by_name_or_by_position(function: Callable[..., Any], args: Any, expected: object) -> None:
    assert call(function, args) == expected


@pytest.mark.parametrize(
    ("function", "args", "why"),
    [
        (keyword_only, [1, 2], "keyword_only() takes 1 arguments by position, but the job has 2"),
        (keyword_only, [1], "keyword_only(): missing argument `b`"),
        (rest, {"more": [1]}, "rest(): "),
        (rest_alone, {"a": 1}, "rest_alone() takes no arguments, but the job has 'a'"),
        (spread_alone, [1], "spread_alone() takes 0 arguments by position, but the job has 1"),
        (plain, [{"user": 1}], "plain(): argument 'user_id': Expected `int`, got `object`"),
        (one_object, [{"a": "x"}], "one_object(): argument 'payload[...]': Expected `int`, got `str`"),
    ],
)
def test_arguments_that_cannot_be_given_are_told(function: Callable[..., Any], args: Any, why: str) -> None:
    assert complaint(function, args).startswith(why)


def test_a_default_is_not_converted() -> None:
    # Given a default that no JSON value could become
    missing = object()

    def handler(a: int = missing) -> Any:  # type: ignore[assignment]
        return a

    # When the argument is not there, then the default is given as it is
    assert call(handler, {}) is missing


# enqueueing


def pack(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return signature(function).pack(args, kwargs)


def pack_refusal(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InvalidArguments) as refused:
        pack(function, *args, **kwargs)
    return str(refused.value)


def anything(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "packed"),
    [
        (plain, (1,), {}, {"user_id": 1}),
        (plain, (1, "x"), {}, {"user_id": 1, "subject": "x"}),
        (plain, (), {"user_id": 1, "subject": "x"}, {"user_id": 1, "subject": "x"}),
        (plain, ("1",), {}, {"user_id": "1"}),
        (nothing, (), {}, None),
        (defaults, (), {}, None),
        (raw, ({"a": 1},), {}, {"a": 1}),
        (raw, (), {"args": {"a": 1}}, {"a": 1}),
        (raw, ({},), {}, {}),
        (with_job, (7,), {}, {"user_id": 7}),
        (with_context, (), {"user_id": 7}, {"user_id": 7}),
        (keyword_only, (1,), {"b": 2}, {"a": 1, "b": 2}),
        (positional_only, (7, 8), {"c": 9}, {"a": 7, "b": 8, "c": 9}),
        (rest, (1,), {}, {"a": 1}),
        (rest, (1, 2, 3), {}, [1, 2, 3]),
        (rest_alone, ({"a": 1},), {}, [{"a": 1}]),
        (spread, (1,), {"b": [2]}, {"a": 1, "b": [2]}),
        (one_point, (Point(1, 2),), {}, {"point": {"x": 1, "y": 2}}),
        (anything, (datetime(2026, 1, 2, tzinfo=UTC),), {}, {"value": "2026-01-02T00:00:00Z"}),
        (anything, (UUID(UNIVERSAL),), {}, {"value": UNIVERSAL}),
        (anything, (Decimal("1.10"),), {}, {"value": "1.10"}),
        (anything, (Colour.RED,), {}, {"value": "red"}),
        (anything, (Level.HIGH,), {}, {"value": 2}),
        (anything, ((1, 2),), {}, {"value": [1, 2]}),
        (anything, (User("Ada"),), {}, {"value": {"name": "Ada", "born": None}}),
        (anything, (Model("x"),), {}, {"value": {"name": "x"}}),
        (anything, ([{"a": Model("x")}],), {}, {"value": [{"a": {"name": "x"}}]}),
        (anything, (timedelta(seconds=5),), {}, {"value": "PT5S"}),
    ],
    ids=shown,
)
def test_a_typed_call_is_packed_as_it_will_come_back(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], packed: object
) -> None:
    assert pack(function, *args, **kwargs) == packed


def test_what_is_packed_is_a_copy() -> None:
    value = {"a": [1]}
    packed = pack(anything, value)
    value["a"].append(2)
    assert packed == {"value": {"a": [1]}}


def test_what_is_packed_runs_with_the_values_given() -> None:
    # Given a handler of rich types
    def handler(when: datetime, who: UUID, where: Point, price: Decimal, *, model: Model) -> Any:
        return when, who, where, price, model

    given = (datetime(2026, 1, 2, tzinfo=UTC), UUID(UNIVERSAL), Point(1), Decimal("1.10"))

    # When the call is packed and run, then it gets what was given
    assert call(handler, pack(handler, *given, model=Model("x"))) == (*given, Model("x"))


def looped() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


def nested(levels: int) -> Any:
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (math.nan, "anything.value is nan, which JSON cannot carry"),
        (math.inf, "anything.value is inf, which JSON cannot carry"),
        ({"a": [-math.inf]}, "anything.value.a[0] is -inf, which JSON cannot carry"),
        (b"x", "anything.value is of type bytes, which JSON cannot carry: pass base64"),
        ({1, 2}, "anything.value is of type set, which JSON cannot carry: a set has no order, pass sorted(...)"),
        ("\ud800", "anything.value holds half of a surrogate pair"),
        ({"\udfff": 1}, "holds half of a surrogate pair"),
        ({1: 2}, "anything.value has the key 1 of type int: JSON keys are text"),
        (object(), "anything.value is of type object, which JSON cannot carry"),
        (print, "anything.value is of type builtin_function_or_method, which JSON cannot carry"),
        (1j, "anything.value is of type complex, which JSON cannot carry"),
        (2**1024, "anything.value is an integer beyond"),
        (looped(), "is nested deeper than 64 levels"),
        (nested(100), "is nested deeper than 64 levels"),
    ],
    ids=shown,
)
def test_what_json_cannot_carry_is_refused_at_the_enqueue(value: object, why: str) -> None:
    assert why in pack_refusal(anything, value)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "why"),
    [
        (plain, (), {}, "plain(): missing argument `user_id`"),
        (plain, ("x",), {}, "plain(): argument 'user_id': Expected `int`, got `str`"),
        (plain, (1, "x", 2), {}, "plain() takes 2 arguments by position, 3 were given"),
        (plain, (1,), {"user_id": 2}, "plain() got 'user_id' twice"),
        (plain, (1,), {"subjekt": 2}, "plain(): unknown argument `subjekt`"),
        (keyword_only, (1, 2), {}, "keyword_only() takes 1 arguments by position, 2 were given"),
        (rest, (1, 2), {"a": 3}, "rest() takes 1 arguments by position, 2 were given"),
        (rest, ("x", 2), {}, "rest(): argument 'a': Expected `int`, got `str`"),
        (raw, (), {}, "raw() takes one mapping of arguments"),
        (raw, (5,), {}, "raw() takes one mapping of arguments"),
        (raw, ([1],), {}, "raw() takes one mapping of arguments"),
        (raw, ({}, {}), {}, "raw() takes one mapping of arguments"),
        (raw, (), {"user_id": {}}, "raw() takes one mapping of arguments"),
        (raw, ({"a": math.nan},), {}, "raw.a is nan"),
        (nothing, (1,), {}, "nothing() takes 0 arguments by position, 1 were given"),
        (with_job, (Job("x"), 7), {}, "with_job() takes 1 arguments by position, 2 were given"),
        (with_job, (), {"job": 1, "user_id": 7}, "with_job(): unknown argument `job`"),
    ],
    ids=shown,
)
def test_a_typed_call_that_cannot_run_is_refused_at_the_enqueue(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], why: str
) -> None:
    assert pack_refusal(function, *args, **kwargs).startswith(why)
