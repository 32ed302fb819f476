"""Job types: name -> function, options, signature; and the periodic jobs among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from worksong.domain import retry
from worksong.domain.cron import Schedule
from worksong.domain.errors import ConfigError, RegistrationError, UnknownHandler
from worksong.domain.job import Args, Job, Unique
from worksong.domain.names import wrong_with, wrong_with_queues
from worksong.domain.verdict import Policy
from worksong.ports import chance
from worksong.ports.backend import Allowance
from worksong.signature import Signature

USUAL = retry.gocraft(chance.random)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How jobs of one type are treated."""

    queue: str = "default"
    priority: int = 1
    """1 to 100000: how often this type has its turn, against the others'."""
    max_fails: int = 4
    """So many failures, then dead; 1: never retried."""
    skip_dead: bool = False
    """Dropped instead of dead."""
    max_concurrency: int = 0
    """At most so many at once in the whole cluster; 0: no limit."""
    expires: float | None = None
    """Not run when it has been waiting for longer, in seconds."""
    aliases: tuple[str, ...] = ()
    """Old names of the type that are still accepted."""
    backoff: retry.Backoff = USUAL
    timeout: float | None = None
    """Seconds a run may take; a plain function in a thread cannot be stopped, only given up (see `isolate`)."""
    unique: Unique | None = None
    isolate: Literal["thread", "process"] | None = None
    """Where it runs; None: coroutines in the loop, plain functions in threads."""
    retry_for: tuple[type[BaseException], ...] = (BaseException,)
    discard_on: tuple[type[BaseException], ...] = ()
    redact: tuple[str, ...] = ()
    """Names of arguments that the listing of busy workers does not show."""

    def policy(self) -> Policy:
        """What happens after a failure."""
        usual = self.backoff is USUAL
        return Policy(self.backoff, self.max_fails, self.skip_dead, self.retry_for, self.discard_on, usual)


class JobSpec(msgspec.Struct, frozen=True):
    """A registered job type."""

    name: str
    function: Callable[..., Any]
    options: Options
    signature: Signature


class Periodic(msgspec.Struct, frozen=True):
    """A job type that fires by itself."""

    schedule: Schedule
    handler: str
    args: Args
    queue: str


class Registry:
    """The job types a worker knows."""

    def __init__(self) -> None:
        self._specs: dict[str, JobSpec] = {}
        self._by_name: dict[str, JobSpec] = {}
        self.periodic: list[Periodic] = []

    def add(self, spec: JobSpec) -> None:
        """Register a type; the first one of a name stays."""
        check_name(spec.name, "handler name")
        check_options(spec.name, spec.options)
        check_redacted(spec)
        names = (spec.name, *spec.options.aliases)
        if spec.options.max_concurrency and spec.options.aliases:
            raise RegistrationError(
                f"handler {spec.name!r}: max_concurrency is counted per name, so it cannot be kept over the aliases "
                f"{', '.join(spec.options.aliases)}; drop one of the two"
            )
        for name in names:
            check_name(name, f"alias of {spec.name!r}")
            if name in self._by_name:
                raise RegistrationError(
                    f"handler already mapped for name {name!r}: {describe(self._by_name[name].function)} stays; "
                    f"register {describe(spec.function)} under another name"
                )
        if len(set(names)) < len(names):
            raise RegistrationError(f"handler {spec.name!r} names an alias twice: {spec.options.aliases}")
        self._specs[spec.name] = spec
        self._by_name.update(dict.fromkeys(names, spec))

    def add_periodic(self, entry: Periodic) -> None:
        """Let a type fire by itself. A firing's id tells its type, expression and time only, as gocraft/work's does."""
        same = (entry.handler, entry.schedule.spec)
        if any((other.handler, other.schedule.spec) == same for other in self.periodic):
            raise RegistrationError(
                f"periodic job {entry.handler!r} fires at {entry.schedule.spec!r} already, and a second one would be "
                "taken for the first: register its function under another name for other arguments"
            )
        self.periodic.append(entry)

    def find(self, name: str) -> JobSpec | None:
        """The type that runs jobs of this name or alias."""
        return self._by_name.get(name)

    def check_known(self, jobs: Iterable[object]) -> None:
        """Refuse those that nobody but this process could run, and it cannot. What is no job is refused elsewhere."""
        for job in jobs:
            named = isinstance(job, Job) and isinstance(job.handler, str) and job.handler
            if named and self.find(named) is None:
                known = ", ".join(sorted(self.names())) or "none"
                raise UnknownHandler(f"no handler mapped for name {named!r}; registered are: {known}")

    def __iter__(self) -> Iterator[JobSpec]:
        return iter(self._specs.values())

    def names(self) -> tuple[str, ...]:
        """All names and aliases."""
        return tuple(self._by_name)

    def weights(self) -> dict[str, int]:
        """The priority of every name and alias."""
        return {name: spec.options.priority for name, spec in self._by_name.items()}

    def allowance(self, name: str) -> Allowance | None:
        """What a type allows, for stores that count or time by themselves; None: nobody here knows the type."""
        spec = self._by_name.get(name)
        if spec is None:
            return None
        return Allowance(spec.options.timeout, spec.options.max_fails, spec.options.skip_dead)

    def limits(self) -> Mapping[str, int]:
        """The cluster-wide limits of those types that have one."""
        return {
            name: spec.options.max_concurrency for name, spec in self._by_name.items() if spec.options.max_concurrency
        }


