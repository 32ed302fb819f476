"""What a publisher of RabbitMQ says of messages whose queue went away."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from worksong.adapters.amqp.link import Lost
from worksong.adapters.amqp.publisher import Outgoing, Publisher, Unconfirmed
from worksong.wire.amqp import Message


class Declared:
    """A topology that finds every queue again."""

    def forget_type(self, handler: str) -> None:
        """Nothing is known of it."""

    async def ensure(self, handler: str) -> None:
        """It is there."""


@pytest.mark.parametrize(("confirmed", "told"), [(0, Lost), (1, Unconfirmed)])
async def test_a_connection_that_breaks_at_the_second_try_is_told_by_what_was_confirmed_before(
    monkeypatch: pytest.MonkeyPatch, confirmed: int, told: type[Exception]
) -> None:
    # Given two messages, of which so many are confirmed and the others find no queue
    nothing: Any = None
    topology: Any = Declared()
    publisher, tries = Publisher(nothing, topology, 1.0), list[int]()
    messages = [Outgoing("send", "", key, nothing) for key in ("first", "second")]

    async def fails(sent: list[Outgoing]) -> list[Outgoing]:
        tries.append(len(sent))
        if len(tries) == 1:
            return sent[confirmed:]
        raise Lost("the connection broke before anything was sent")

    monkeypatch.setattr(publisher, "_try", fails)
    # When the connection breaks as those are sent again
    with pytest.raises(told) as raised:
        await publisher.publish(messages)
    # Then "nothing is there" is said only where nothing is
    assert type(raised.value) is told
    assert tries == [2, 2 - confirmed]


class Line:
    """A connection to a server that says nothing, but perhaps why."""

    def __init__(self, blocked: str) -> None:
        self.blocked = blocked


@pytest.mark.parametrize(("blocked", "waited"), [("low on memory", [4.0]), ("", [4.0, 1.0])])
async def test_a_server_that_takes_nothing_in_is_waited_for_less_long_than_any_other(
    monkeypatch: pytest.MonkeyPatch, blocked: str, waited: list[float]
) -> None:
    # Given a message that is not confirmed, and a bar of five seconds for whoever enqueued it
    line: Any = Line(blocked)
    nothing: Any = None
    publisher, waits = Publisher(line, nothing, 5.0), list[float]()
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def passes(answers: list[asyncio.Future[None]], **within: float) -> tuple[set[Any], list[Any]]:
        waits.append(within["timeout"])
        return set(), answers

    monkeypatch.setattr(asyncio, "wait", passes)
    # When it is waited for, then a server that says why it does not answer gets four of them
    assert not await publisher._patiently(answer)
    assert waits == pytest.approx(waited)


class Open:
    """A channel that takes whatever is written."""

    open = True

    def publish(self, exchange: str, key: str, message: Message) -> None:
        """Write it."""


async def test_a_job_on_its_way_to_two_places_is_refused_where_it_found_no_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a job that is published for its next try, and at the same time as a copy of itself
    line, nothing, channel = Line(""), None, Open()
    publisher = Publisher(cast("Any", line), cast("Any", nothing), 60.0)
    job = Message(b"{}", "one", "send", 0, {})

    async def ready() -> Open:
        return channel

    monkeypatch.setattr(publisher, "ready", ready)
    copy, retry = Outgoing("send", "", "send.held.1", job), Outgoing("send", "", "send.delay.100", job)
    tries = [asyncio.ensure_future(publisher._try([outgoing])) for outgoing in (copy, retry)]
    await asyncio.sleep(0)
    # When the second one finds no queue, and the first one is confirmed after the server said so
    publisher._return("one", "send.delay.100", "NO_ROUTE")
    publisher._confirm(1, everything=False, taken=True)
    publisher._confirm(2, everything=False, taken=True)
    # Then it is the second one that has to be sent again
    assert await asyncio.gather(*tries) == [[], [retry]]
