"""The outbox of plain jobs: one command for a turn of the loop, and to each caller its own fate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from engine_bench import PATIENCE, until
from worksong.adapters.redis.client import NoAnswer, ServerError
from worksong.adapters.redis.outbox import HEAVY, MOST, Document, Outbox, portions
from worksong.domain.errors import BackendRefused, BackendUnavailable, EnqueueOutcomeUnknown
from worksong.domain.job import Job


def document(job_id: str, raw: bytes = b"{}") -> Document:
    return Job("send", id=job_id), raw


class Post:
    """A server that notes each command, and answers as told."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.bad: set[str] = set()
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.box = Outbox(self._take)

    async def _take(self, documents: Sequence[Document], now: float) -> None:
        ids = [job.id for job, _ in documents]
        self.commands.append(ids)
        await self.gate.wait()
        if self.failure:
            raise self.failure
        if self.bad.intersection(ids):
            raise ServerError("WRONGTYPE key")

    async def put(self, *ids: str) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.box.put([document(one) for one in ids], 1.0)


async def test_what_is_pushed_in_one_turn_leaves_in_one_command_in_order() -> None:
    post = Post()
    await asyncio.gather(post.put("a"), post.put("b", "c"), post.put("d"))
    await post.put("e")
    assert post.commands == [["a", "b", "c", "d"], ["e"]]


async def test_a_refused_job_fails_alone() -> None:
    # Given one push that the server refuses, among others
    post = Post()
    post.bad = {"c"}

    # When they leave together, then only its caller hears of it, and all others are taken in once
    answers = await asyncio.gather(*(post.put(one) for one in "abcd"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), type(None), ServerError, type(None)]
    assert post.commands == [["a", "b", "c", "d"], ["a"], ["b"], ["c"], ["d"]]


async def test_after_a_lost_answer_each_caller_is_told_of_its_own_jobs() -> None:
    post = Post()
    post.failure = EnqueueOutcomeUnknown(["a", "b", "c"], "cut")
    post.failure.__cause__ = NoAnswer("cut")
    first, second = await asyncio.gather(post.put("a"), post.put("b", "c"), return_exceptions=True)
    assert isinstance(first, EnqueueOutcomeUnknown)
    assert isinstance(second, EnqueueOutcomeUnknown)
    assert (first.job_ids, second.job_ids) == (("a",), ("b", "c"))
    assert "cut" in str(first)
    assert post.commands == [["a", "b", "c"]]


@pytest.mark.parametrize("failure", [BackendUnavailable("away"), ValueError("broken")])
async def test_a_failure_of_the_whole_reaches_every_caller_and_nothing_is_repeated(failure: Exception) -> None:
    post = Post()
    post.failure = failure
    answers = await asyncio.gather(post.put("a"), post.put("b"), return_exceptions=True)
    assert [(type(answer), str(answer)) for answer in answers] == [(type(failure), str(failure))] * 2
    assert post.commands == [["a", "b"]]


async def test_who_gives_up_before_it_leaves_has_pushed_nothing() -> None:
    post = Post()
    given_up, kept = asyncio.ensure_future(post.put("a")), asyncio.ensure_future(post.put("b"))
    alone = asyncio.ensure_future(post.put("c"))
    asyncio.get_running_loop().call_soon(given_up.cancel)  # runs before what the pushes ask the loop to do
    await asyncio.wait([given_up, kept, alone])
    assert given_up.cancelled()
    assert post.commands == [["b", "c"]]


async def test_who_gives_up_while_it_is_under_way_costs_nobody_else_the_answer() -> None:
    post = Post()
    post.gate.clear()
    given_up, kept = asyncio.ensure_future(post.put("a")), asyncio.ensure_future(post.put("b"))
    await until(lambda: post.commands)
    given_up.cancel()
    post.gate.set()
    await kept
    assert given_up.cancelled()


def test_a_loop_that_ends_leaves_nobody_waiting_in_the_next() -> None:
    # Given a push whose loop ends before it leaves, and one whose loop ends on its way
    post: list[Post] = []
    callers: list[asyncio.Future[None]] = []

    async def leave_at_once() -> None:
        post.append(Post())
        post[0].gate.clear()
        callers.append(asyncio.ensure_future(post[0].put("a")))
        await until(lambda: post[0].commands)
        callers.append(asyncio.ensure_future(post[0].put("b")))
        await asyncio.sleep(0)

    async def push_again() -> None:
        post[0].gate = asyncio.Event()
        post[0].gate.set()
        await post[0].put("c")

    asyncio.run(leave_at_once())

    # When another loop pushes, then it is served
    asyncio.run(push_again())
    assert post[0].commands[-1] == ["c"]


async def test_callers_with_much_to_carry_share_no_command() -> None:
    post = Post()
    many = [document(f"m{number}") for number in range(MOST)]
    large = [document("large", b" " * HEAVY)]
    await asyncio.gather(*(post.box.put(load, 1.0) for load in (many, [document("a")], large, [document("b")])))
    assert [len(command) for command in post.commands] == [MOST, 1, 1, 1]


def test_portions_end_at_a_number_and_at_a_size() -> None:
    small, large = document("s"), document("l", b" " * (HEAVY // 2))
    assert [len(portion) for portion in portions([small] * (2 * MOST + 1))] == [MOST, MOST, 1]
    assert [len(portion) for portion in portions([large] * 5)] == [2, 2, 1]
    assert [len(portion) for portion in portions([document("h", b" " * (HEAVY + 1))] * 2)] == [1, 1]
    assert list(portions([])) == []


async def test_a_refusal_is_of_the_tree() -> None:
    post = Post()
    post.bad = {"a"}
    with pytest.raises(BackendRefused, match="WRONGTYPE"):
        await post.put("a")
