"""Orders carried out: by who may, and told to the guard, which has them written down."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.requests import Request

from worksong.faces.asgi.refused import Refused
from worksong.faces.web.reception import Guest
from worksong.service.access import Role
from worksong.service.acts import Act
from worksong.service.desk import Desk

WHOLE = "worksong.whole"
"""Where a scope says that answers are sent on only when they are complete, as under WSGI."""
GUEST, DEED = "guest", "deed"
"""Where the state of a request has who sent it, and what was done for him."""


class Deed(NamedTuple):
    """What was done."""

    text: str
    done: int
    """To how many."""


def guest_of(request: Request) -> Guest:
    """Who sent it."""
    found: Any = request.scope.get("state", {}).get(GUEST)
    return found or Guest(Role.NOBODY, "nobody")


def check_admin(request: Request) -> None:
    """Refuse whoever does not see what others have ordered."""
    if guest_of(request).role < Role.ADMIN:
        raise Refused(403, "forbidden", "only an admin sees who ordered what")


def check_may(request: Request, act: Act) -> None:
    """Refuse whoever may act, but not so far."""
    if act.sweeping and guest_of(request).role < Role.ADMIN:
        raise Refused(403, "forbidden", "only an admin may empty queues and states, and end worker processes")


async def do(request: Request, desk: Desk, act: Act) -> Deed:
    """Do it, if who asks may."""
    check_may(request, act)
    deed = Deed(*await desk.carry_out(act))
    request.scope["state"][DEED] = deed
    return deed
