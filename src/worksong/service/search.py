"""Searching jobs: words and qualifiers, and what the ports can answer of them without an index."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import NamedTuple, cast

import msgspec

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.ports.backend import Inspector, Listing, Window
from worksong.service.fields import without
from worksong.service.redaction import redacted, without_logins

QUALIFIERS = ("handler", "queue", "state", "id", "error")
ARGS = "args."
"""How the qualifier of an argument begins: args.user_id:7."""
LISTED = (State.QUEUED, State.RUNNING, State.SCHEDULED, State.RETRY, State.DEAD)
"""The states in which a job can be found."""
LOOKED_AT = 2_000
"""A search reads so many jobs of the state at most: backends have no index for it."""
CHUNK = 1_000
AT_A_TIME = 10
"""Jobs that are compared before others of the event loop have a turn: arguments may be long."""
LONGEST = 500
"""Characters of a search."""

_WORD = re.compile(r'(?:(?P<name>args\.[^\s":]+|[a-z_]+):)?(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]+))')


class Search(msgspec.Struct, frozen=True):
    """What is sought: every condition must hold. `*` stands for any text."""

    state: State | None = None
    handler: str = ""
    queue: str = ""
    id: str = ""
    error: str = ""
    args: tuple[tuple[str, str], ...] = ()
    """Arguments, each by its name, or by the names of what it is within: `user.id`, or `0` of a list; and its value."""
    words: tuple[str, ...] = ()
    """Somewhere in the job type, the id, the queue or the error."""

    @property
    def narrows(self) -> bool:
        """Whether it asks for more than a state."""
        return bool(self.handler or self.queue or self.id or self.error or self.args or self.words)

    def finds(self, view: JobView, hidden: Collection[str] = ()) -> bool:
        """Whether the job is meant; `hidden`: arguments that its type does not show."""
        job = view.job
        exact = ((self.handler, job.handler), (self.queue, job.queue), (self.id, job.id))
        asked = self.error or self.words
        error = (
            without_logins(f"{view.reason} {job.error}") if asked else ""
        )  # who may not see them may not guess either
        return (
            all(not sought or is_like(sought, text) for sought, text in exact)
            and (not self.error or holds(self.error, error))
            and (not self.args or self._finds_args(redacted(without(job.args, hidden))))
            and all(any(holds(word, text) for text in (job.handler, job.id, job.queue, error)) for word in self.words)
        )

    def _finds_args(self, shown: object) -> bool:
        """Of what a page shows of them: who may not see one may not guess it either."""
        return all(any(is_like(sought, text) for text in _values(shown, name)) for name, sought in self.args)


class Found(NamedTuple):
    """What a search found."""

    jobs: Sequence[JobView]
    looked: int
    """At how many jobs of the state it looked."""
    total: int
    """How many there are."""

    @property
    def complete(self) -> bool:
        return self.looked >= self.total


def parse(text: str) -> Search:
    """`handler:mail error:"timed out" 4711`; raises `InvalidArguments`."""
    text = text.strip()
    if len(text) > LONGEST:
        raise InvalidArguments(f"a search takes {LONGEST} characters at most, and this one has {len(text):,}")
    given: dict[str, str] = {}
    args: list[tuple[str, str]] = []
    words: list[str] = []
    for word in _WORD.finditer(text):
        name, sought = word["name"], word["quoted"] if word["quoted"] is not None else word["bare"]
        if not name:
            words += [sought] if sought else []
        elif name.startswith(ARGS):
            args.append((name.removeprefix(ARGS), sought))
        elif name not in QUALIFIERS:
            known = ", ".join(f"{qualifier}:" for qualifier in (*QUALIFIERS, f"{ARGS}NAME"))
            raise InvalidArguments(f'there is no qualifier {name}: but {known}; as a text it is "{word[0]}"')
        else:
            given[name] = sought
    texts = {name: sought for name, sought in given.items() if name != "state"}
    return Search(_state(given), args=tuple(args), words=tuple(words), **texts)


def _state(given: Mapping[str, str]) -> State | None:
    name = given.get("state")
    if not name:
        return None
    if name not in [str(state) for state in LISTED]:
        raise InvalidArguments(f"no jobs are in a state {name!r}: write {', '.join(LISTED)}")
    return State(name)


def _shows_all(handler: str) -> Collection[str]:
    return ()


async def find(
    inspector: Inspector, state: State, search: Search, hidden: Callable[[str], Collection[str]] = _shows_all
) -> Found:
    """Read the jobs of the state, the first ones, and keep those that are meant.

    `hidden`: the arguments that a job type does not show.
    """
    found: list[JobView] = []
    looked = total = 0
    async for listing in _chunks(inspector, state):
        looked, total = looked + len(listing), listing.total
        if not search.narrows:
            found += listing.jobs
            continue
        for start in range(0, len(listing), AT_A_TIME):
            part = listing.jobs[start : start + AT_A_TIME]
            found += [view for view in part if search.finds(view, hidden(view.handler))]
            await asyncio.sleep(0)
    return Found(found, looked, max(total, looked))


async def _chunks(inspector: Inspector, state: State) -> AsyncIterator[Listing]:
    for offset in range(0, LOOKED_AT, CHUNK):
        listing = await inspector.jobs(state, Window(CHUNK, offset))
        yield listing
        if len(listing) < CHUNK:
            return


def _values(args: object, name: str) -> list[str]:
    """What is there under the name, as one would write it; nothing of lists and objects themselves."""
    if not name:
        if isinstance(args, (Mapping, list)):
            return []
        return [args if isinstance(args, str) else msgspec.json.encode(args).decode()]
    found: list[str] = []
    for key, inner in _entries(args):
        if name == key or name.startswith(f"{key}."):
            found += _values(inner, name[len(key) + 1 :])
    return found


def _entries(args: object) -> list[tuple[str, object]]:
    """Named values; those of a list go by their places, and by their names where it carries named ones."""
    if isinstance(args, Mapping):
        return [(str(key), inner) for key, inner in cast("Mapping[object, object]", args).items()]
    if not isinstance(args, list):
        return []
    every = cast("list[object]", args)
    named = (
        _entries(cast("Mapping[object, object]", every[0])) if len(every) == 1 and isinstance(every[0], Mapping) else []
    )
    return [*((str(place), inner) for place, inner in enumerate(every)), *named]


def is_like(pattern: str, text: str) -> bool:
    """Whether the whole text is as the pattern says, whatever the case."""
    pattern, text = pattern.casefold(), text.casefold()
    if "*" not in pattern:
        return pattern == text
    first, *_, last = pattern.split("*")
    return (
        len(text) >= len(first) + len(last) and text.startswith(first) and text.endswith(last) and holds(pattern, text)
    )


def holds(pattern: str, text: str) -> bool:
    """Whether a part of the text is as the pattern says: its parts, one after the other. No pattern makes it slow."""
    text, at = text.casefold(), 0
    for part in pattern.casefold().split("*"):
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True
