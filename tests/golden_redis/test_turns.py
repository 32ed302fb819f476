"""Which job types a fetch asks, and what it may take of each while others have less."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from golden_redis.conftest import Open
from golden_redis.steps import good, join
from golden_redis.stored import Stored, T
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.job import Delivery
from worksong.domain.turns import Share
from worksong.ports.backend import Pool, Want

NAMES = ("a", "b", "c", "d")


async def lend(backend: GocraftBackend, pool: Pool, *turns: tuple[str, int]) -> Sequence[Delivery]:
    """Fetch with these quotas, which add up to what is asked for."""
    shares = tuple(Share(name, quota) for name, quota in turns)
    return await backend.fetch(Want(pool.id, sum(quota for _, quota in turns), 0.0, shares), T)


def of(found: Sequence[Delivery]) -> dict[str, int]:
    """How many of each type."""
    return dict(Counter(delivery.job.handler for delivery in found))


def asking(backend: GocraftBackend, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The scripts that the backend has the server run from now on."""
    run, asked = backend._space.run, list[object]()

    async def noted(script: Any, *given: Any) -> Any:
        asked.append(script)
        return await run(script, *given)

    monkeypatch.setattr(backend._space, "run", noted)
    return asked


async def test_one_full_queue_among_empty_ones_is_lent_in_full_each_time(
    opened: Open, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given jobs of one type of four, and a fetch that has learned so
    backend = opened()
    pool = await join(backend, *NAMES)
    stored.call("LPUSH", "work:jobs:d", *good(100, "d"))
    assert of(await lend(backend, pool, ("a", 4), ("b", 4), ("c", 0), ("d", 0))) == {"d": 8}
    # When the draw falls to the others again and again, then the server is asked once, and nothing is left waiting
    asked = asking(backend, monkeypatch)
    for turns in ([("b", 8), ("a", 0)], [("c", 4), ("b", 4), ("a", 0)], [("a", 8), ("b", 0), ("c", 0)]):
        missing = [(name, 0) for name in NAMES if name not in dict(turns)]
        assert of(await lend(backend, pool, *turns, *missing)) == {"d": 8}
    assert len(asked) == 3


async def test_a_draw_that_falls_to_the_full_queue_itself_does_not_make_it_forgotten(
    opened: Open, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given one slot, jobs of one type of four, and a fetch that has learned so
    backend = opened()
    pool = await join(backend, *NAMES)
    stored.call("LPUSH", "work:jobs:d", *good(10, "d"))
    assert of(await lend(backend, pool, ("a", 1), ("b", 0), ("c", 0), ("d", 0))) == {"d": 1}
    # When the draw falls to that type, and then to another
    asked = asking(backend, monkeypatch)
    assert of(await lend(backend, pool, ("d", 1), ("a", 0), ("b", 0), ("c", 0))) == {"d": 1}
    assert of(await lend(backend, pool, ("b", 1), ("a", 0), ("c", 0), ("d", 0))) == {"d": 1}
    # Then the server was asked once for each
    assert len(asked) == 2


async def test_all_types_have_their_quotas_before_one_takes_more(opened: Open, stored: Stored) -> None:
    backend = opened()
    pool = await join(backend, *NAMES)
    for name, count in (("a", 50), ("b", 2), ("d", 50)):
        stored.call("LPUSH", f"work:jobs:{name}", *good(count, name))
    # What b and c leave goes to those that have more, in the order of their turns
    found = await lend(backend, pool, ("b", 4), ("c", 4), ("a", 4), ("d", 4))
    assert of(found) == {"b": 2, "a": 10, "d": 4}


async def test_a_type_that_stood_in_for_others_comes_behind_those_that_are_drawn(opened: Open, stored: Stored) -> None:
    # Given that d stood in for all others
    backend = opened()
    pool = await join(backend, *NAMES)
    stored.call("LPUSH", "work:jobs:d", *good(100, "d"))
    await lend(backend, pool, ("a", 8), ("b", 0), ("c", 0), ("d", 0))
    # When there are jobs of a again, then they go first
    stored.call("LPUSH", "work:jobs:a", *good(20, "a"))
    assert of(await lend(backend, pool, ("a", 8), ("b", 0), ("c", 0), ("d", 0))) == {"a": 8}


async def test_jobs_of_a_type_that_the_draw_passes_over_are_found_when_the_others_have_few(
    opened: Open, stored: Stored
) -> None:
    # Given that the last fetch found all it asked for
    backend = opened()
    pool = await join(backend, *NAMES)
    stored.call("LPUSH", "work:jobs:a", *good(10, "a"))
    assert of(await lend(backend, pool, ("a", 8), ("b", 0), ("c", 0), ("d", 0))) == {"a": 8}
    stored.call("LPUSH", "work:jobs:c", *good(5, "c"))
    # When the drawn type has less, then the next fetch finds the others, whatever is drawn
    assert of(await lend(backend, pool, ("a", 8), ("b", 0), ("c", 0), ("d", 0))) == {"a": 2}
    assert of(await lend(backend, pool, ("a", 8), ("b", 0), ("c", 0), ("d", 0))) == {"c": 5}
