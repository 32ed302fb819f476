"""Log lines of a running worker: for people, or as JSON; one record can never look like two."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType

import click

from worksong.domain.job import Job
from worksong.domain.names import one_line
from worksong.engine.current import CURRENT
from worksong.service.fields import LONGEST
from worksong.service.redaction import without_logins

COLOURS = {logging.DEBUG: "bright_black", logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class Lines(logging.Formatter):
    """`19:04:11 WARNING [2] job 41c2 failed ...`; tracebacks are indented."""

    def __init__(self, tag: str, *, colour: bool) -> None:
        super().__init__()
        self._tag = f"[{tag}] " if tag else ""
        self._colour = colour
        self._begun = lru_cache(32)(self._beginning)

    def format(self, record: logging.LogRecord) -> str:
        begun = self._begun(int(record.created), record.levelno, record.levelname, record.name)
        line = f"{begun}{shown(record.getMessage())}"
        if not record.exc_info:
            return line
        trace = "".join(f"\n    {shown(part)}" for part in self.trace(record).splitlines())
        return f"{line}{self._paint(trace, 'bright_black')}"

    def _beginning(self, second: int, level: int, called: str, name: str) -> str:
        """Many lines are of one and the same second, and of the same program."""
        moment = self._paint(time.strftime("%H:%M:%S", time.localtime(second)), "bright_black")
        source = "" if name.partition(".")[0] == "worksong" else f"{name}: "
        return f"{moment} {self._paint(f'{called:<7}', COLOURS.get(level, 'cyan'))} {self._tag}{one_line(source)}"

    def trace(self, record: logging.LogRecord) -> str:
        """The traceback that goes with the record, if any; it begins where the app's own code does."""
        if not record.exc_info:
            return ""
        kind, error, trace = record.exc_info
        return self.formatException((kind, error, _of_the_app(trace)) if kind and error else record.exc_info)

    def _paint(self, text: str, colour: str) -> str:
        return click.style(text, fg=colour) if self._colour and text else text


class JsonLines(Lines):
    """One JSON object per line; with the job that a record is about, or in whose run it was written."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_logins(record.getMessage())[:LONGEST],
            **_about(record),
            **({"process": self._tag[1:-2]} if self._tag else {}),
            **({"trace": without_logins(self.trace(record))[-LONGEST:]} if record.exc_info else {}),
        }
        return json.dumps(fields)


def _about(record: logging.LogRecord) -> dict[str, str | int]:
    named, context = getattr(record, "job", None), CURRENT.get(None)
    job = named if isinstance(named, Job) else context.job if context else None
    return {"job": job.id, "handler": job.handler, "attempt": job.attempt} if job else {}


def shown(text: str) -> str:
    """What a line may hold of a text: no logins, nothing a terminal obeys, and not without end."""
    return one_line(without_logins(text[:LONGEST]))


def _of_the_app(trace: TracebackType | None) -> TracebackType | None:
    rest = trace
    while rest and str(rest.tb_frame.f_globals.get("__name__", "")).startswith("worksong."):
        rest = rest.tb_next
    return rest or trace


def set_up(form: str | None, *, tag: str, debug: bool, scribe: logging.Handler | None = None) -> None:
    """Log to stderr, unless the app has seen to that itself and nobody asked for a `form`; and to the scribe."""
    _write(form, tag=tag, debug=debug)
    if scribe:
        logging.getLogger().addHandler(scribe)


def _write(form: str | None, *, tag: str, debug: bool) -> None:
    root = logging.getLogger()
    if root.handlers and form is None:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(tag, colour=False) if form == "json" else Lines(tag, colour=sys.stderr.isatty()))
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    if debug:
        logging.getLogger("worksong").setLevel(logging.DEBUG)
