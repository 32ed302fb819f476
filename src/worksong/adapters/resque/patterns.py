"""Lists of queues with patterns in them, as Ruby's workers take them: `*`, `high*`, `q[0-9]`, `!slow`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from worksong.domain.names import is_pattern


def any_in(queues: Sequence[str]) -> bool:
    """Whether the list must be worked out from the queues that there are."""
    return any(map(is_pattern, queues))


def chosen(patterns: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """In the order of the patterns, those that fit one by their names, each once; names without signs come as said."""
    excluded = [_compiled(pattern[1:]) for pattern in patterns if pattern.startswith("!")]
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern.startswith("!"):
            continue
        fitting = [name for name in known if _compiled(pattern)(name)] if is_pattern(pattern) else [pattern]
        found.update(dict.fromkeys(sorted(fitting)))
    return tuple(name for name in found if not any(fits(name) for fits in excluded))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Callable[[str], bool]:
    try:
        fitting = re.compile("".join(_parts(pattern)), re.DOTALL)
    except re.error:  # a range from behind, such as [z-a]: no name fits
        return lambda name: False
    return lambda name: fitting.fullmatch(name) is not None


def _parts(pattern: str) -> Iterator[str]:
    """As a regular expression: `*` any text, `?` any character, `[...]` one of these."""
    for sign in _SIGN.findall(pattern):
        if sign == "*":
            yield ".*"
        elif sign == "?":
            yield "."
        elif len(sign) > 2 and sign[0] == "[":
            inner = sign[1:-1]
            negated = inner[0] in "^!" and len(inner) > 1
            yield f"[{'^' if negated else ''}{re.sub(r'([][^])', '', inner[negated:]).replace(chr(92), '') or '.'}]"
        else:
            yield re.escape(sign)


_SIGN = re.compile(r"\[[^\]]+\]|.", re.DOTALL)
