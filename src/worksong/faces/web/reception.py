"""Who somebody is: by a token, a password or the sign of a browser, or as the application says that knows its users."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from base64 import b64decode
from collections.abc import Callable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import Scope

from worksong.faces.asgi.refused import Refused
from worksong.faces.asgi.signs import sign_in
from worksong.ports.clock import Clock
from worksong.service.access import Access, Caller, Role
from worksong.service.rates import WRONG_TOKENS, Buckets

AT_ONCE = 2
"""Passwords that are compared at the same time: each takes 16 MiB."""
REMEMBERED = 1_000
"""Proofs that were right, and need not be compared again."""
LONGEST = 1_000
"""Characters of a password; longer ones are wrong."""


class Guest(NamedTuple):
    """Who sent a request."""

    role: Role
    name: str
    """As logs and the audit page call him."""


RoleOf = Callable[[Scope], Role | Guest]
"""Who sent a request, as the application knows that the console is a part of; with a name, or without."""


class Reception:
    """Wrong tokens and passwords are counted by address; who was right before is not kept out by others' guesses."""

    def __init__(self, access: Access, clock: Clock, role_of: RoleOf | None) -> None:
        """`role_of`: asked instead of any token."""
        self._access, self._clock, self._role_of = access, clock, role_of
        self._guesses = Buckets(WRONG_TOKENS)
        self._secret = secrets.token_bytes(32)
        self._proofs: dict[bytes, Caller] = {}
        self._guessed: dict[bytes, asyncio.Task[Caller | None]] = {}
        """What is being compared: who gives the same meanwhile waits for that."""
        self._comparing = asyncio.Semaphore(AT_ONCE)

    async def receive(self, scope: Scope, headers: Headers) -> Guest:
        """Who it is; raises `Refused` for one from whose address too much was guessed."""
        if self._role_of:
            return self._as_said(self._role_of(scope))
        kind, _, given = headers.get("authorization", "").partition(" ")
        match kind.lower():
            case "bearer":
                return self._known(await self._proven(scope, "", given.strip()))
            case "basic" if self._access.users:
                return self._known(await self._proven(scope, *_pair(given)))
            case _ if self._access.is_open:
                return Guest(self._access.anybody, "anybody")
            case _:
                return self._known(self._access.caller_of_sign(sign_in(headers.get("cookie", ""))))

    async def sign_for(self, scope: Scope, name: str, secret: str) -> str | None:
        """What a browser keeps for a password, or without a name for a token; None: it is wrong."""
        if await self._proven(scope, name, secret) is None:
            return None
        person = self._access.users.get(name)
        return self._access.sign_for_user(person) if name and person else self._access.sign_for(secret)

    def _as_said(self, said: Role | Guest) -> Guest:
        role, name = said if isinstance(said, Guest) else (said, said.name.lower())
        return Guest(self._access.at_most(role), name)

    def _known(self, caller: Caller | None) -> Guest:
        return Guest(self._access.role_for(caller), caller.name if caller else "nobody")

    async def _proven(self, scope: Scope, name: str, secret: str) -> Caller | None:
        """Whose password it is, or without a name, whose token."""
        proof = hmac.digest(self._secret, f"{name}\0{secret}".encode("utf-8", "surrogatepass"), "sha256")
        caller = self._proofs.get(proof)
        if caller and name:
            return caller
        if proof in self._guessed:
            return await asyncio.shield(self._guessed[proof])
        address = str((scope.get("client") or ("",))[0])
        if caller is None and self._guesses.wait(address, self._clock.monotonic()):
            raise Refused(429, "too_many", "too many wrong tokens or passwords from this address", wait=60.0)
        found = await self._answer(proof, name, secret) if name else self._access.caller_of(secret)
        self._learn(proof, found, address, was_known=caller is not None)
        return found

    async def _answer(self, proof: bytes, name: str, password: str) -> Caller | None:
        """Compare it once, however many give it at the same time."""
        comparing = self._guessed[proof] = asyncio.ensure_future(self._compared(name, password))
        comparing.add_done_callback(lambda _: self._guessed.pop(proof, None))
        return await asyncio.shield(comparing)

    def _learn(self, proof: bytes, found: Caller | None, address: str, *, was_known: bool) -> None:
        """A guess is paid for before it is compared: who was right gets that back."""
        now = self._clock.monotonic()
        if found is None:
            if was_known:
                self._proofs.pop(proof, None)
                self._guesses.wait(address, now)
            return
        if not was_known:
            self._guesses.give_back(address, now)
        if len(self._proofs) < REMEMBERED:
            self._proofs[proof] = found

    async def _compared(self, name: str, password: str) -> Caller | None:
        """A name that nobody has takes as long as a wrong password."""
        person = self._access.users.get(name)
        anyone = person or next(iter(self._access.users.values()), None)
        if anyone is None or len(password) > LONGEST:
            return None
        async with self._comparing:
            right = await asyncio.to_thread(anyone.proves, password)
        return person.caller if person and right else None


def _pair(given: str) -> tuple[str, str]:
    """Name and password of the scheme Basic; what is none names somebody whom there is not."""
    try:
        name, _, password = b64decode(given.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError:
        return "?", ""
    return name or "?", password
