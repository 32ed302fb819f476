"""A message that the server has given us, and waits to hear of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from worksong.adapters.amqp.channel import Channel, Delivered
from worksong.adapters.amqp.names import REDELIVERIES

if TYPE_CHECKING:
    from worksong.adapters.amqp.tap import Tap


class Held(NamedTuple):
    """Ours as long as its channel is open."""

    handler: str
    delivered: Delivered
    channel: Channel
    tap: Tap
    since: float
    """When it came, by the loop's clock."""
    hold: str = ""
    """The queue of the channel's own that it came from; empty: that of its type."""

    @property
    def spared(self) -> bool:
        """Whether it came back often."""
        count = self.delivered.received.headers.get("x-delivery-count")
        return isinstance(count, int) and count >= REDELIVERIES // 2

    def ack(self) -> None:
        """Have the server forget it, unless it is the server's again."""
        if self.channel.open:
            self.tap.ack([self])

    def requeue(self) -> None:
        """Have the server take it back, unless it has."""
        if self.channel.open:
            self.tap.requeue([self])
