"""How pages are written: templates, and the filters that turn values into what people read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from worksong.faces.web.charts import histogram
from worksong.service.fields import last_line, steps
from worksong.service.moments import relative, span

DASH = "\u2013"
ARGS_SHOWN = 140
FAR = 253_402_300_799.0
"""The last second that a calendar knows."""
SPARK = 100, 24
"""How large a sparkline is drawn."""


@cache
def environment() -> Environment:
    """One for the process; everything is escaped, and nothing unnamed is passed over."""
    made = Environment(
        loader=PackageLoader("worksong.faces.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = made.filters
    filters |= {"ago": ago, "span": _span, "count": _count, "compact": compact, "pretty": pretty}
    filters |= {"last_line": last_line, "steps": steps, "coded": coded, "exact": json.dumps}
    offered: dict[str, Any] = made.globals
    offered |= {"sparkline": sparkline, "seek": seek, "histogram": histogram}
    return made


def visible(value: Any) -> Any:
    """Texts with escapes for what a page would obey or not show: controls, bidi marks, lone surrogates."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(char if char.isprintable() or char in "\n\t" else _escape(char) for char in value)


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "replace").decode()


def ago(at: float, now: float, *, past: bool = False) -> Markup:
    """A moment by its distance, the exact one on hover; `past`: another clock does not put it into the future."""
    text = relative(min(at, now) if past else at, now)
    if not 0 < at < FAR:
        return Markup('<span class="none">\u2013</span>')
    exact = datetime.fromtimestamp(at, UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        exact.isoformat(), exact.strftime("%a %Y-%m-%d %H:%M:%S UTC"), text
    )


def _span(seconds: float) -> str:
    return span(max(0.0, min(seconds, FAR)))


def _count(number: int) -> str:
    return f"{number:,}"


def compact(value: Any) -> str:
    """JSON on one short line; nothing for nothing."""
    if value is None or value in ({}, []):
        return ""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    return text if len(text) <= ARGS_SHOWN else text[: ARGS_SHOWN - 1] + "\u2026"


def coded(text: str) -> Markup:
    """A sentence whose `commands` look like what they are."""
    parts = visible(text).split("`")
    if len(parts) % 2 == 0:
        return escape(visible(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def pretty(value: Any) -> str:
    """JSON on many lines."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def sparkline(course: Sequence[int | None]) -> Markup:
    """The course as a line; gaps where nobody looked."""
    width, height = SPARK
    top = max((count for count in course if count is not None), default=0) or 1
    step = width / max(1, len(course) - 1)
    lines: list[str] = []
    fresh = True
    for index, count in enumerate(course):
        if count is None:
            fresh = True
            continue
        y = height - 2 - (height - 4) * count / top
        lines.append(f"{'M' if fresh else 'L'}{index * step:.1f} {y:.1f}")
        fresh = False
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="ground" d="M0 {}H{}"/><path d="{}"/></svg>'
    ).format(width, height, height - 1, width, "".join(lines))


def seek(**conditions: str) -> str:
    """A search for jobs that are so."""
    return " ".join(f'{name}:"{text.replace(chr(34), "*")}"' for name, text in conditions.items() if text)
