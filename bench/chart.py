"""The chart of drain rates: an SVG that paints its own ground, so that it reads in a light page and in a dark one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from bench.peer import EQUAL
from bench.results import Field, Pair
from bench.tables import number

WIDTH, LEFT, RIGHT, TOP = 760, 130, 90, 64
BAR, GAP = 13, 14
STYLE = """
  .ground { fill: #ffffff } text { fill: #24292f; font: 13px system-ui, sans-serif } .soft { fill: #57606a }
  .title { font-weight: 600 } .equal { fill: #2f6fbb } .best { fill: #9cc3ee }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #161b22 } text { fill: #e6edf3 } .soft { fill: #9da7b1 }
    .equal { fill: #5b9cf0 } .best { fill: #2b4d78 }
  }
"""


class Bars(NamedTuple):
    """Jobs per second of a system; 0 where it was not measured so."""

    name: str
    equal: float
    """At the concurrency at which all are compared, one process."""
    best: float
    """At its best setting, two processes."""


def bars(field: Field) -> list[Bars]:
    """worksong for each kind of job, and every peer at the kind it was made for."""
    found = []
    for kind, title in (("async", "worksong"), ("plain", "worksong, plain")):
        same = [pair for pair in field.pairs if pair.what == "drain" and pair.our_cell.kind == kind]
        rates = [[rate for pair in same if _at(pair, processes) for rate in pair.ours] for processes in (1, 2)]
        found.append(Bars(title, *(statistics.median(some) if some else 0.0 for some in rates)))
    for peer in field.peers():
        pairs = field.pairs_of(peer.name, "drain")
        native = pairs[0].their_cell.kind
        theirs = [(pair, pair.their_cell) for pair in pairs if pair.their_cell.kind == native]
        some = [[pair for pair, cell in theirs if cell.processes == count and _at(pair, count)] for count in (1, 2)]
        found.append(Bars(peer.name, *(pairs[0].their_rate() if pairs else 0.0 for pairs in some)))
    return sorted((bar for bar in found if bar.equal or bar.best), key=lambda bar: -max(bar.equal, bar.best))


def _at(pair: Pair, processes: int) -> bool:
    """Measured on all cores: with one process at equal concurrency, with two at the best setting."""
    cell = pair.our_cell
    return not cell.pinned and cell.processes == processes and (processes == 2 or cell.slots == EQUAL)


def svg(found: Sequence[Bars]) -> str:
    """The drawing."""
    most = max(max(bar.equal, bar.best) for bar in found)
    each = 2 * BAR + GAP
    height = TOP + each * len(found) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Drain rates in jobs per second">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        '<text class="title" x="16" y="24">Draining jobs that do nothing, jobs per second</text>',
        *_key(16, f"{EQUAL} at once, one process", "equal"),
        *_key(240, "best setting, two processes", "best"),
    ]
    for place, bar in enumerate(found):
        y = TOP + place * each
        lines.append(f'<text x="{LEFT - 10}" y="{y + BAR + 4}" text-anchor="end">{escape(bar.name)}</text>')
        for row, (style, rate) in enumerate((("equal", bar.equal), ("best", bar.best))):
            if rate:
                lines += _bar(y + row * BAR, style, rate, most)
    return "\n".join([*lines, "</svg>", ""])


def _key(x: int, title: str, style: str) -> list[str]:
    return [
        f'<rect class="{style}" x="{x}" y="38" width="11" height="11"/>',
        f'<text class="soft" x="{x + 17}" y="48">{escape(title)}</text>',
    ]


def _bar(y: int, style: str, rate: float, most: float) -> list[str]:
    width = max(1.0, rate / most * (WIDTH - LEFT - RIGHT))
    return [
        f'<rect class="{style}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 1}"/>',
        f'<text class="soft" x="{LEFT + width + 6:.1f}" y="{y + BAR - 2}">{number(rate)}</text>',
    ]
