"""The overview, and how failures are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from faces.stage import Cli
from worksong.faces.cli import worksong as commands
from worksong.faces.cli.commands import SECTIONS, Entry

ENTRIES = [entry for section in SECTIONS.values() for entry in section]


def test_the_overview_names_every_command(bare: Cli) -> None:
    result = bare("--help")
    assert result.exit_code == 0
    width = max(len(entry.name) for entry in ENTRIES)
    for entry in ENTRIES:
        assert f"  {entry.name:<{width}}  {entry.summary}" in result.output


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_overview_says_what_the_command_says(entry: Entry, bare: Cli) -> None:
    command = commands.get_command(click.Context(commands), entry.name)
    assert command is not None
    assert command.name == entry.name
    assert (command.help or "").splitlines()[0] == entry.summary
    assert bare(entry.name, "--help").exit_code == 0


def test_the_overview_imports_no_command_and_nothing_it_does_not_show() -> None:
    script = (
        "import sys, worksong.faces.cli as c\ntry: c.worksong.main(['--help'])\nfinally: print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "worksong.faces.cli.commands" in loaded
    assert not loaded & {"rich", "redis", "watchfiles", "worksong.faces.cli.run", "worksong.faces.cli.screen"}


def test_python_m_worksong_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "worksong", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "worksong")


def test_a_misspelt_command_is_a_usage_error_with_the_one_meant(bare: Cli) -> None:
    result = bare("statsu")
    assert result.exit_code == 2
    assert "did you mean 'status'?" in result.stderr


def test_an_unknown_option_is_a_usage_error(bare: Cli) -> None:
    assert bare("status", "--nope").exit_code == 2


@pytest.mark.parametrize("command", ["status", "queues", "pools", "busy", "scheduled", "retries", "dead"])
def test_without_a_url_a_command_asks_a_file_beside_it_and_says_so(
    bare: Cli, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bare(command)
    assert result.exit_code == 0
    assert "this is sqlite:///worksong.db, since neither --url nor WORKSONG_URL" in result.stderr


def test_what_is_enqueued_without_a_url_is_found_without_one(
    bare: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bare("enqueue", "send_email", "--args", '{"user_id": 7}').exit_code == 0
    found = bare("queues", "--json")
    assert '"count": 1' in found.stdout
    assert found.stderr == ""
    assert (tmp_path / "worksong.db").exists()


def test_an_error_is_one_line_without_a_traceback(bare: Cli) -> None:
    result = bare("status", "--url", "redis://user:hunter2@127.0.0.1:1/0")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("worksong: error: ")
    assert "Traceback" not in result.output
    assert "hunter2" not in result.output


@pytest.mark.parametrize("args", [("--debug", "status"), ("status", "--debug")])
def test_with_debug_the_error_itself_comes_through(bare: Cli, args: tuple[str, ...]) -> None:
    result = bare(*args, "--url", "nothing://here")
    assert type(result.exception).__name__ == "ConfigError"


def test_an_unexpected_error_is_told_in_one_line_too(bare: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a\nb \x1b[31m redis://u:hunter2@host/")

    monkeypatch.setattr("worksong.faces.cli.target.connect", broken)
    result = bare("status", "--url", "memory://")
    assert result.exit_code == 1
    assert "ZeroDivisionError: a b \\x1b[31m redis://***@host/ (--debug shows where)" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_memory_is_shown_with_a_note_that_it_is_empty(bare: Cli) -> None:
    result = bare("status", "--url", "memory://")
    assert result.exit_code == 0
    assert "lives inside one process" in result.stderr
