"""Callers that give up anywhere in a call."""

from __future__ import annotations

import asyncio
import random


async def cancelled_at_random(tasks: list[asyncio.Task[None]], chance: random.Random) -> int:
    """Cancel half of them, each after some turns of the loop; how many of all were cancelled before they ended."""
    victims = chance.sample(tasks, len(tasks) // 2)
    while victims:
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0 if chance.random() < 0.9 else 0.002)
        for _ in range(min(len(victims), chance.randrange(1, 9))):
            victims.pop().cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [end for end in ends if end is not None and not isinstance(end, asyncio.CancelledError)]
    assert failures == []
    return sum(isinstance(end, asyncio.CancelledError) for end in ends)
