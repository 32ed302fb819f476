"""The routes described for programs: OpenAPI 3.1, made of the table of routes and the types of their bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec

from worksong.faces.http.answers import Parameter, Route
from worksong.faces.http.views import Problem, Trouble
from worksong.service.forms import BatchForm, EditForm, JobForm, PipelineForm, StagedForm

V1 = "/api/v1/"
_TEXT: Mapping[str, Any] = {"type": "string", "minLength": 1}
_JOB: Mapping[str, Any] = {"$ref": f"#/components/schemas/{JobForm.__name__}"}
_JOB_OR_JOBS: Mapping[str, Any] = {"anyOf": [_JOB, {"type": "array", "items": _JOB, "minItems": 1}]}
_FORMS: Mapping[str, Mapping[str, Any]] = {
    JobForm.__name__: {
        "required": ["name", "task_name"],
        "properties": {"name": _TEXT, "task_name": _TEXT},
    },
    PipelineForm.__name__: {
        "required": ["name", "jobs"],
        "properties": {"name": _TEXT, "jobs": {"minItems": 2}},
    },
    StagedForm.__name__: {
        "required": ["name", "jobs"],
        "properties": {"name": _TEXT, "jobs": {"minItems": 1, "items": _JOB_OR_JOBS}},
    },
    BatchForm.__name__: {"required": ["jobs"], "properties": {"jobs": {"minItems": 1, "maxItems": 1000}}},
    EditForm.__name__: {},
}
"""What a form asks for that its type does not say, since a refusal has its own words and order for it."""
_ID = Parameter("id", {"type": "string", "format": "uuid"}, "The id of it.", "path")


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The description of all of them."""
    told = [route for route in routes if route.method != "HEAD"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "worksong",
            "version": version("worksong"),
            "description": "Jobs and pipelines. Keys of bodies are taken in any case, unknown ones passed over.",
        },
        "paths": _paths(told),
        "components": {
            "schemas": _schemas(told),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def name_of(route: Route) -> str:
    """What programs that are made of the description call it."""
    words = re.findall(r"[a-z0-9]+", route.path.removeprefix("/api/"))
    return "_".join([route.method.lower(), *words])


def _paths(routes: Sequence[Route]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for route in routes:
        found.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return found


def _operation(route: Route) -> dict[str, Any]:
    parameters = [*([_ID] if "{id}" in route.path else []), *route.asks]
    told: dict[str, Any] = {
        "operationId": name_of(route),
        "summary": route.text,
        "responses": {str(status): _response(route, status, kinds) for status, kinds in _answers(route).items()},
    }
    if route.scope:
        told |= {"security": [{"bearer": []}], "description": f"Needs the scope `{route.scope}`."}
    if parameters:
        told["parameters"] = [_parameter(one) for one in parameters]
    if route.takes:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(route.takes)}}}
    return told


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.place,
        "required": one.place == "path",
        "schema": dict(one.schema),
        "description": one.text,
    }


def _answers(route: Route) -> dict[int, list[Any]]:
    """By status the types of bodies, those included that the door gives for all."""
    found: dict[int, list[Any]] = {status: [kind] if kind else [] for status, kind in route.answers.items()}
    trouble = Problem if route.path.startswith(V1) else Trouble
    refused = [400, 421, 429, 503] if route.scope is None else [400, 401, 403, 421, 429, 502, 503]
    for status in [*refused, *([408, 413] if route.is_write else []), *([404] if "{id}" in route.path else [])]:
        kinds = found.setdefault(status, [])
        if trouble not in kinds:
            kinds.append(trouble)
    if "{id}" in route.path:
        found[404].append("text/plain")
    return dict(sorted(found.items()))


def _response(route: Route, status: int, kinds: Sequence[Any]) -> dict[str, Any]:
    content = {
        (kind if isinstance(kind, str) else "application/json"): {}
        if isinstance(kind, str)
        else {"schema": _union([other for other in kinds if not isinstance(other, str)])}
        for kind in kinds
    }
    return {"description": HTTPStatus(status).phrase, **({"content": content} if content else {})}


def _union(kinds: Sequence[Any]) -> dict[str, Any]:
    return _ref(kinds[0]) if len(kinds) == 1 else {"anyOf": [_ref(kind) for kind in kinds]}


def _ref(kind: Any) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    kinds = {route.takes for route in routes} | {Problem, Trouble}
    kinds |= {kind for route in routes for kind in route.answers.values()}
    structs = sorted((kind for kind in kinds if isinstance(kind, type)), key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    for name, more in _FORMS.items():
        if name in schemas:
            _add(schemas[name], more)
            schemas[name].pop("additionalProperties", None)
    return schemas


def _add(schema: dict[str, Any], more: Mapping[str, Any]) -> None:
    schema |= {name: value for name, value in more.items() if name != "properties"}
    for name, told in more.get("properties", {}).items():
        given = schema["properties"][name]
        plain = next((one for one in given.get("anyOf", ()) if one.get("type") != "null"), given)
        schema["properties"][name] = {**plain, **told}
