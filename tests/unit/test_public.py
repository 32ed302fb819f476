"""What `import worksong` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import worksong

PUBLIC = {
    "BackendRefused",
    "BackendFull",
    "BackendUnavailable",
    "ConfigError",
    "Context",
    "CronError",
    "Discard",
    "EnqueueOutcomeUnknown",
    "Handle",
    "InvalidArguments",
    "Job",
    "JobFailed",
    "JobType",
    "NotStarted",
    "PayloadTooLarge",
    "Pipeline",
    "PipelineHandle",
    "RegistrationError",
    "ResultLost",
    "ResultTimeout",
    "Retry",
    "Snooze",
    "Stopped",
    "UnknownHandler",
    "Unsupported",
    "Worker",
    "WorksongError",
    "current",
}
EXTRAS = {
    *("redis", "hiredis", "click", "rich", "uvloop", "watchfiles", "setproctitle", "yaml", "pytest", "hypothesis"),
    *("starlette", "uvicorn", "jinja2", "fastapi", "django", "flask"),
}
"""What is imported where it is needed, if at all."""
ALLOWED = {"worksong", "msgspec", "typing_extensions"}
"""Everything beside the standard library that `import worksong` may load; the last one msgspec does, where it is."""
APART = {
    "worksong.faces",
    "worksong.service",
    "worksong.testing",
    "worksong.adapters.redis",
    "worksong.adapters.gocraft",
}
"""Packages of our own that a worker in memory does without."""


def test_the_public_names_are_these() -> None:
    assert set(worksong.__all__) == PUBLIC
    assert sorted(worksong.__all__) == worksong.__all__


@pytest.mark.parametrize("name", worksong.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(worksong, name).__doc__


def test_every_public_error_is_a_worksong_error() -> None:
    found = [value for name in PUBLIC if isinstance(value := getattr(worksong, name), type)]
    errors = [kind for kind in found if issubclass(kind, Exception) and kind.__module__.endswith("errors")]
    assert len(errors) >= 14
    assert all(issubclass(kind, worksong.WorksongError) for kind in errors)


def loaded_by(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded when the program has run."""
    tell = "import sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", f"{program}\n{tell}"], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    "program",
    ["import worksong", "import worksong; worker = worksong.Worker(); worker.start(); worker.stop()"],
    ids=["import", "run"],
)
def test_a_worker_in_memory_loads_the_standard_library_and_msgspec_only(program: str) -> None:
    # Given what a bare interpreter loads here, start-up hooks of the environment included
    bare = loaded_by("pass")

    # When worksong is used
    loaded = loaded_by(program) - bare

    # Then no extra came along, nothing unknown, and nothing of our own that it does without
    tops = {name.partition(".")[0] for name in loaded}
    assert tops & EXTRAS == set()
    assert {name for name in tops if name not in sys.stdlib_module_names and not name.startswith("_")} <= ALLOWED
    assert loaded & APART == set()
