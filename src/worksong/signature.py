"""What a handler accepts: decided once, at registration, and used for every run and every typed enqueue."""

# Values and annotations of any type are the subject of this module.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from operator import attrgetter
from typing import Any

import msgspec

from worksong.annotations import CALL, check_hint, foreign, hints_of, result_hint
from worksong.domain.errors import InvalidArguments, RegistrationError
from worksong.domain.job import Args, Job
from worksong.domain.pipeline import PREVIOUS
from worksong.ports.context import Context
from worksong.wire import gojson

FORMS = """the accepted forms are
    def handler(user_id: int, subject: str = "hi")      arguments by name, converted to the annotation
    def handler(job: Job, user_id: int)                 the job first
    def handler(ctx: Context, user_id: int)             the context of this run first
    def handler(args: dict)                             the raw arguments
each with `def` or `async def`"""

_TASKS = (("params",), ("params", PREVIOUS))
"""The parameters of a function in Valet's form."""
_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Inject(Enum):
    """What the first parameter receives beside the arguments."""

    NOTHING = 0
    JOB = 1
    CONTEXT = 2


class Signature:
    """A compiled signature: arguments as a job carries them -> arguments of the call."""

    def __init__(self, function: Callable[..., Any], context: type[Context], scope: Mapping[str, Any]) -> None:
        """`scope` holds names that annotations may use besides the function's own globals."""
        self._function = function
        parameters = list(_parameters(function))
        hints = hints_of(function, parameters, scope)
        self._returned = result_hint(function, scope)
        self.inject = self._injected(parameters, hints, context)
        self._own = parameters[1:] if self.inject is not Inject.NOTHING else parameters
        self._refuse_second_injection(hints)
        self._takes_all = self.inject is not Inject.NOTHING and not self._own
        """It looks at the job's arguments itself."""
        self.raw = self._is_raw(hints)
        self.spread = any(p.kind is p.VAR_KEYWORD for p in self._own)
        self.rest = any(p.kind is p.VAR_POSITIONAL for p in self._own)
        self._named = [p for p in self._own if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        self._names = [p.name for p in self._named]
        self._places = [p.name for p in self._named if p.kind is not p.KEYWORD_ONLY]
        self._fields: list[tuple[str, Any, Any] | tuple[str, Any]] = []
        self._partial: dict[str, type[msgspec.Struct]] = {}
        self._model = None if self.raw or not self._named else self._build(hints)
        self._values = attrgetter(*self._names) if self._model else None
        self._plain = self._places == self._names and not self.spread

    def call(self, args: Args) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments of the call, after the injected one; `InvalidArguments` names the one that does not fit."""
        if self._takes_all or (self._model is None and not args and not self.raw):
            return (), {}
        if isinstance(args, list):
            return self._call_list(args)
        return self._call_named(args or {})

    def pack(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, later: str = "") -> Args:
        """A typed call as the arguments a job carries, checked as they will be when it runs.

        `later`: the name of one that comes later, and is not checked now.
        """
        if later and self.raw and not args and not kwargs:
            return None
        packed = self._pack_raw(args, kwargs) if self.raw else self._pack_named(args, kwargs)
        plain = _builtins(self._label, packed)
        self.check(plain, later=later)
        return plain

    def check(self, args: Args, *, later: str = "") -> None:
        """Refuse arguments that a run would refuse, but for the one that comes `later`."""
        if later:
            self._check_without(later, args)
        else:
            self.call(args)

    def _check_without(self, later: str, plain: Args) -> None:
        if isinstance(plain, list) or self._takes_all or (self.accepted is not None and later not in self.accepted):
            raise InvalidArguments(f"{self._label}() takes no argument {later!r} by name, which is to come later")
        if later in (plain or {}):
            raise InvalidArguments(f"{self._label}(): the argument {later!r} is to come later, and was given now")
        if not self.raw:
            self._convert(plain or {}, self._lacking(later))

    def _lacking(self, name: str) -> type[msgspec.Struct]:
        """What holds all arguments but this one; made once."""
        if name not in self._partial:
            others = [field for field in self._fields if field[0] != name]
            self._partial[name] = msgspec.defstruct(
                "Arguments", others, kw_only=True, forbid_unknown_fields=not self.spread
            )
        return self._partial[name]

    def returned(self, value: object) -> object:
        """What the handler returned, from JSON to what its annotation says; `msgspec.ValidationError`."""
        return msgspec.convert(value, self._returned, dec_hook=foreign)

    # registration

    @property
    def accepted(self) -> tuple[str, ...] | None:
        """The names of the arguments it takes; None: any."""
        return None if self.raw or self.spread or self._takes_all else tuple(self._names)

    @property
    def of_valets_form(self) -> bool:
        """Whether it takes the arguments of a job as one, `params`."""
        return self.accepted in _TASKS

    @property
    def _label(self) -> str:
        return getattr(self._function, "__qualname__", repr(self._function))

    def _refuse(self, why: str) -> RegistrationError:
        shown = ", ".join(str(p) for p in _parameters(self._function))
        return RegistrationError(f"handler {self._label}({shown}): {why}; {FORMS}")

    def _refuse_parameter(self, name: str, why: str) -> RegistrationError:
        return self._refuse(f"parameter {name!r}: {why}")

    def _injected(
        self, parameters: list[inspect.Parameter], hints: Mapping[str, Any], context: type[Context]
    ) -> Inject:
        if not parameters or parameters[0].kind not in _PLACED:
            return Inject.NOTHING
        hint = hints.get(parameters[0].name)
        if hint is Job:
            return Inject.JOB
        if isinstance(hint, type) and issubclass(hint, Context):
            if not issubclass(context, hint):
                raise self._refuse(
                    f"it asks for a {hint.__name__}, but this worker gives a {context.__name__}: "
                    f"create it with Worker(context={hint.__name__})"
                )
            return Inject.CONTEXT
        return Inject.NOTHING

    def _refuse_second_injection(self, hints: Mapping[str, Any]) -> None:
        for parameter in self._own:
            hint = hints.get(parameter.name)
            if hint is Job or (isinstance(hint, type) and issubclass(hint, Context)):
                raise self._refuse(
                    f"only the first parameter, given by position, can be a {hint.__name__}, not {parameter.name!r}"
                )

    def _is_raw(self, hints: Mapping[str, Any]) -> bool:
        if [p.name for p in self._own] != ["args"] or self._own[0].kind not in _PLACED:
            return False
        hint = hints.get("args", inspect.Parameter.empty)
        origin = typing.get_origin(hint) or hint
        if hint in (inspect.Parameter.empty, Any):
            return True
        return isinstance(origin, type) and issubclass(origin, Mapping) and not typing.is_typeddict(origin)

    def _build(self, hints: Mapping[str, Any]) -> type[msgspec.Struct]:
        """A struct with a field per parameter: msgspec converts and checks all of them in one call."""
        fields = self._fields
        for parameter in self._named:
            hint = hints.get(parameter.name, Any)
            check_hint(hint, partial(self._refuse_parameter, parameter.name))
            if parameter.default is parameter.empty:
                fields.append((parameter.name, hint))
            else:
                fields.append((parameter.name, hint | msgspec.UnsetType if hint is not Any else Any, msgspec.UNSET))
        try:
            return msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=not self.spread)
        except (TypeError, ValueError) as wrong:
            raise self._refuse(f"its annotations cannot be filled from JSON: {wrong}") from wrong

    # a run

    def _call_named(self, args: dict[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if self.raw:
            return (args,), {}
        if self._model is None or self._values is None:
            if self.spread:
                return (), args
            raise InvalidArguments(f"{self._label}() takes no arguments, but the job has {_names(args)}")
        model = self._convert(args, self._model)
        values = self._values(model)
        if len(self._names) == 1:
            values = (values,)
        if self._plain and msgspec.UNSET not in values:
            return values, {}
        given = dict(zip(self._names, values, strict=True))
        places = [
            p.default if given[p.name] is msgspec.UNSET else given[p.name] for p in self._named if p.kind in _PLACED
        ]
        keywords = {name: given[name] for name in self._names[len(places) :] if given[name] is not msgspec.UNSET}
        if self.spread:
            keywords.update({name: value for name, value in args.items() if name not in given})
        return places, keywords

    def _call_list(self, args: list[Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """A list of exactly one object may be named arguments in a format that carries only lists."""
        if len(args) == 1 and isinstance(args[0], dict):
            try:
                return self._call_named(args[0])
            except InvalidArguments:
                if not self._places and not self.rest:
                    raise
        if self.raw:
            raise InvalidArguments(f"{self._label}() takes named arguments, but the job has a list of {len(args)}")
        count = len(self._places)
        if len(args) > count and not self.rest:
            raise InvalidArguments(f"{self._label}() takes {count} arguments by position, but the job has {len(args)}")
        named = dict(zip(self._places, args, strict=False))
        places, keywords = self._call_named(named) if self._model else ((), {})
        return [*places, *args[count:]], keywords

    def _convert(self, args: dict[str, Any], model: type[msgspec.Struct]) -> msgspec.Struct:
        try:
            return msgspec.convert(args, model, strict=False, dec_hook=foreign)
        except msgspec.ValidationError as wrong:
            mended = {name: [] if value == {} else value for name, value in args.items()}
            if mended != args:
                # Redis's cjson writes an empty list as an empty object: what went through a Go worker may hold one.
                try:
                    return msgspec.convert(mended, model, strict=False, dec_hook=foreign)
                except msgspec.ValidationError:
                    pass
            raise InvalidArguments(f"{self._label}(): {_explain(str(wrong))}") from wrong

    # a typed enqueue

    def _pack_raw(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
        given = [*args, *kwargs.values()]
        if len(given) != 1 or (kwargs and "args" not in kwargs) or not isinstance(given[0], Mapping):
            raise InvalidArguments(f"{self._label}() takes one mapping of arguments")
        return dict(given[0])

    def _pack_named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
        if len(args) > len(self._places):
            if self.rest and not kwargs:
                return list(args)
            raise InvalidArguments(
                f"{self._label}() takes {len(self._places)} arguments by position, {len(args)} were given"
            )
        named = dict(zip(self._places, args, strict=False))
        twice = [name for name in named if name in kwargs]
        if twice:
            raise InvalidArguments(f"{self._label}() got {_names(twice)} twice")
        return {**named, **kwargs} or None


def check_task(function: Callable[..., Any]) -> None:
    """Refuse a function that is not of Valet's form."""
    names = tuple(parameter.name for parameter in _parameters(function))
    if names not in _TASKS:
        raise RegistrationError(
            f"task {getattr(function, '__qualname__', function)!r}: it must take (params) or (params, previous=None), "
            f"not ({', '.join(names)}); @worker.job() registers functions of any other form"
        )


def _parameters(function: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    if not callable(function):
        raise RegistrationError(f"handler {function!r} is not callable; {FORMS}")
    plain = isinstance(function, type) or inspect.isroutine(function)
    called = (function,) if plain else (function, getattr(function, CALL, function))
    if any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in called):
        raise RegistrationError(f"handler {function!r} is a generator, which nobody would iterate; {FORMS}")
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as hidden:
        raise RegistrationError(f"handler {function!r} does not tell its parameters: wrap it in a function") from hidden


def _builtins(label: str, packed: object) -> Args:
    """The packed arguments as they come back from a queue; refuses what JSON cannot carry."""
    dumped = gojson.dumped(packed)
    gojson.encode(dumped, root=label)
    plain: Args = msgspec.json.decode(msgspec.json.encode(dumped))
    return plain


def _explain(message: str) -> str:
    """msgspec's message, with the argument's name in front."""
    what, _, where = message.partition(" - at `$")
    if where:
        return f"argument {where.rstrip('`').lstrip('.')!r}: {what}"
    return what.replace("Object missing required field", "missing argument").replace(
        "Object contains unknown field", "unknown argument"
    )


def _names(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
