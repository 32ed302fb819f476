"""The routes described for people: one page without a script, and nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from worksong.faces.http.answers import Answer, Asked, Route, route
from worksong.faces.http.document import document
from worksong.service.access import Scope

HTML = "text/html; charset=utf-8"
CSS = "text/css; charset=utf-8"


class Handbook:
    """The handlers of the description and its page. All that it tells is known when the routes are."""

    def __init__(self) -> None:
        self._document, self._page = b"{}", b""

    @property
    def routes(self) -> Sequence[Route]:
        """What is asked, by whom, and who answers."""
        kind = "application/json"
        return [
            route("GET /api/openapi.json", Scope.READ, self.document, "This description: OpenAPI 3.1", {200: kind}),
            route("GET /api/docs", Scope.READ, self.page, "The same for people", {200: "text/html"}),
            route("GET /api/docs.css", Scope.READ, self.style, "How that looks", {200: "text/css"}),
        ]

    def describe(self, routes: Iterable[Route]) -> None:
        """Write both."""
        told = document(routes)
        self._document = json.dumps(told).encode()
        self._page = page(told).encode()

    async def document(self, asked: Asked) -> Answer:
        return Answer(200, self._document)

    async def page(self, asked: Asked) -> Answer:
        return Answer(200, self._page, HTML)

    async def style(self, asked: Asked) -> Answer:
        return Answer(200, _style(), CSS)


@cache
def _style() -> bytes:
    return resources.files("worksong.faces.http").joinpath("docs.css").read_bytes()


def page(told: Mapping[str, Any]) -> str:
    """The whole page of a description."""
    info, paths = told["info"], told["paths"]
    operations = [(path, method, one) for path, methods in paths.items() for method, one in methods.items()]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}: HTTP</title>"
        '<link rel="stylesheet" href="docs.css"></head><body><main>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{_prose(info['description'])}</p>"
        '<p>For programs: <a href="openapi.json">openapi.json</a></p>'
        f"<nav><ul>{''.join(_entry(*one) for one in operations)}</ul></nav>"
        f"{''.join(_section(*one) for one in operations)}"
        f"<h2>Bodies</h2>{''.join(_schema(*one) for one in told['components']['schemas'].items())}"
        "</main></body></html>"
    )


def _entry(path: str, method: str, operation: Mapping[str, Any]) -> str:
    name = escape(operation["operationId"])
    return f'<li><a href="#{name}"><b>{method.upper()}</b> <code>{escape(path)}</code></a></li>'


def _section(path: str, method: str, operation: Mapping[str, Any]) -> str:
    name, needs = escape(operation["operationId"]), operation.get("description", "Needs no token.")
    return (
        f'<section id="{name}"><h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2>'
        f"<p>{_prose(operation['summary'])}. {_prose(needs)}</p>"
        f"{_parameters(operation.get('parameters', ()))}{_body(operation.get('requestBody'))}"
        f"<dl>{''.join(_answer(*one) for one in operation['responses'].items())}</dl></section>"
    )


def _parameters(parameters: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td>"
        f"<td>{_prose(one['description'])}</td></tr>"
        for one in parameters
    )
    return f"<table><tbody>{rows}</tbody></table>" if rows else ""


def _body(body: Mapping[str, Any] | None) -> str:
    if body is None:
        return ""
    return f"<p>Takes {_kinds(body['content'])}.</p>"


def _answer(status: str, response: Mapping[str, Any]) -> str:
    kinds = _kinds(response.get("content", {}))
    return f"<dt>{escape(status)} {escape(response['description'])}</dt><dd>{kinds or 'no body'}</dd>"


def _kinds(content: Mapping[str, Any]) -> str:
    found: list[str] = []
    for media, told in content.items():
        schema = told.get("schema", {})
        refs = [one["$ref"].rpartition("/")[2] for one in (schema, *schema.get("anyOf", ())) if "$ref" in one]
        found += [f'<a href="#{escape(ref)}">{escape(ref)}</a>' for ref in refs] or [f"<code>{escape(media)}</code>"]
    return " or ".join(found)


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3><pre>{escape(text)}</pre></section>'


def _prose(text: str) -> str:
    """A sentence whose `code` looks like what it is."""
    parts = text.split("`")
    return "".join(f"<code>{escape(part)}</code>" if number % 2 else escape(part) for number, part in enumerate(parts))
