"""`worksong bench`."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs

import pytest

from faces.stage import Cli, Start
from worksong.adapters import connect
from worksong.adapters.redis.address import parse
from worksong.adapters.redis.client import Redis
from worksong.faces.cli.sweep import sweep
from worksong.faces.cli.target import PEERS, in_namespace
from worksong.testing.contract.__main__ import USUAL


@pytest.mark.parametrize("url", USUAL)
def test_no_backend_is_measured_where_others_have_their_jobs(url: str) -> None:
    # Given what a bench connects to, and what an application does that says nothing
    there = in_namespace(f"{url}?namespace=shop", "worksong-bench-1")
    # Then the namespace is that of the bench: said in the URL where the worker's name is none
    said = parse_qs(there.partition("?")[2]).get("namespace")
    assert said == (["worksong-bench-1"] if url.startswith(PEERS) else None)
    assert "shop" not in connect(there, namespace="worksong-bench-1").name


KEYS = {"enqueue_rate", "drain_rate", "latency_ms", "rss_mb", "versions"}


@pytest.mark.parametrize("options", [(), ("--sync",)])
def test_it_measures_memory_by_default(start: Start, options: tuple[str, ...]) -> None:
    program = start("bench", "--jobs", "200", "--json", *options)
    assert program.wait() == 0, program.output
    _check(program.output)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_it_measures_a_server_and_leaves_nothing_behind(start: Start, redis_url: str, processes: str) -> None:
    program = start(
        "bench", "--jobs", "200", "--processes", processes, "--json", "--url", f"{redis_url}?namespace=mine"
    )
    assert program.wait() == 0, program.output
    _check(program.output)
    assert asyncio.run(_keys(redis_url, "worksong-bench-*")) == []
    assert asyncio.run(_keys(redis_url, "mine*")) == []


def test_people_get_figures_with_units(start: Start) -> None:
    program = start("bench", "--jobs", "100", url="memory://")
    assert program.wait() == 0, program.output
    assert "jobs/s" in program.output


def test_memory_in_several_processes_is_refused_before_anything_is_done(bare: Cli) -> None:
    result = bare("bench", "--processes", "2")
    assert result.exit_code == 1
    assert "lives inside one process" in result.stderr


def test_sweeping_takes_one_namespace_and_no_other(redis_url: str) -> None:
    async def main() -> list[str]:
        redis = Redis(parse(redis_url))
        await redis.call("SET", "sweep-one:x", "1")
        await redis.call("SET", "sweep-one-more:x", "1")
        await redis.close()
        await sweep(redis_url, "sweep-one")
        return await _keys(redis_url, "sweep-one*")

    assert asyncio.run(main()) == ["sweep-one-more:x"]


def _check(output: str) -> None:
    figures = json.loads(output)
    assert set(figures) == KEYS
    assert min(figures["enqueue_rate"], figures["drain_rate"], figures["rss_mb"]) > 0
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"]
    assert {"python", "worksong", "platform"} <= set(figures["versions"])


async def _keys(url: str, pattern: str) -> list[str]:
    redis = Redis(parse(url))
    try:
        return sorted(key.decode() for key in await redis.call("KEYS", pattern))
    finally:
        await redis.close()
