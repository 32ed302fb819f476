"""Somebody in front of the web console: asks for pages, sends forms, and reads what comes as a strict browser would."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

from httpx2 import ASGITransport, AsyncClient, Response

from worksong import Worker
from worksong.faces.web import Console
from worksong.service.desk import Store

ADDRESS = "http://127.0.0.1:4747"
SAME = {"Sec-Fetch-Site": "same-origin"}
VOID = {"meta", "link", "input", "path", "ellipse", "rect", "br"}
"""Elements that need no end, and those of pictures that are written without one."""


class Visitor:
    """A browser without JavaScript, on the machine of the console."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, **options: Any) -> Response:
        return await self.client.get(path, **options)

    async def read(self, path: str) -> str:
        """The page that must be there, checked."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return check_page(answer)

    async def send(self, path: str, **fields: Any) -> Response:
        """Send a form, and go where the answer leads."""
        return await self.client.post(path, data=fields, headers=SAME, follow_redirects=True)

    async def json(self, path: str) -> Any:
        answer = await self.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def order(self, path: str, **body: Any) -> Response:
        return await self.client.post(f"/api/v1{path}", json=body)


@asynccontextmanager
async def visiting(
    jobs: Worker | Store,
    *,
    client: tuple[str, int] = ("127.0.0.1", 50000),
    base: str = ADDRESS,
    patience: float = 600.0,
    **options: Any,
) -> AsyncIterator[Visitor]:
    """Somebody in front of a console of its own; the backend is closed when they leave."""
    console = Console(jobs, patience=patience, **options)
    transport = ASGITransport(console, client=client)
    try:
        async with AsyncClient(transport=transport, base_url=base) as browser:
            yield Visitor(browser)
    finally:
        console.leave()
        await jobs.backend().close()


def text_of(page: str) -> str:
    """What of the page is read, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def check_page(answer: Response) -> str:
    """The page, which must be well formed, guarded and without anything inline."""
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    parser = Strict()
    parser.feed(answer.text)
    parser.close()
    assert not parser.open, f"never ended: {parser.open}"
    assert parser.headings == 1
    return answer.text


class Strict(HTMLParser):
    """Fails on elements that do not match, ids that are there twice, and code or style in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.headings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert len(given) == len(attrs), f"{tag}: an attribute twice"
        assert "style" not in given, tag
        assert not [name for name in given if name.startswith("on")], attrs
        assert tag not in ("style", "iframe", "object", "embed", "base"), tag
        assert tag != "script" or given.get("src"), "inline code"
        for name in ("src", "href", "action", "formaction"):
            assert not re.match(r"[a-z]+:|//", given.get(name) or "", re.IGNORECASE), given[name]
        if given.get("id"):
            assert given["id"] not in self.ids, given["id"]
            self.ids.add(str(given["id"]))
        self.headings += tag == "h1"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID, tag
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag, f"{tag} ends out of order"
