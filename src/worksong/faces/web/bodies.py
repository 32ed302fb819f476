"""What a request says: numbers within bounds, forms and JSON without surprises."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from worksong.domain.errors import InvalidArguments
from worksong.domain.lifecycle import State
from worksong.service.desk import LAST_PAGE
from worksong.service.search import LISTED

FIELDS = 2_000
"""Fields of a form at most."""
DIGITS = 9

Form = dict[str, list[str]]


def page_of(text: str) -> int:
    """The number of a page, whatever was written: the nearest there can be."""
    if not text.isascii() or not text.isdecimal():
        return 1
    return max(1, min(LAST_PAGE, int(text[:DIGITS])))


def state_of(text: str) -> State:
    """A state in which jobs are listed."""
    if text not in [str(state) for state in LISTED]:
        raise InvalidArguments(f"no jobs are in a state {text[:40]!r}: there are {', '.join(LISTED)}")
    return State(text)


async def form_of(request: Request) -> Form:
    """The fields of a form, each with all its values."""
    try:
        pairs = parse_qsl(
            (await request.body()).decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS, errors="strict"
        )
    except (ValueError, UnicodeDecodeError):
        raise InvalidArguments(f"the form cannot be read: it is no text, or has more than {FIELDS:,} fields") from None
    fields: Form = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


async def json_of(request: Request) -> dict[str, Any]:
    """A JSON object."""
    try:
        return msgspec.json.decode(await request.body(), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidArguments("the body must be a JSON object") from None


def text_in(fields: Form, name: str) -> str:
    """A field that is given once; empty when it is not."""
    return fields.get(name, [""])[0]
