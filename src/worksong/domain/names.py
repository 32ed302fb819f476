"""Names of job types and queues, which become parts of keys and lists; and texts that become part of a line."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9_.:@/-]{1,200}")
_TAG = re.compile(r"\{([^{}]+)\}")

_good: set[str] = set()
"""An application has few names, and asks for each job."""
MOST_KNOWN = 1024


def wrong_with(name: object) -> str:
    """Why `name` cannot be used; empty when it can."""
    if isinstance(name, str) and (name in _good or _is_name(name)):
        return ""
    return f"{name!r:.250} cannot be used: 1 to 200 letters, digits and the characters _ . : @ / - are allowed"


def _is_name(text: str) -> bool:
    if not _NAME.fullmatch(text):
        return False
    if len(_good) >= MOST_KNOWN:
        _good.clear()
    _good.add(text)
    return True


SIGNS = frozenset("*?[]!")


def is_pattern(queue: str) -> bool:
    """Whether it stands for all queues that fit: `high*`, `tenant-?`, `q[0-9]`; `!slow` for none that does."""
    return not SIGNS.isdisjoint(queue)


def wrong_with_queues(name: object) -> str:
    """As `wrong_with`, for what may be a pattern."""
    if not isinstance(name, str) or not is_pattern(name):
        return wrong_with(name)
    rest = "".join(char for char in name if char not in SIGNS and char != "^") or "any"
    return f"{wrong_with(name)}, and in a pattern * ? [ ] and a leading !" if wrong_with(rest) else ""


def wrong_with_namespace(name: str) -> str:
    """The same for a namespace: empty is one, and for a cluster a part of it may stand in braces."""
    if not name or _NAME.fullmatch(_TAG.sub(r"\1", name, count=1)):
        return ""
    return f"namespace {wrong_with(name)}, and for a cluster one part in braces, as in {{myapp}}"


def one_line(text: str) -> str:
    """The text with all that is not printable written as an escape: line ends, colours, controls, bidi marks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in text)
