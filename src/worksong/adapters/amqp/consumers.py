"""What the server was asked to send by itself, of which job types and how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Consumer:
    """What the server may send of one job type before we end some of it."""

    __slots__ = ("handler", "prefetch", "unended")

    def __init__(self, handler: str, prefetch: int = 0) -> None:
        """`prefetch`: 0 for what is asked for one by one, or takes nobody's slot."""
        self.handler, self.prefetch = handler, prefetch
        self.unended = 0


class Consumers(dict[str, Consumer]):
    """By their tags."""

    @property
    def unended(self) -> int:
        """What came to any of them, and was not ended."""
        return sum(consumer.unended for consumer in self.values())

    def lacking(self, names: Sequence[str], most: int, ahead: Callable[[str], int]) -> list[tuple[str, int]]:
        """Job types that want another one, and how much the server may send to it; `most` to a type without haste.

        Asked when nothing is left here: then what ends fast was sent for too late, and is read ahead from now on. It is
        the types that end all they may have within a moment: their neighbours may be slower, or have no jobs.
        """
        found: list[tuple[str, int]] = []
        for name in names:
            mine = [consumer for consumer in self.values() if consumer.handler == name]
            granted, more = sum(consumer.prefetch for consumer in mine), ahead(name)
            if not mine:
                found.append((name, max(1, -(-most // len(names)))))
            elif granted < most and all(consumer.unended >= consumer.prefetch for consumer in mine):
                found.append((name, min(granted, most - granted)))
            elif granted <= 2 * more and 3 * granted <= 2 * (most + more):
                found.append((name, most + more - granted))
        return found
