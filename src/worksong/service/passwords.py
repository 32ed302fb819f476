"""Users with passwords: kept as scrypt digests, one user a line, and compared in a time that tells nothing."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence

import msgspec

from worksong.domain.errors import ConfigError
from worksong.service.access import NAME, Caller, Scope

COST, BLOCK, LANES = 1 << 14, 8, 1
"""Of scrypt: 16 MiB and some 50 ms for each password that is compared."""
COSTLIEST = 64 << 20
"""Bytes that comparing one may take."""
SALT = 16
SHORTEST = 12
"""Characters of a password; with fewer of them, ten guesses a minute may be enough in the end."""
ROLES = {"viewer": Scope.READ, "operator": Scope.MANAGE, "admin": Scope.ADMIN}
"""What a line may say of a user, and what he may do then."""
_HOW = "`worksong password NAME --role operator` prints a line"


class Digest(msgspec.Struct, frozen=True):
    """What is kept of a password."""

    cost: int
    block: int
    lanes: int
    salt: bytes
    key: bytes

    @property
    def memory(self) -> int:
        """Bytes that comparing takes."""
        return 128 * self.cost * self.block

    def fits(self, password: str) -> bool:
        """Whether it is of this password; takes its time, so call it in a thread."""
        return hmac.compare_digest(self.key, _derived(password, self))

    def __str__(self) -> str:
        salt, key = (b64encode(part).decode() for part in (self.salt, self.key))
        return f"scrypt${self.cost}${self.block}${self.lanes}${salt}${key}"


class User(msgspec.Struct, frozen=True):
    """Somebody who signs in with a name and a password."""

    caller: Caller
    digest: Digest

    @property
    def key(self) -> bytes:
        """What signs of his are made from, beside a secret of the process: another password makes them worthless."""
        return hashlib.sha256(f"user {self.caller.name} {self.digest}".encode()).digest()

    def proves(self, password: str) -> bool:
        """Whether it is his; takes its time, so call it in a thread."""
        return self.digest.fits(password)


def hashed(password: str) -> Digest:
    """What to keep of it; raises `ConfigError` for one that is too short."""
    if len(password) < SHORTEST:
        raise ConfigError(f"a password has {SHORTEST} characters at least, and this one has {len(password)}")
    bare = Digest(COST, BLOCK, LANES, secrets.token_bytes(SALT), b"")
    return msgspec.structs.replace(bare, key=_derived(password, bare))


def line_of(name: str, role: str, digest: Digest) -> str:
    """A line of a file of users."""
    return f"{name}:{role}:{digest}"


def users_in(lines: Iterable[str], place: str) -> Sequence[User]:
    """The users that a file names; empty lines and those that begin with # are passed over. Raises `ConfigError`.

    `place`: how errors call the file.
    """
    found = [
        _user(line.strip(), f"{place}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not found:
        raise ConfigError(f"{place} names no users: {_HOW}")
    if len({user.caller.name for user in found}) < len(found):
        raise ConfigError(f"{place} names a user twice: each has one line")
    return found


def _user(line: str, place: str) -> User:
    name, _, rest = line.partition(":")
    role, _, digest = rest.partition(":")
    if not NAME.fullmatch(name):
        raise ConfigError(f"{place}: {name!r} is no name of a user: 1 to 64 letters, digits and _ . @ - are")
    if role not in ROLES:
        raise ConfigError(f"{place}: {role!r} is no role of {name!r}: there are {', '.join(ROLES)}")
    return User(Caller(name, frozenset({ROLES[role]})), _digest(digest, place))


def _digest(text: str, place: str) -> Digest:
    try:
        kind, cost, block, lanes, salt, key = text.split("$")
        found = Digest(int(cost), int(block), int(lanes), b64decode(salt, validate=True), b64decode(key, validate=True))
        sound = kind == "scrypt" and found.salt and len(found.key) == 32 and 0 < found.memory <= COSTLIEST
        if sound and found.lanes == LANES and found.block == BLOCK and found.cost >= COST and _is_power(found.cost):
            return found
    except ValueError:  # so are the failures of base64
        pass
    raise ConfigError(f"{place}: that is no digest of a password: {_HOW}")


def _is_power(cost: int) -> bool:
    """Of two: scrypt takes no other costs."""
    return cost & (cost - 1) == 0


def _derived(password: str, digest: Digest) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=digest.salt,
        n=digest.cost,
        r=digest.block,
        p=digest.lanes,
        maxmem=2 * COSTLIEST,
        dklen=32,
    )
