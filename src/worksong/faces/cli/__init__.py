"""The command `worksong`; nothing of a command is imported before it is used."""

from __future__ import annotations

import io
import sys

from worksong.faces.cli.commands import Commands

worksong = Commands(name="worksong")


def main() -> None:
    """Run the command that was typed; ends the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    worksong.main(prog_name="worksong")
