"""What `gojson` writes against what Go itself writes, for 20 000 random values."""

from __future__ import annotations

import json
import random
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

import gotool
from conftest import GoBuild
from worksong.wire import gojson

GO = shutil.which("go") or ""
HERE = Path(__file__).parent / "gojson"
SEED, VALUES = 20231114, 20_000
ODD = "\x00\x01\b\t\n\x0b\f\r\x1b\x1f \"'/\\<>&\x7f\x80\xad\u2027\u2028\u2029\ufeff\ufffd\uff5e\U0001f600\U0010ffff"

pytestmark = pytest.mark.skipif(not GO, reason="go is not installed: what Go writes today is not compared")


@pytest.mark.timeout(gotool.BUILT + 300)
def test_go_writes_the_same_bytes(go_binary: GoBuild) -> None:
    # Given random values, a described form of each, and what this Go does with backspace and form feed
    chance = random.Random(SEED)
    values = [mapping(chance, 0) for _ in range(VALUES)]
    described = "\n".join(json.dumps(describe(value)) for value in values)
    legacy = go_minor() < 22

    # When Go writes them
    try:
        program = go_binary(HERE)
    except gotool.Refused as refused:
        pytest.skip(f"what Go writes today is not compared: {refused}")
    lines = subprocess.run([program], input=described.encode(), capture_output=True, check=True).stdout.split(b"\n")

    # Then so do we
    assert len(lines) == VALUES + 1
    for value, line in zip(values, lines, strict=False):
        assert gojson.encode(value, legacy=legacy) == line, value


def go_minor() -> int:
    version = subprocess.run([GO, "env", "GOVERSION"], capture_output=True, check=True, text=True).stdout
    found = re.match(r"go1\.(\d+)", version)
    return int(found[1]) if found else 99


def mapping(chance: random.Random, depth: int) -> dict[str, Any]:
    return {text(chance): anything(chance, depth + 1) for _ in range(chance.randrange(6))}


def anything(chance: random.Random, depth: int) -> Any:
    kinds = [text, integer, real, real, whole, lambda _: None, lambda chance: chance.random() < 0.5]
    if depth < 4 and chance.random() < 0.25:
        if chance.random() < 0.5:
            return mapping(chance, depth)
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    return chance.choice(kinds)(chance)


def text(chance: random.Random) -> str:
    pick = (lambda: chance.choice(ODD), lambda: chr(chance.randrange(32, 127)), lambda: any_character(chance))
    return "".join(chance.choice(pick)() for _ in range(chance.randrange(8)))


def any_character(chance: random.Random) -> str:
    code = chance.randrange(0x110000 - 0x800)
    return chr(code if code < 0xD800 else code + 0x800)


def integer(chance: random.Random) -> int:
    return max(-(2**63), chance.choice((1, -1)) * chance.getrandbits(chance.randrange(65)))


def real(chance: random.Random) -> float:
    """Any double, or one of the everyday ones around the changes of form."""
    if chance.random() < 0.5:
        number = struct.unpack("<d", struct.pack("<Q", chance.getrandbits(64)))[0]
        return number if abs(number) < float("inf") else 0.5
    return round(chance.uniform(-10, 10), chance.randrange(17)) * 10.0 ** chance.randrange(-10, 25)


def whole(chance: random.Random) -> float:
    return float(integer(chance)) * chance.choice((0.0, -0.0, 1.0, 1e3, 1e-3))


def describe(value: Any) -> list[Any]:
    match value:
        case None:
            return ["n"]
        case bool():
            return ["b", value]
        case str():
            return ["s", value]
        case list():
            return ["l", [describe(item) for item in value]]
        case dict():
            return ["m", [[key, describe(item)] for key, item in value.items()]]
        case _:
            return describe_number(value)


def describe_number(value: float) -> list[str]:
    if isinstance(value, int):
        return ["i" if value < 2**63 else "u", str(value)]
    return ["f", value.hex()]
