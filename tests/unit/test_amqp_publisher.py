"""What a publisher of RabbitMQ says of messages whose queue went away."""

from __future__ import annotations

from typing import Any

import pytest

from worksong.adapters.amqp.link import Lost
from worksong.adapters.amqp.publisher import Outgoing, Publisher, Unconfirmed


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
