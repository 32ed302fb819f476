"""Durations as Go writes them: `1h30m`, `500ms`, `-1.5s`."""

from __future__ import annotations

import re
from typing import Final

from worksong.domain.errors import ConfigError


class DurationError(ConfigError):
    """the text is no duration"""


_SIZES: Final = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_UNITS: Final = {**_SIZES, "\u00b5s": 10**3, "\u03bcs": 10**3}
_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^.0-9]*)")


def seconds(text: str) -> float:
    """Seconds in what Go's time.ParseDuration reads, such as ``1h30m`` or ``-1.5s``; `DurationError` with Go's text."""
    return nanoseconds(text) / 10**9


def nanoseconds(text: str) -> int:
    """The same in whole nanoseconds, as Go counts."""
    negative, unsigned = text.startswith("-"), text[text.startswith(("+", "-")) :]
    if unsigned == "0":
        return 0
    parts: list[tuple[str, str, str]] = _PART.findall(unsigned)[:-1]  # the last match is the empty end
    total = 0
    for whole, fraction, unit in parts:
        total += _part(whole.lstrip("0") or whole[:1], fraction[:18], unit, text)
        if total > 2**63:
            break
    if not parts or total >= 2**63 + negative:
        raise DurationError(f"time: invalid duration {_ascii_quoted(text)}")
    return -total if negative else total


def _part(whole: str, fraction: str, unit: str, text: str) -> int:
    if not whole + fraction or len(whole) > 19 or int(whole or 0) > 2**63:
        raise DurationError(f"time: invalid duration {_ascii_quoted(text)}")
    if not unit:
        raise DurationError(f"time: missing unit in duration {_ascii_quoted(text)}")
    if unit not in _UNITS:
        raise DurationError(f"time: unknown unit {_ascii_quoted(unit)} in duration {_ascii_quoted(text)}")
    size = _UNITS[unit]
    # Floating point, as in Go, so that the same nanosecond comes out.
    return int(whole or 0) * size + int(float(fraction or 0) * (size / 10.0 ** len(fraction)))


def _ascii_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').encode(errors="surrogatepass")
    return '"' + "".join(chr(byte) if 32 <= byte < 128 else f"\\x{byte:02x}" for byte in escaped) + '"'
