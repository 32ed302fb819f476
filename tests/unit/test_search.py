"""Searching jobs, and grouping what fails."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from worksong.adapters.memory import MemoryBackend
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job, JobView
from worksong.domain.lifecycle import State
from worksong.domain.pipeline import Step, first
from worksong.service.ailments import grouped
from worksong.service.fields import job_fields, steps, without
from worksong.service.search import AT_A_TIME, LONGEST, Search, find, holds, is_like, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Search()),
        ("  mail  ", Search(words=("mail",))),
        ("handler:mail", Search(handler="mail")),
        ('error:"timed out" state:dead', Search(state=State.DEAD, error="timed out")),
        ('"a b" c', Search(words=("a b", "c"))),
        ('"colour:red"', Search(words=("colour:red",))),
        ("handler:a:b id:x", Search(handler="a:b", id="x")),
        ('error:""', Search()),
        ("args.user_id:7", Search(args=(("user_id", "7"),))),
        ('args.a.b:"x y" args.0:*', Search(args=(("a.b", "x y"), ("0", "*")))),
        ("args.:7", Search(words=("args.:7",))),
        ('un"closed', Search(words=("un", "closed"))),
    ],
)
def test_words_and_qualifiers_are_read(text: str, expected: Search) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["colour:red", "state:gone", "state:nowhere", "x" * (LONGEST + 1)])
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(InvalidArguments):
        parse(text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("mail", "MAIL", True),
        ("mail", "mails", False),
        ("mail*", "mails", True),
        ("*ail", "mail", True),
        ("a*a", "a", False),
        ("a*c*c", "ac", False),
        ("a*c*c", "abcc", True),
        ("*", "", True),
    ],
)
def test_a_star_stands_for_any_text(pattern: str, text: str, expected: bool) -> None:
    assert is_like(pattern, text) is expected


@pytest.mark.parametrize(
    ("sought", "args", "expected"),
    [
        ("args.n:7", {"n": 7}, True),
        ("args.n:7", {"n": "7"}, True),
        ("args.n:7", {"n": 77}, False),
        ("args.n:7", {"m": 7}, False),
        ("args.n:7", None, False),
        ("args.n:1*", {"n": 17}, True),
        ("args.on:true", {"on": True}, True),
        ("args.on:null", {"on": None}, True),
        ("args.price:1.5", {"price": 1.5}, True),
        ("args.to.name:ANN", {"to": {"name": "Ann"}}, True),
        ("args.to.name:ann", {"to.name": "Ann"}, True),
        ("args.to:*", {"to": {"name": "Ann"}}, False),
        ("args.0:a", ["a", "b"], True),
        ("args.1.n:2", ["a", {"n": 2}], True),
        ("args.2:*", ["a", "b"], False),
        ("args.n:7", [{"n": 7}], True),
        ("args.n:7 args.m:8", {"n": 7, "m": 9}, False),
        ('args.n:""', {"n": ""}, True),
    ],
)
def test_jobs_are_found_by_their_arguments(sought: str, args: Any, expected: bool) -> None:
    search = parse(sought)
    assert search.narrows
    assert search.finds(JobView(job=Job("a", args), state=State.DEAD)) is expected


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("password", {"password": "4111"}),
        ("to.api_key", {"to": {"api_key": "4111"}}),
        ("card", {"card": "4111"}),
        ("card", [{"card": "4111"}]),
        ("card.number", {"card": {"number": "4111"}}),
        ("0", ["4111"]),
        ("url", {"url": "redis://me:4111@host/"}),
    ],
)
def test_hidden_arguments_cannot_be_guessed(name: str, args: Any) -> None:
    view = JobView(job=Job("a", args), state=State.DEAD)
    for guess in ("4111", "4*", "*1", "*4111*", "redis://me:4111@host/"):
        assert not parse(f'args.{name}:"{guess}"').finds(view, ("card",))


async def test_a_search_leaves_others_their_turn() -> None:
    # Given many jobs, and one who gives up the search once it has begun
    backend, asked, begun = MemoryBackend(), list[str](), asyncio.Event()
    await backend.push([Job("mail", {"n": number}, id=f"job-{number}") for number in range(10 * AT_A_TIME)], 1.0)

    def hidden(handler: str) -> tuple[str, ...]:
        asked.append(handler)
        begun.set()
        return ()

    searching = asyncio.create_task(find(backend, State.QUEUED, Search(args=(("n", "7"),)), hidden))
    await begun.wait()
    # When it is ended, then it does not go through all of them before it hears of that
    searching.cancel()
    await asyncio.wait([searching])
    assert searching.cancelled()
    assert len(asked) <= 2 * AT_A_TIME


def test_no_pattern_is_slow() -> None:
    started = time.process_time()
    assert not holds("a*" * 200 + "b", "a" * 50_000)
    assert time.process_time() - started < 30


def test_failures_that_differ_in_numbers_only_are_one_group() -> None:
    def failed(job_id: str, error: str, at: float, state: State = State.DEAD) -> JobView:
        return JobView(job=Job("charge", id=job_id, error=error, failed_at=at), state=state, at=at + 60)

    groups = grouped(
        [
            failed("a", "Traceback\nLookupError: order 7 of 65a3f09be1c2 is unknown", 5.0),
            failed("b", "LookupError: order 812 of 0x7fa3 is unknown", 9.0, State.RETRY),
            failed("c", 'OSError: "disk" is full', 7.0),
        ]
    )
    assert [(group.error, group.dead, group.retry, group.first_at, group.last_at) for group in groups] == [
        ("LookupError: order * of * is unknown", 1, 1, 5.0, 9.0),
        ("OSError: *disk* is full", 1, 0, 7.0, 7.0),
    ]
    # And what a group is called finds its jobs again
    assert holds(groups[0].error, "LookupError: order 7 of 65a3f09be1c2 is unknown")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"card": 1, "n": 2}, {"card": "***", "n": 2}),
        ([{"card": 1, "n": 2}], [{"card": "***", "n": 2}]),
        ([1, 2], ["***", "***"]),
        (None, None),
    ],
)
def test_hidden_arguments_are_not_told_however_they_are_carried(args: object, expected: object) -> None:
    assert without(args, ("card",)) == expected
    assert without(args, ()) == args


def test_of_the_steps_behind_a_job_only_their_names_are_told() -> None:
    # Given a step before another one, whose job type hides an argument
    behind = Step("charge", {"card": "4111"})
    (job,) = first("p1", "order", [[Step("pack", {"n": 1})], [behind, Step("mail", ["4111"])]])
    view = JobView(job=job, state=State.QUEUED)
    # When it is shown
    told = job_fields(view, reveal=False)["meta"]["pipeline"]
    # Then its way is, without any argument
    assert told == {
        "id": "p1",
        "name": "order",
        "stage": 0,
        "stages": 2,
        "member": 0,
        "width": 1,
        "rest": [["charge", "mail"]],
    }
    assert "4111" in str(job_fields(view, reveal=True)["meta"])
    # And of a way that nobody of us wrote nothing is
    strange = JobView(job=Job("pack", meta={"pipeline": {"rest": "4111"}, "n": 1}), state=State.QUEUED)
    assert job_fields(strange, reveal=False)["meta"] == {"pipeline": "***", "n": 1}


def test_a_login_in_an_error_cannot_be_guessed_by_searching_for_it() -> None:
    failed = Job("charge", error="LookupError: redis://admin:hunter2@cache/0 is away")
    view = JobView(job=failed, state=State.DEAD, reason="amqp://admin:hunter2@broker/")
    for sought in ("hunter", "error:admin:h*", 'error:"hunter2@"', "admin"):
        assert not parse(sought).finds(view), sought
    assert parse('error:"redis://***@cache/0 is away"').finds(view)


@pytest.mark.parametrize(("checkin", "expected"), [("3/10", (3, 10)), ("3/0", None), ("half", None), ("1/2/3", None)])
def test_a_check_in_may_tell_how_far_it_is(checkin: str, expected: object) -> None:
    assert steps(checkin) == expected
