"""What is written in one turn of the event loop goes out together; and a collector that is left in peace."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest

from worksong.faces.cli import collector
from worksong.faces.cork import MOST, Cork


class Wire:
    """A transport that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.told


@pytest.fixture
def wire() -> Wire:
    return Wire()


def corked(wire: Wire) -> Cork:
    return Cork(cast("Any", wire), asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_message(wire: Wire) -> None:
    cork = corked(wire)
    cork.write(b"head")
    cork.write(b"body")
    assert wire.told == []
    await asyncio.sleep(0)
    assert wire.told == [b"headbody"]
    cork.write(b"more")
    await asyncio.sleep(0)
    assert wire.told == [b"headbody", b"more"]


async def test_much_is_not_held_back(wire: Wire) -> None:
    cork, part = corked(wire), b"x" * (MOST // 2 + 1)
    cork.write(part)
    cork.write(part)
    assert wire.told == [part + part]
    cork.write(b"y")
    await asyncio.sleep(0)
    assert wire.told == [part + part, b"y"]


async def test_what_was_written_goes_out_before_the_connection_is_closed(wire: Wire) -> None:
    cork = corked(wire)
    cork.write(b"goodbye")
    cork.close()
    await asyncio.sleep(0)
    assert (wire.told, cork.is_closing()) == ([b"goodbye", "closed"], True)


async def test_who_has_left_is_told_nothing_more(wire: Wire) -> None:
    cork = corked(wire)
    cork.write(b"head")
    wire.close()
    await asyncio.sleep(0)
    assert wire.told == ["closed"]


def test_what_stands_when_a_service_begins_is_not_looked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[object] = []
    monkeypatch.setattr(gc, "collect", lambda: did.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: did.append("freeze"))
    monkeypatch.setattr(gc, "set_threshold", lambda *thresholds: did.append(thresholds))
    collector.settle()
    assert did == ["collect", "freeze", (collector.YOUNG, collector.MIDDLE, collector.OLD)]
