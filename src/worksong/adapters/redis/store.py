"""One Redis as its adapters use it: names as anybody stored them, and refusals that say what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from typing import Any

from worksong.adapters.redis.client import Arg, Redis, Script, ServerError
from worksong.domain.errors import BackendRefused

MEND = "rename that key or delete it, and work goes on by itself"
"""What to do about a key of a wrong type."""
_BELONGS = {"G": "string", "H": "hash", "L": "list", "S": "set", "Z": "zset"}
"""First letter of a command -> what it works on."""


class Store:
    """Commands and scripts; a key of a wrong type is named in the refusal."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def call(self, *args: Arg) -> Any:
        """One command."""
        try:
            return await self.redis.call(*args)
        except UnicodeEncodeError:
            return await self.redis.call(*_as_found(args))
        except ServerError as error:
            raise await self._explained(error, args[1:2], args[0]) from None

    async def run(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg]) -> Any:
        """One script."""
        try:
            return await self.redis.script(script, keys, args)
        except UnicodeEncodeError:
            return await self.redis.script(script, _as_found(keys), _as_found(args))
        except ServerError as error:
            raise await self._explained(error, keys) from None

    async def gather(self, commands: Sequence[tuple[Arg, ...]]) -> list[Any]:
        """Many commands at once; the first error is raised."""
        answers = await self._gather(commands)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, ServerError):
                raise await self._explained(answer, command[1:2], command[0])
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def try_all(self, commands: Sequence[tuple[Arg, ...]]) -> list[Any]:
        """Many commands at once; None in the place of one that was refused, as by a key of a wrong type."""
        answers = await self._gather(commands)
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, BackendRefused):
                raise answer
        return [None if isinstance(answer, Exception) else answer for answer in answers]

    async def _gather(self, commands: Sequence[tuple[Arg, ...]]) -> list[Any]:
        try:
            return await self.redis.gather(commands)
        except UnicodeEncodeError:
            return await self.redis.gather([_as_found(command) for command in commands])

    async def _explained(self, error: ServerError, keys: Sequence[Arg], command: Arg = "") -> ServerError:
        """The refusal; one for a key of a wrong type with the key's name, and with what to do about it."""
        if error.code != "WRONGTYPE":
            return error
        said = str(error)
        if " key " not in said.partition(" Operation ")[0]:  # Redis itself says neither which key nor what it holds
            said = f"WRONGTYPE {await self._held(keys, _BELONGS.get(str(command)[:1], ''))}"
        return ServerError(f"{said}; {MEND}")

    async def _held(self, keys: Sequence[Arg], belongs: str) -> str:
        """What the keys hold; `belongs` is known of a single one."""
        kinds = [text(kind) for kind in await self.gather([("TYPE", key) for key in keys])]
        names = [text(key) if isinstance(key, bytes) else str(key) for key in keys]
        if belongs:
            return f"key {names[0]} holds a {kinds[0]} where a {belongs} belongs"
        there = [f"{name} ({kind})" for name, kind in zip(names, kinds, strict=True) if kind != "none"]
        return f"one of these keys is of a wrong type: {', '.join(there)}"

    async def scan(self, prefix: str, rest: str = "*") -> list[str]:
        """The keys that begin with `prefix`, and go on by the pattern `rest`; a key can come twice."""
        found: list[str] = []
        cursor, pattern = b"0", f"{escaped(prefix)}{rest}"
        while True:
            cursor, keys = await self.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            found += map(text, keys)
            if cursor == b"0":
                return found

    async def erase(self, prefix: str) -> None:
        """Drop every key that begins with `prefix`."""
        cursor, pattern = b"0", f"{escaped(prefix)}*"
        while True:
            cursor, keys = await self.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            if keys:
                await self.call("UNLINK", *keys)
            if cursor == b"0":
                return


def text(value: bytes) -> str:
    """A name as stored by anybody."""
    return value.decode("utf-8", "surrogateescape")


def stored(name: str) -> bytes:
    """The bytes that `text` read."""
    return name.encode("utf-8", "surrogateescape")


def _as_found(args: Sequence[Arg]) -> tuple[Arg, ...]:
    """Names that are no UTF-8 as they are stored; the client has sent nothing when it stumbles over them."""
    return tuple(stored(arg) if isinstance(arg, str) else arg for arg in args)


def as_bytes(names: Iterable[str]) -> tuple[bytes, ...]:
    """Names for the server, which `text` reads back."""
    return tuple([name.encode("utf-8", "surrogateescape") for name in names])


def whole(value: bytes | None) -> int:
    """A number as stored by anybody; 0 when it is none, or none that Go could have written."""
    try:
        number = int(value or 0)
    except ValueError:
        return 0
    return number if -(2**63) <= number < 2**63 else 0


def escaped(pattern: str) -> str:
    """Text that MATCH takes literally."""
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in pattern)


def common_start(texts: Collection[str]) -> str:
    """With what all of these begin; nothing where there are none."""
    both = zip(min(texts, default=""), max(texts, default=""), strict=False)  # all others are between the two
    return "".join(char for char, _ in takewhile(lambda pair: pair[0] == pair[1], both))
