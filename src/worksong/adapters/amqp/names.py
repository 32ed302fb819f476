"""Every name in the server and every argument of a queue, in one place."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from typing import TypeAlias

Arguments: TypeAlias = dict[str, int | str]

FINEST = 25
"""Milliseconds of the shortest delay queue."""
LADDER = tuple(FINEST << step for step in range(27))
"""Milliseconds of each delay queue: the longest is 19 days, and what waits longer passes it several times."""
SPARE = 600
"""Seconds that a delay queue outlives the last message that can be in it."""
RENEWED = 60.0
"""Seconds for which a delay queue need not be declared again, well below `SPARE`."""
HOLD_FOR = 10_000
"""Milliseconds after which a copy that its worker does not hold goes to the queue of its type."""
REDELIVERIES = 20
"""Deliveries without an ending after which a quorum queue gives a job to the dead."""


class Names:
    """The names of one namespace. The server allows 255 bytes to each."""

    def __init__(
        self, namespace: str, *, quorum: bool = False, ladder: tuple[int, ...] = LADDER, hold_for: int = HOLD_FOR
    ) -> None:
        self.namespace, self.quorum, self.ladder, self.hold_for = namespace, quorum, ladder, hold_for
        self._prefix = f"{namespace}." if namespace else ""
        self.ask = f"{self._prefix}worksong.ask"
        """The exchange through which all pools are asked who they are."""
        self.crew = f"{self._prefix}worksong.crew"
        """A queue without messages: it has as many consumers as there are processes with pools."""
        self.types = f"{self._prefix}worksong.types"
        """A queue with one message: the job types that ever had a worker."""
        self.seal = f"{self._prefix}worksong.seal"
        """An exchange that is never there for longer than a moment."""

    def queue(self, handler: str) -> str:
        """Where a job type's jobs wait. Without a namespace its bare name, as Go's adapter has it."""
        return f"{self._prefix}{handler}"

    def dead(self, handler: str) -> str:
        return f"{self._prefix}{handler}.dead"

    def delay(self, handler: str, milliseconds: int) -> str:
        """Never `<handler>_delayed_<n>`: those are Go's, declared with other arguments."""
        return f"{self._prefix}{handler}.delay.{milliseconds}"

    def hold(self, handler: str, owner: str) -> str:
        """Where a channel keeps the jobs of this type that run for long."""
        return f"{self._prefix}{handler}.held.{owner}"

    def claim(self, job_id: str) -> str:
        """A queue that only one process can declare: whoever does enqueues the job of this id."""
        return f"{self._prefix}worksong.once.{hashlib.sha256(job_id.encode()).hexdigest()[:40]}"

    def rung(self, seconds: float) -> int:
        """The longest delay that is over when `seconds` are, but for the shortest of all."""
        place = bisect_right(self.ladder, round(seconds * 1000))
        return self.ladder[max(0, place - 1)]

    # arguments

    def queue_arguments(self, handler: str) -> Arguments:
        """None for classic queues: Go declares them with none, and others would be refused."""
        if not self.quorum:
            return {}
        return {**_quorum("", self.dead(handler)), "x-delivery-limit": REDELIVERIES}

    def dead_arguments(self) -> Arguments:
        return {"x-queue-type": "quorum"} if self.quorum else {}

    def delay_arguments(self, handler: str, milliseconds: int) -> Arguments:
        """The same formula everywhere: whoever declares the queue must do so alike."""
        return self._passing_on(handler, milliseconds)

    def hold_arguments(self, handler: str) -> Arguments:
        """A message that is held has no end; one that is not, had it long ago, or has it soon."""
        return self._passing_on(handler, self.hold_for)

    def _passing_on(self, handler: str, milliseconds: int) -> Arguments:
        """Of a queue whose messages move to that of their type by themselves, and which then goes, too."""
        arguments: Arguments = {
            "x-message-ttl": milliseconds,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.queue(handler),
            "x-expires": milliseconds + SPARE * 1000,
        }
        return arguments | _quorum("", self.queue(handler)) if self.quorum else arguments


def _quorum(exchange: str, key: str) -> Arguments:
    """Dead-lettering loses messages unless it is confirmed, and that needs a queue that refuses instead of dropping."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-routing-key": key,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
