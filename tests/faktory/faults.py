"""What goes wrong between a client and its Faktory, planned by tests and met by the next commands of a verb."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from enum import Enum

from patience import PATIENCE


class Fault(Enum):
    """What goes wrong with a command."""

    LOST = "it is carried out, and the connection breaks before the answer"
    CUT = "the connection breaks before it is carried out"
    MUTE = "it is carried out, and nothing is answered on a connection that stays"
    SHUTDOWN = "the server is shutting down"


class Faults:
    """What was asked, and what goes wrong with what will be."""

    def __init__(self) -> None:
        self.turn_of = threading.Condition()
        """Whoever touches anything here has it; told when something has changed."""
        self.seen: Counter[str] = Counter()
        """How often each verb came."""
        self._planned: dict[str, list[Fault]] = {}

    def fail(self, verb: str, *faults: Fault) -> None:
        """The next commands of this verb meet these."""
        with self.turn_of:
            self._planned.setdefault(verb, []).extend(faults)

    def fault(self, verb: str) -> Fault | None:
        """A command has come: what it meets."""
        with self.turn_of:
            self.seen[verb] += 1
            planned = self._planned.get(verb)
            return planned.pop(0) if planned else None

    def forget(self) -> None:
        """Nothing more goes wrong."""
        with self.turn_of:
            self._planned.clear()

    async def asked(self, verb: str) -> None:
        """Wait until somebody has asked this."""
        until = time.monotonic() + PATIENCE
        while not self.seen[verb]:
            assert time.monotonic() < until, f"nobody asked {verb}"
            await asyncio.to_thread(time.sleep, 0.01)
