"""The web console as a view: who is staff may look; the permissions `worksong.operate` and `worksong.administer` let
people act."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse
from django.views.decorators.csrf import csrf_exempt
from starlette.types import Scope

from worksong.contrib.django.project import project_worker
from worksong.faces.web import Guest, Role, WsgiConsole
from worksong.faces.web.wsgi import ENVIRON

OPERATE, ADMINISTER = "worksong.operate", "worksong.administer"
GUEST = "worksong.guest"


@csrf_exempt  # the console asks the browser where a form came from, and needs no cookie for that
@non_atomic_requests
def console(request: HttpRequest, rest: str = "") -> HttpResponse:
    """A page of the console, or what it answers to programs."""
    user: Any = getattr(request, "user", None)  # nobody has one without the middleware that says who it is
    role = role_of(user)
    if role is Role.NOBODY:
        if getattr(user, "is_authenticated", False) or rest.startswith("api/"):
            raise PermissionDenied("the job console is for staff")
        return redirect_to_login(request.get_full_path(), _login())
    answer = _console().answer(_environ(request, rest, Guest(role, user.get_username())))
    response = HttpResponse(answer.body, status=answer.status)
    for name, value in answer.headers:
        response[name] = value
    return response


def role_of(user: Any) -> Role:
    """What a user may do."""
    if not getattr(user, "is_active", False) or not getattr(user, "is_staff", False):
        return Role.NOBODY
    if user.has_perm(ADMINISTER):
        return Role.ADMIN
    return Role.OPERATOR if user.has_perm(OPERATE) else Role.VIEWER


@cache
def _console() -> WsgiConsole:
    return WsgiConsole(project_worker(), role_of=_guest_in)


def _guest_in(scope: Scope) -> Guest:
    guest: Guest = scope[ENVIRON][GUEST]
    return guest


def _environ(request: HttpRequest, rest: str, guest: Guest) -> dict[str, Any]:
    """The request as WSGI would have it, whatever it came by; the console is where the rest of the path begins."""
    return {
        **request.META,
        "SCRIPT_NAME": _bytes_of(request.path.removesuffix(rest).rstrip("/")),
        "PATH_INFO": _bytes_of(f"/{rest}"),
        "HTTP_HOST": request.get_host(),
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.input": BytesIO(request.body),
        "wsgi.url_scheme": request.scheme or "http",
        GUEST: guest,
    }


def _bytes_of(path: str) -> str:
    """WSGI hands on bytes, each as a character."""
    return path.encode("utf-8").decode("latin-1")


def _login() -> str:
    """The page to sign in: the admin's, where there is one."""
    try:
        return reverse("admin:login")
    except NoReverseMatch:
        from django.conf import settings

        return resolve_url(settings.LOGIN_URL)
