"""What is wrong with the server, or with a queue in it, as far as a client is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from worksong.adapters.amqp.channel import NOT_FOUND, OTHERWISE, ChannelClosed
from worksong.adapters.amqp.core import Core
from worksong.adapters.amqp.names import Arguments
from worksong.domain.finding import Ailment, Finding, Severity, some, verdict
from worksong.ports.backend import BusyView, PoolView

OTHER = Ailment(
    "amqp.declared",
    Severity.WARNING,
    "Queues are declared otherwise than ours and Go's are: Go's adapter would be refused, and their arguments hold.",
    "let the workers empty the queue, delete it, and have a worker declare it again; set limits by policies instead",
)
DROPPING = Ailment(
    "amqp.dropping",
    Severity.ERROR,
    "Queues are declared with arguments that let the server drop waiting jobs.",
    "let the workers empty the queue, delete it, and have a worker declare it again",
)
BLOCKED = Ailment(
    "amqp.blocked",
    Severity.ERROR,
    "The server has an alarm on, and takes no messages in.",
    "free memory or disk on the server: rabbitmq-diagnostics alarms says which",
)
STALE = Ailment(
    "amqp.unattended",
    Severity.WARNING,
    "Jobs wait, and idle workers that know their types consume nothing of them.",
    "see the log of those workers: it says what keeps them; a restart registers their consumers anew",
)
UNBOUND = Ailment(
    "amqp.unbound",
    Severity.ERROR,
    "The exchange is missing, or is not of the kind direct and durable: what is published to it is lost or refused.",
    "delete the exchange; a worker declares it again, and binds its queues",
)
CLASSIC = Ailment(
    "amqp.classic",
    Severity.INFO,
    "Queues are classic ones: they live on one node, and count no deliveries of jobs that kill their workers.",
    "for queues of your own: ?namespace=myapp&queue_type=quorum",
)
UNSEEN = Ailment(
    "amqp.policies",
    Severity.INFO,
    "Policies of the server are not visible to clients: message-ttl, expires, max-length with drop-head or a "
    "dead-letter-exchange on a queue of jobs drop or divert them.",
    "rabbitmqctl list_policies; list_operator_policies; and rabbitmqctl environment for consumer_timeout: "
    "where it is below 30 minutes, the URL should say so, in seconds, as in ?consumer_timeout=600",
)
AILMENTS = (OTHER, DROPPING, BLOCKED, STALE, UNBOUND, CLASSIC, UNSEEN)
LOSING = ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-overflow")
_ARGUMENT = re.compile(r"inequivalent arg '([^']+)' for queue")


class Doctor:
    """Looks, and changes nothing: what it declares to compare is there already."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def admit(self) -> list[Finding]:
        """What whoever begins to work here should be warned of."""
        await self._core.reach()
        return self._alarm()

    async def examine(self, pools: Sequence[PoolView], busy: Sequence[BusyView]) -> list[Finding]:
        core = self._core
        await core.reach()
        handlers = await core.handlers()
        found = verdict("amqp.alarm", "The server has no alarm on that this connection was told of.", self._alarm())
        found += verdict("amqp.queues", "Every queue is declared as it should be.", await self._declared(handlers))
        found += verdict(
            "amqp.consumers", "Every queue with jobs has a consumer.", await self._attended(handlers, pools, busy)
        )
        if core.address.exchange:
            found += verdict("amqp.exchange", "The exchange is there, direct and durable.", await self._bound())
        if not core.names.quorum:
            found.append(CLASSIC.found("for a single node, and together with Go's adapter, that is as it must be"))
        found.append(UNSEEN.found("look at them once, and after each change"))
        return found

    def _alarm(self) -> list[Finding]:
        blocked = self._core.out.blocked
        return [BLOCKED.found(blocked)] if blocked else []

    async def _declared(self, handlers: Sequence[str]) -> list[Finding]:
        """By declaring them: one that is otherwise is refused, with the first argument that differs."""
        names, other, dropping = self._core.names, list[str](), list[str]()
        for handler in handlers:
            for queue, arguments in (
                (names.queue(handler), names.queue_arguments(handler)),
                (names.dead(handler), names.dead_arguments()),
            ):
                said = await self._refusal(queue, arguments)
                if said:
                    argument = _ARGUMENT.search(said)
                    (dropping if argument and argument[1] in LOSING else other).append(f"{queue} ({said})")
        found = [DROPPING.found(some(dropping))] if dropping else []
        return [*found, *([OTHER.found(some(other))] if other else [])]

    async def _refusal(self, queue: str, arguments: Arguments) -> str:
        topology = self._core.topology
        if await topology.look(queue) is None:
            return ""
        try:
            await topology.ask(lambda channel: channel.declare(queue, arguments))
        except ChannelClosed as closed:
            return closed.text.partition(" - ")[2] or closed.text if closed.code == OTHERWISE else ""
        return ""

    async def _attended(
        self, handlers: Sequence[str], pools: Sequence[PoolView], busy: Sequence[BusyView]
    ) -> list[Finding]:
        """A worker whose slots are all busy consumes nothing for a while: that is no ailment."""
        working = Counter(view.pool_id for view in busy)
        idle = {name for pool in pools if working[pool.id] < pool.concurrency for name in pool.handlers}
        lonely: list[str] = []
        for handler in idle.intersection(handlers):
            declared = await self._core.topology.look(self._core.names.queue(handler))
            if declared and declared.messages and not declared.consumers:
                lonely.append(f"{handler} ({declared.messages:,} waiting)")
        return [STALE.found(some(sorted(lonely)))] if lonely else []

    async def _bound(self) -> list[Finding]:
        exchange = self._core.address.exchange
        try:
            await self._core.topology.ask(lambda channel: channel.look_exchange(exchange))
            await self._core.topology.ask(lambda channel: channel.exchange(exchange, "direct"))
        except ChannelClosed as closed:
            if closed.code in {NOT_FOUND, OTHERWISE}:
                return [UNBOUND.found(closed.text)]
            raise
        return []
