"""The cookie in which a browser keeps the sign that it was given for a token."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

COOKIE = "worksong"


def sign_in(header: str) -> str:
    """The sign in a Cookie header; empty when there is none."""
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def cookie(sign: str, *, path: str, secure: bool) -> str:
    """The header that makes a browser keep the sign, or with an empty one forget it."""
    age = "" if sign else "; Max-Age=0"
    return f"{COOKIE}={sign}; Path={quote(path or '/')}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}{age}"
