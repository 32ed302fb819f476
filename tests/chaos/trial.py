"""One kind of call under every fault of the network, on servers that speak when they like: RabbitMQ and Faktory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, NamedTuple, TypeVar

from chaos.meeting import Met, meeting, repeated
from chaos.proxy import ON_CONNECTING, Fault, Proxy
from chaos.scale import FULL
from chaos.test_network_faults import LINE, SEEDS, SLACK

Stage = TypeVar("Stage")
TIMEOUT = 2.0 if FULL else 60.0
"""Seconds, of the address: what any command may take. In the small no fault makes a call wait for it."""
CARRIED_OUT = frozenset({Fault.CUT_AFTER, Fault.HALF_CLOSED, Fault.GARBAGE, Fault.STALLED})
"""The server did what it was asked for, and nobody heard so."""


class Operation(NamedTuple, Generic[Stage]):
    """A kind of call: what stands before it, the call, and what must be true when it is over and all is healed."""

    command: str
    """What is struck, in the words of the proxy."""
    given: Callable[[Stage], Awaitable[None]]
    act: Callable[[Stage], Awaitable[object]]
    then: Callable[[Stage, Met, Fault], Awaitable[None]]


async def stood(
    name: str,
    operation: Operation[Stage],
    faults: Sequence[Fault],
    *,
    staged: Callable[[int], AbstractAsyncContextManager[tuple[Stage, Proxy]]],
    healthy: Callable[[Stage], Awaitable[object]],
) -> dict[str, float]:
    """Each fault by each seed; answers what a certificate tells of them.

    `staged`: a stage by a seed, and the proxy that it works through. `healthy`: any call that the server answers.
    """
    slowest = slowest_heal = 0.0
    for fault in faults:
        for seed in SEEDS:
            async with staged(seed) as (stage, proxy):
                # Given what the call needs, and a fault that waits for it
                await operation.given(stage)
                proxy.strike(operation.command, fault)
                # When it is made
                met = await meeting(operation.act, stage)
                # Then it has not hung, and after the fault is healed
                about = f"{name}, {fault.name}, seed {seed}: {met}"
                print(about)
                assert proxy.struck.total() or fault in ON_CONNECTING, about
                assert met.seconds <= 2 * TIMEOUT + SLACK, about
                assert met.error is None or fault not in LINE, about
                proxy.heal()
                healed = await repeated(healthy, stage)
                # it is done once, or its caller knows
                await operation.then(stage, met, fault)
                slowest, slowest_heal = max(slowest, met.seconds), max(slowest_heal, healed)
    return {
        "faults": len(faults),
        "seeds": len(SEEDS),
        "lost": 0,
        "longest_call": slowest,
        "command_timeout": TIMEOUT,
        "longest_until_healthy": slowest_heal,
    }
