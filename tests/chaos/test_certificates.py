"""The table in the documentation says what was measured at full scale, and only that."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos import certificates

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"


def test_the_page_has_a_place_for_the_table() -> None:
    text = PAGE.read_text()

    assert text.count(certificates.BEGIN) == text.count(certificates.END) == 1
    assert text.index(certificates.BEGIN) < text.index(certificates.END)


def test_a_certificate_replaces_the_older_one_of_its_kind_and_no_other(tmp_path: Path) -> None:
    file, page = tmp_path / "c.json", tmp_path / "page.md"
    page.write_text(f"before\n{certificates.BEGIN}\nold\n{certificates.END}\nafter\n")

    # Given two of one kind, one after the other, and one of another backend
    certificates.merge(file, [certificates.issue("A1", "one", 1, "server 7", {"lost": 1})])
    certificates.merge(file, [certificates.issue("A1", "two", 1, "", {"lost": 3})])
    certificates.merge(file, [certificates.issue("A1", "one", 1, "server 7", {"lost": 0, "recovery_p95": 1.234})])
    certificates.main([str(file), str(page)])

    # Then the page shows the latest of each, between its markers
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "lost 0; recovery p95 1.23 s" in text
    assert "lost 3" in text
    assert "lost 1" not in text
    assert "server 7" in text


def test_what_was_measured_on_a_small_scale_is_not_shown() -> None:
    small = certificates.issue("A1", "one", 0.1, "", {"lost": 0})

    assert certificates.table([small]).startswith("Nothing was certified")


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")

    with pytest.raises(SystemExit, match="markers"):
        certificates.write_into(page, "table")
