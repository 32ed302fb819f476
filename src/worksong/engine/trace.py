"""What a handler raised, as data that is kept with its ending."""

from __future__ import annotations

import traceback

from msgspec.structs import replace

from worksong.domain.outcome import Buried, Discarded, Failure, Outcome
from worksong.domain.verdict import Verdict, message_of
from worksong.wire.gojson import carried

KEPT = 8 * 1024
"""Characters of a trace; its end tells most."""


def traced(outcome: Outcome, failure: BaseException) -> Outcome:
    """A final failure with its type, message and trace."""
    if not isinstance(outcome, (Buried, Discarded)) or isinstance(failure, Verdict):
        return outcome
    return replace(outcome, failure=told(failure))


def told(failure: BaseException) -> Failure:
    """Its type, message and trace, whatever an exception does when it is asked for them."""
    return Failure(type(failure).__name__, carried(message_of(failure)), carried(_trace(failure)))


def _trace(failure: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(failure))
    except BaseException as broken:  # an exception can do anything when it is asked for its text
        return f"(its trace cannot be printed: {type(broken).__name__})"
    return text if len(text) <= KEPT else f"…{text[-KEPT:]}"
