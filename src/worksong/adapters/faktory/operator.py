"""An operator's hand and eyes, as far as INFO, QUEUE and MUTATE reach."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from worksong.adapters.faktory.client import Client, Said
from worksong.domain.errors import InvalidArguments
from worksong.domain.lifecycle import State
from worksong.ports.backend import QueueView
from worksong.wire import faktory as wire
from worksong.wire import faktory_talk as talk

SETS = {State.SCHEDULED: "scheduled", State.RETRY: "retries", State.DEAD: "dead"}

log = logging.getLogger("worksong.faktory")


class Operator:
    """Looks and acts. The server tells how many jobs there are, and never which."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def queues(self) -> list[QueueView]:
        """Those of our namespace; the server tells nobody which of them are paused."""
        sizes = (await self.info()).faktory.queues
        names = {queue: plain for queue in sizes if (plain := self._client.address.plain(queue))}
        waited = await self._latencies([queue for queue in names if sizes[queue]])
        return [
            QueueView(name=plain, count=sizes[queue], latency=max(0.0, waited.get(queue, 0.0)))
            for queue, plain in sorted(names.items())
        ]

    async def counts(self) -> dict[State, int]:
        """Of the whole server, whatever the namespace: its sets are not apart."""
        info = await self.info()
        sets = info.faktory.sets
        return {
            State.QUEUED: sum(info.faktory.queues.values()),
            State.RUNNING: sets.get("working", 0),
            **{state: sets.get(name, 0) for state, name in SETS.items()},
        }

    async def mutate(self, order: str, state: State, job_ids: Sequence[str] | None) -> int:
        """Requeue or discard; answers by how much the set shrank meanwhile, which is all that there is to know."""
        if state not in SETS:
            raise InvalidArguments(f"Faktory changes scheduled, retry and dead jobs only, not {state.value} ones")
        target, before = SETS[state], await self._size(SETS[state])
        if job_ids is None:
            await self._order(order, target, pattern=self._ours())
        elif job_ids:
            jids = list(dict.fromkeys(job_ids))
            await self._client.mutate(order, target, jids)
            for job_id in jids:
                await self._order(order, target, pattern=talk.known_as(job_id))
        return max(0, before - await self._size(target))

    async def pause(self, name: str) -> None:
        """The server pauses nothing that it has not seen a job of."""
        queue = self._queue(name)
        if queue not in (await self.info()).faktory.queues:
            log.warning("queue %s holds no job so far, and Faktory pauses none that it does not know", name)
        await self._client.ask("QUEUE", f"PAUSE {queue}".encode())

    async def resume(self, name: str) -> None:
        await self._client.ask("QUEUE", f"RESUME {self._queue(name)}".encode())

    async def purge(self, name: str) -> int:
        """Answers how many waited when it was asked."""
        queue = self._queue(name)
        waiting = (await self.info()).faktory.queues.get(queue, 0)
        await self._client.ask("QUEUE", f"REMOVE {queue}".encode())
        return waiting

    async def erase(self) -> None:
        """Every queue of the namespace, and what of it is in the sets."""
        for queue in (await self.info()).faktory.queues:
            if self._client.address.plain(queue):
                await self._client.ask("QUEUE", f"REMOVE {queue}".encode())
        for target in SETS.values():
            await self._order("discard", target, pattern=self._ours())

    async def info(self) -> talk.Info:
        """What the server says of itself."""
        reply = await self._client.ask("INFO")
        return talk.info(reply if isinstance(reply, bytes) else b"")

    async def _size(self, target: str) -> int:
        return (await self.info()).faktory.sets.get(target, 0)

    async def _order(self, order: str, target: str, *, pattern: str) -> None:
        await self._client.ask("MUTATE", talk.mutation(order, target, pattern=pattern))

    def _ours(self) -> str:
        namespace = self._client.address.namespace
        return talk.queued_in(self._client.address.queue("")) if namespace else ""

    def _queue(self, name: str) -> str:
        if wrong := wire.wrong_with_queue(name):
            raise InvalidArguments(wrong)
        return self._client.address.queue(name)

    async def _latencies(self, queues: Sequence[str]) -> dict[str, float]:
        """As far as the server tells: those before 1.9.2 do not."""
        if not queues:
            return {}
        try:
            reply = await self._client.ask("QUEUE", f"LATENCY {' '.join(queues)}".encode())
        except Said as refusal:
            if len(queues) == 1 or "no such QUEUE subcommand" in str(refusal):
                return {}
            # It tells none when there is one that it cannot: a job that an operator queued was never dated.
            each = [await self._latencies([queue]) for queue in queues]
            return {queue: waited for one in each for queue, waited in one.items()}
        try:
            return msgspec.json.decode(reply if isinstance(reply, bytes) else b"{}", type=dict[str, float])
        except msgspec.DecodeError:
            return {}
