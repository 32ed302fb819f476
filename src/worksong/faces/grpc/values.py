"""Values between Python and protobuf's `Struct` and `Value`, whose numbers are all doubles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from worksong.service.refusals import Invalid

EXACT = 1 << 53
"""Below this, a double that is a whole number is one whole number only."""


def params_of(given: Struct) -> dict[str, Any]:
    """The object that was sent; raises `Invalid` for what JSON cannot say."""
    return {name: _plain(value) for name, value in given.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            return _number(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return params_of(value.struct_value)
        case "list_value":
            return [_plain(inner) for inner in value.list_value.values]
        case _:
            return None


def _number(number: float) -> float:
    """Whole ones as they were before they were sent."""
    if number - number != 0:  # infinite, or none
        raise Invalid(f"task_params: {number} is no number in JSON")
    return int(number) if number.is_integer() and abs(number) <= EXACT else number


def struct_of(params: Mapping[str, Any]) -> Struct:
    """An object as it is sent."""
    return Struct(fields={name: value_of(value) for name, value in params.items()})


def value_of(given: object) -> Value:
    """Anything that JSON can say, as it is sent; raises `OverflowError` for a whole number beyond all doubles."""
    match given:
        case bool():
            return Value(bool_value=given)
        case int() | float():
            return Value(number_value=float(given))
        case str():
            return Value(string_value=given)
        case Mapping():
            return Value(struct_value=struct_of(cast("Mapping[str, Any]", given)))
        case list():
            return Value(list_value=ListValue(values=[value_of(inner) for inner in cast("list[object]", given)]))
        case _:
            return Value(null_value=NULL_VALUE)


def time_of(at: float) -> Timestamp | None:
    """Unix seconds to the microsecond; None for a time that has not come."""
    if not at:
        return None
    seconds, micros = divmod(round(at * 1_000_000), 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1000)