def check_name(name: object, what: str) -> None:
    """Refuse a name that no backend could carry."""
    wrong = wrong_with(name)
    if wrong:
        raise RegistrationError(f"{what} {wrong}")


def options_of(name: str, given: Mapping[str, Any]) -> Options:
    """The options as they were given, in their canonical form."""
    unknown = set(given) - set(Options.__struct_fields__)
    if unknown:
        raise RegistrationError(
            f"handler {name!r}: unknown options {sorted(unknown)}; there are {', '.join(Options.__struct_fields__)}"
        )
    plain = dict(given)
    if "unique" in plain:
        plain["unique"] = "until_start" if plain["unique"] is True else plain["unique"] or None
    for group in ("aliases", "retry_for", "discard_on", "redact"):
        if group in plain:
            value = plain[group]
            several = isinstance(value, Iterable) and not isinstance(value, (str, type))
            plain[group] = tuple(cast("Iterable[Any]", value)) if several else (value,)
    return Options(**plain)


def check_queues(queues: object) -> None:
    """Refuse queues that no order can be made of."""
    if queues is None:
        return
    if isinstance(queues, (str, bytes)) or not isinstance(queues, (Mapping, Sequence)) or not queues:
        raise ConfigError(
            f"queues must be names in strict order, or names with their weights, not {queues!r}: "
            "queues=['high', 'low'] or queues={'high': 2, 'low': 1}"
        )
    for name in cast("Iterable[object]", queues):
        if wrong := wrong_with_queues(name):
            raise ConfigError(f"queue {wrong}")
    if isinstance(queues, Mapping):
        for name, weight in cast("Mapping[str, object]", queues).items():
            if not _whole(weight, 1, 100_000):
                raise ConfigError(
                    f"the weight of queue {name!r} must be a whole number from 1 to 100000, not {weight!r}"
                )


def check_options(name: str, options: Options) -> None:
    """Refuse options out of range."""
    check_name(options.queue, f"queue of {name!r}")
    problems = {
        "priority must be a whole number from 1 to 100000": not _whole(options.priority, 1, 100_000),
        "max_fails must be a whole number from 1": not _whole(options.max_fails, 1, 1 << 31),
        "max_concurrency must be a whole number from 0": not _whole(options.max_concurrency, 0, 1 << 31),
        "timeout must be a number of seconds above 0": not _seconds(options.timeout),
        "expires must be a number of seconds above 0": not _seconds(options.expires),
        "isolate must be None, 'thread' or 'process'": options.isolate not in (None, "thread", "process"),
        "unique must be False, 'until_start' or 'until_done'": options.unique
        not in (None, "until_start", "until_done"),
        "backoff must be callable: (job) -> seconds": not callable(options.backoff),
        "redact must be names of arguments": not all(isinstance(name, str) for name in options.redact),
        "retry_for and discard_on must be exception types": not _exceptions(options.retry_for, options.discard_on),
    }
    found = [problem for problem, there in problems.items() if there]
    if found:
        raise RegistrationError(f"handler {name!r}: {'; '.join(found)}")


def check_redacted(spec: JobSpec) -> None:
    """Refuse to hide arguments that the handler does not take: the secret would be shown under its right name."""
    accepted = spec.signature.accepted
    unknown = [name for name in spec.options.redact if accepted is not None and name not in accepted]
    if unknown:
        takes = ", ".join(accepted or ()) or "no arguments"
        raise RegistrationError(
            f"handler {spec.name!r}: redact names {', '.join(map(repr, unknown))}, but it takes {takes}"
        )


def describe(function: object) -> str:
    """A function as messages name it."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    return f"{module}.{name}" if module and name else repr(function)


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _seconds(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def _exceptions(*groups: Iterable[type[BaseException]]) -> bool:
    try:
        return all(issubclass(kind, BaseException) for group in groups for kind in group)
    except TypeError:
        return False
