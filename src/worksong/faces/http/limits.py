"""How much the service takes, from one and from all."""

from __future__ import annotations

import msgspec

from worksong.service.rates import Rate


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What is more is refused: 413 for a body, 429 for a caller, 503 for all of them together."""

    body: int = 1 << 20
    """Bytes of a body."""
    rate: Rate | None = Rate(500.0, 1000)
    """Requests of each token; None: any. Where no token is asked for, it holds for nobody."""
    at_once: int = 1000
    """Requests that are being answered."""
    streams: int = 100
    """Streams of events that are open."""
    waits: int = 500
    """Those who wait for a result: fewer than `at_once`, so that others are answered beside them."""
    wait: float = 60.0
    """Seconds that one may wait for a result."""
