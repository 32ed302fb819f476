"""What a Redis server says of itself; what it refuses to say is None."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from worksong.adapters.redis.client import Arg, Redis
from worksong.domain.errors import BackendRefused, ConfigError

SETTINGS = ("save", "appendfsync", "timeout", "maxclients", "client-output-buffer-limit")
SAMPLES = 5
REFUSALS = (BackendRefused, ConfigError)
"""How a command ends that the server does not know, or that an ACL forbids."""


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a server."""

    info: Mapping[str, str] | None = None
    config: Mapping[str, str] | None = None
    refused: tuple[str, ...] = ()
    """The commands that were, each with the server's words."""
    eviction_allowed: bool = False
    """Whether the URL says that jobs may be dropped."""
    now: float = 0.0
    """Its clock."""
    offset: float = 0.0
    """Its clock minus ours, in seconds."""
    latency: float = 0.0
    """The shortest of a few round trips."""

    def number(self, name: str) -> int:
        """A number that INFO shows; 0 when it does not."""
        return _whole((self.info or {}).get(name, ""))

    def setting(self, name: str) -> str | None:
        """What CONFIG says; None when nothing."""
        return (self.config or {}).get(name)


async def at_the_door(redis: Redis, *, eviction_allowed: bool) -> Vitals:
    """What matters before anything is entrusted to the server, in one round trip."""
    sections: list[tuple[Arg, ...]] = [("INFO", "memory"), ("INFO", "persistence")]
    settings: list[tuple[Arg, ...]] = [("CONFIG", "GET", "save"), ("CONFIG", "GET", "appendfsync")]
    answers = await redis.gather([*sections, *settings])
    told, set_ = answers[: len(sections)], answers[len(sections) :]
    return Vitals(
        info=None if any(map(_no, told)) else {name: value for part in told for name, value in _info(part).items()},
        config=None if any(map(_no, set_)) else {name: value for part in set_ for name, value in _pairs(part).items()},
        eviction_allowed=eviction_allowed,
    )


async def take(redis: Redis, now: float, monotonic: Callable[[], float], *, eviction_allowed: bool) -> Vitals:
    """Everything; `now` is our clock at the call."""
    begun = monotonic()
    commands: list[tuple[Arg, ...]] = [("INFO",), *(("CONFIG", "GET", name) for name in SETTINGS)]
    answers = await redis.gather(commands)
    refused = {str(command[0]): str(answer) for command, answer in zip(commands, answers, strict=True) if _no(answer)}
    config: dict[str, str] = {}
    for answer in answers[1:]:
        config |= {} if _no(answer) else _pairs(answer)
    offset, latency, server_now = 0.0, float("inf"), now
    for _ in range(SAMPLES):
        asked = monotonic()
        (answer,) = await redis.gather([("TIME",)])
        took = monotonic() - asked
        if _no(answer):
            refused["TIME"], latency = str(answer), 0.0
            break
        if took < latency:  # the shorter the way, the less of the difference can be the way
            latency, server_now = took, int(answer[0]) + int(answer[1]) / 1e6
            offset = server_now - (now + (asked - begun) + took / 2)
    return Vitals(
        info=None if _no(answers[0]) else _info(answers[0]),
        config=None if "CONFIG" in refused else config,
        refused=tuple(f"{name}: {said}" for name, said in refused.items()),
        eviction_allowed=eviction_allowed,
        now=server_now,
        offset=offset,
        latency=latency,
    )


def _no(answer: object) -> bool:
    """Whether it was a refusal; raises when the server was away."""
    if isinstance(answer, Exception) and not isinstance(answer, REFUSALS):
        raise answer
    return isinstance(answer, REFUSALS)


def _info(text: bytes) -> dict[str, str]:
    lines = text.decode(errors="replace").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [part.decode(errors="replace") for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
