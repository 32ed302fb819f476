"""The documentation: its Python runs, its links lead somewhere, and what it lists is what there is.

All blocks of a page run in order, in one namespace and an empty directory. A block that needs more than `memory://`
has a line `<!-- not run: why -->` above it; it is compiled.
"""

from __future__ import annotations

import builtins
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

import pytest

import worksong
from worksong import testing
from worksong.domain import record
from worksong.domain.lifecycle import MOVES
from worksong.registry import Options

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: .+ -->\n$")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
OF_THE_CALLER = {"name"}
"""Options of `Worker.job` that `Options` does not hold."""


class Block(NamedTuple):
    """A Python block of a page, compiled; its line numbers are those of the page."""

    code: CodeType
    run: bool


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        code = compile("\n" * line + found["code"], page_name(page), "exec", dont_inherit=True)
        yield Block(code, run=not NOT_RUN.search(text[: found.start()]))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """An empty module to run a page in, in an empty directory, without a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKSONG_URL", raising=False)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_python_of_the_page_runs(page: Path, program: ModuleType) -> None:
    for block in blocks(page):
        if block.run:
            exec(block.code, vars(program))


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"], ids=page_name)
def test_the_links_of_the_page_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text()):
        place, _, anchor = link["target"].partition("#")
        if ":" in place:
            continue
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link[0]
        assert not anchor or anchor in anchors(target), link[0]


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    def entries(tree: object) -> Iterator[str]:
        match tree:
            case str():
                yield tree
            case dict():
                for branch in tree.values():
                    yield from entries(branch)
            case list():
                for branch in tree:
                    yield from entries(branch)

    navigation = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page != ROOT / "README.md"}
    assert sorted(entries(navigation)) == sorted(pages)


@pytest.mark.parametrize("backend", ["memory", "sql", "redis", "gocraft", "resque", "faktory", "rabbitmq"])
def test_the_guide_of_a_backend_has_a_table_of_what_it_guarantees(backend: str) -> None:
    guide = (ROOT / "docs" / "guides" / f"{backend}.md").read_text()
    assert re.search(
        r"^## What (?:it guarantees|they guarantee|is kept when something ends)\n\n(?:[^#\n].*\n+)?\|", guide, re.M
    )


def test_the_drawing_of_the_states_is_the_table_of_moves() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+) : (\w+)$", (ROOT / "docs" / "states.md").read_text(), re.MULTILINE))
    assert drawn == {(here, there, move) for here, moves in MOVES.items() for move, there in moves.items()}


def test_the_statuses_of_records_are_drawn_as_they_move() -> None:
    drawn = set(re.findall(r"^    ([A-Z_]+) --> ([A-Z_]+)$", (ROOT / "docs" / "states.md").read_text(), re.MULTILINE))
    assert drawn == {(before.name, after.name) for before, moves in record.MOVES.items() for after in moves}


def test_every_option_of_a_job_type_is_in_the_guide() -> None:
    listed = re.findall(r"^\| `(\w+)` \| ", (ROOT / "docs" / "guides" / "handlers.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted({*Options.__struct_fields__, *OF_THE_CALLER})


def test_every_public_error_is_in_the_reference() -> None:
    public = {name for name in worksong.__all__ if is_error(getattr(worksong, name))}
    listed = set(re.findall(r"^\| `(\w+)` \| ", (ROOT / "docs" / "reference" / "errors.md").read_text(), re.MULTILINE))
    assert listed - set(dir(builtins)) == public


def is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, worksong.WorksongError)


def test_every_public_name_is_in_the_reference() -> None:
    written = set(re.findall(r"^::: worksong\.(\w+)$", (ROOT / "docs/reference/api.md").read_text(), re.MULTILINE))
    errors = {name for name in worksong.__all__ if is_error(getattr(worksong, name))}
    assert written | errors >= set(worksong.__all__)


def test_every_name_for_tests_is_in_the_reference() -> None:
    reference = (ROOT / "docs/reference/api.md").read_text()
    assert set(re.findall(r"^::: worksong\.testing\.(\w+)$", reference, re.MULTILINE)) == set(testing.__all__)


def test_what_the_pages_do_with_a_worker_is_in_the_reference() -> None:
    section = (ROOT / "docs/reference/api.md").read_text().partition("::: worksong.Worker\n")[2].partition("##")[0]
    listed = set(re.findall(r"^        - (\w+)$", section, re.MULTILINE))
    for page in PAGES:
        used = set(re.findall(r"\bworker\.(\w+)", page.read_text())) & set(dir(worksong.Worker))
        assert used <= listed, page
    assert listed <= set(dir(worksong.Worker))


def test_every_module_that_how_it_works_names_is_there() -> None:
    page = (ROOT / "docs" / "how-it-works.md").read_text()
    named = [name for group in re.findall(r"\[(`[a-z_.`, ]+`)\]", page) for name in re.findall(r"`([a-z_.]+)`", group)]
    assert len(named) > 20
    for name in named:
        place = ROOT / "src" / "worksong" / name.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").exists(), name


def test_every_command_is_in_the_reference_and_every_command_shown_exists() -> None:
    from worksong.faces.cli.commands import SECTIONS

    commands = {entry.name for entries in SECTIONS.values() for entry in entries}
    reference = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert commands <= set(re.findall(r"worksong ([\w-]+)", reference))
    for page in PAGES:
        assert set(re.findall(r"^worksong ([\w-]+)", page.read_text(), re.MULTILINE)) <= commands, page
