"""The table in the README is the one that the backends declare."""

from __future__ import annotations

from pathlib import Path

from worksong.adapters import connect
from worksong.testing.contract.__main__ import USUAL
from worksong.testing.contract.table import capability_table

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_shows_what_the_backends_declare() -> None:
    table = capability_table([connect(url, namespace="any") for url in USUAL])

    shown = README.read_text().partition("<!-- capabilities -->")[2].partition("<!-- /capabilities -->")[0]

    assert shown.strip() == table.strip(), "print it anew: python -m worksong.testing.contract"
