"""C9 on the one connection of a Redis client: a thousand tasks cancelled anywhere in a command leave it in step."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

import servers
from chaos.cancelling import cancelled_at_random
from chaos.proxy import Proxy
from chaos.scale import SEED
from worksong.adapters.redis.address import parse
from worksong.adapters.redis.client import Redis, Script

TASKS = 1000
ECHO = Script("return ARGV[1]")


@pytest.fixture
def chance() -> random.Random:
    print(f"seed {SEED}")
    return random.Random(SEED)


async def test_nobody_gets_the_answer_of_a_cancelled_caller(
    redis_server: servers.Redis, chance: random.Random, certify: Callable[..., None]
) -> None:
    wrong: list[tuple[bytes, object]] = []

    async def ask(redis: Redis, name: int) -> None:
        for turn in range(5):
            text = f"{name}-{turn}".encode()
            match (name + turn) % 3:
                case 0:
                    answer = await redis.call("ECHO", text)
                case 1:
                    answer = await redis.script(ECHO, (), (text,))
                case _:
                    answer = (await redis.gather([("PING",), ("ECHO", text)]))[1]
            if answer != text:
                wrong.append((text, answer))

    with Proxy(redis_server.port) as proxy:
        # Given a thousand tasks on a client that is not yet connected
        redis = Redis(parse(proxy.url))
        tasks = [asyncio.create_task(ask(redis, name)) for name in range(TASKS)]
        # When half of them are cancelled wherever they are
        cancelled = await cancelled_at_random(tasks, chance)
        # Then nobody got a wrong answer, and there is one connection, in step
        assert wrong == []
        assert await redis.call("ECHO", "still in step") == b"still in step"
        assert (len(proxy.connects), proxy.open) == (1, 1)
        await redis.close()
    certify("C9 one connection", tasks=TASKS, cancelled=cancelled, wrong_answers=0, leaked_connections=0)
