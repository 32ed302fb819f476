"""`worksong top` as a process on a terminal, and where there is none."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faces.stage import Cli, Start
from patience import PATIENCE

NOWHERE = "redis://user:hunter2@127.0.0.1:1/0"
LEAVES = b"\x1b[?1049l"
"""What gives the terminal its old screen back."""
COLOURS = (b"38;2;", b"48;2;", b"38;5;", b"48;5;")


class Terminal:
    """The command on a terminal of 80 columns and 24 lines."""

    def __init__(self, *args: str, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("WORKSONG_URL", "NO_COLOR")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worksong", "top", *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm-256color", **environment},
        )
        os.close(theirs)
        self.output = b""

    def shows(self, text: bytes) -> None:
        """Wait until the text was written."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            assert self._read(), self.output

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def wait(self) -> int:
        """The exit code."""
        while self._read():
            pass
        return self._process.wait(PATIENCE)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)
        os.close(self._ours)

    def _read(self) -> bool:
        try:
            found = os.read(self._ours, 65536)
        except OSError:  # nobody has the other end open any more
            return False
        self.output += found
        return bool(found)


Open = Callable[..., Terminal]


@pytest.fixture
def terminal() -> Iterator[Open]:
    opened: list[Terminal] = []

    def begin(*args: str, **environment: str) -> Terminal:
        opened.append(Terminal(*args, **environment))
        return opened[-1]

    yield begin
    for each in opened:
        each.end()


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_without_a_server_it_says_so_goes_on_and_leaves_the_terminal_as_it_was(terminal: Open, key: bytes) -> None:
    top = terminal("--url", NOWHERE, "--interval", "0.2")
    top.shows(b"No answer for")
    top.shows(b"every 200 ms")
    top.press(key)
    assert top.wait() == 0
    assert LEAVES in top.output
    assert b"Traceback" not in top.output
    assert b"hunter2" not in top.output


def test_it_shows_what_a_server_has(terminal: Open, redis_url: str) -> None:
    top = terminal("--url", f"{redis_url}?namespace=top-terminal", "--read-only")
    top.shows(b"No queues yet")
    assert any(colour in top.output for colour in COLOURS)
    top.press(b"q")
    assert top.wait() == 0


def test_no_color_is_obeyed(terminal: Open, redis_url: str) -> None:
    top = terminal("--url", f"{redis_url}?namespace=top-terminal", NO_COLOR="1")
    top.shows(b"No queues yet")
    top.press(b"q")
    assert top.wait() == 0
    assert not [colour for colour in COLOURS if colour in top.output]


def test_without_textual_one_line_names_the_extra(terminal: Open, tmp_path: Path) -> None:
    package = tmp_path / "textual"
    package.mkdir()
    (package / "__init__.py").write_text("raise ModuleNotFoundError('no textual', name='textual')")
    top = terminal("--url", NOWHERE, PYTHONPATH=str(tmp_path))
    assert top.wait() == 1
    assert b"pip install 'worksong[top]'" in top.output
    assert len(top.output.splitlines()) == 1


def test_where_there_is_no_terminal_another_command_is_named(bare: Cli, start: Start) -> None:
    assert bare("top").exit_code == 2
    program = start("top", url=NOWHERE)
    assert program.wait() == 2
    assert "worksong status --json" in program.output


def test_the_overview_costs_no_import_of_textual() -> None:
    code = "import sys; from worksong.faces.cli import worksong; worksong(['--help'], standalone_mode=False); "
    code += "import worksong.faces.cli.top.command; assert 'textual' not in sys.modules and 'rich' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "top" in done.stdout
