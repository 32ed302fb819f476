"""What the annotations of a handler mean, and whether a JSON value can become that."""

# Values and annotations of any type are the subject of this module.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from worksong.domain.errors import RegistrationError

CALL = "__call__"


def hints_of(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter], scope: Mapping[str, Any]
) -> dict[str, Any]:
    """The annotations of the parameters, resolved; the result's is nobody's business here."""
    target = _defined(function)
    own = getattr(target, "__globals__", {})
    # Only what is defined inside a function can mean its local names; elsewhere they are just better than nothing.
    nested = "<locals>" in getattr(target, "__qualname__", "")
    names = {**own, **scope} if nested else {**scope, **own}
    hints: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.annotation is parameter.empty:
            continue
        holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        try:
            hints.update(typing.get_type_hints(holder, names, include_extras=True))
        except Exception as unknown:
            raise RegistrationError(
                f"handler {getattr(function, '__qualname__', function)}: the annotation {parameter.annotation!r} of "
                f"parameter {parameter.name!r} cannot be read when the program runs ({unknown}): import its type at "
                "the module's top level, not only for type checkers"
            ) from unknown
    return hints


def result_hint(function: Callable[..., Any], scope: Mapping[str, Any]) -> Any:
    """What JSON becomes again when a result is read; Any where the annotation does not tell."""
    returned = getattr(_defined(function), "__annotations__", {}).get("return", Any)
    pretended = inspect.Parameter("result", inspect.Parameter.KEYWORD_ONLY, annotation=returned)
    try:
        hint = hints_of(function, [pretended], scope).get("result", Any)
        check_hint(hint, RegistrationError)
    except RegistrationError:
        return Any
    return hint


def _defined(function: Any) -> Any:
    """The function behind a decorated or partial one, a class or an object: it knows what its annotations mean."""
    target = inspect.unwrap(function)
    if isinstance(target, partial):
        return _defined(target.func)
    if isinstance(target, type):
        return inspect.unwrap(cast("Any", target).__init__)
    if not hasattr(target, "__globals__"):
        return getattr(type(target), CALL, target)
    return target


def check_hint(hint: Any, refusal: Callable[[str], RegistrationError]) -> None:
    """Refuse a type that no JSON value can become."""
    try:
        info = msgspec.inspect.type_info(hint)
    except (TypeError, ValueError) as wrong:
        raise refusal(f"{hint!r} cannot be filled from JSON: {wrong}") from wrong
    for custom in _customs(info):
        if custom is not object and not hasattr(custom, "model_validate"):
            raise refusal(
                f"no JSON value can become a {getattr(custom, '__name__', custom)}; use the basic types, datetime, "
                "UUID, Decimal, an enum, a dataclass, a TypedDict, a msgspec.Struct or a pydantic model"
            )


def _customs(info: Any) -> list[Any]:
    """The types within `info`, however deep, that msgspec leaves to a hook."""
    found: list[Any] = []
    waiting, seen = [info], set[int]()
    while waiting:
        part = waiting.pop()
        if isinstance(part, msgspec.inspect.CustomType):
            found.append(part.cls)
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
        elif isinstance(part, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(part) not in seen:
            seen.add(id(part))
            waiting.extend(getattr(part, name) for name in part.__struct_fields__)
    return found


def foreign(kind: type, value: Any) -> Any:
    """A value for a type that msgspec does not know: a pydantic model, or what already is one."""
    if isinstance(value, kind):
        return value
    try:
        return cast("Any", kind).model_validate(value)
    except ValueError as wrong:
        raise ValueError(_without_values(wrong)) from wrong


def _without_values(wrong: Any) -> str:
    """What a model refused, without the values, which may be secret."""
    if not hasattr(wrong, "errors"):
        return str(wrong).replace("\n", "; ")
    found = wrong.errors(include_input=False, include_url=False)
    return "; ".join(f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg', '')}" for one in found)
