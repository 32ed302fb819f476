"""A real MySQL server, which Debian's stable releases do not have: unpacked from a later one, and not installed.

As a program (`python tests/mysqld.py DIRECTORY`) it fetches one into that directory, once, and says how to start it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import servers

RELEASE = "sid"
"""The release of Debian that has it."""
PACKAGE = "mysql-server-core"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""Whose signatures are trusted."""


def fetch(place: Path) -> Path:
    """The program in this directory, a script; unpacked there if it is not yet, or `Missing`."""
    program = place / "mysqld"
    if not program.exists():
        if not KEYRING.exists() or not shutil.which("apt-get"):
            raise servers.Missing("mysqld", "only Debian's tools can fetch it; name one of your own in WORKSONG_MYSQL")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for package in _packages(place, _mirror()):
            _run("dpkg-deb", "--extract", str(package), str(place / "root"))
        program.write_text(_script(place / "root"))
        program.chmod(0o755)
    return program


def _mirror() -> str:
    """The one that this machine's packages come from."""
    told = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL) $(CREATED_BY)")
    found = [line.split()[0] for line in told.splitlines() if line.split()[1:] == ["Debian", "Packages"]]
    if not found:
        raise servers.Missing("mysqld", "apt knows no mirror of Debian: run apt-get update first")
    return found[0]


def _packages(place: Path, mirror: str) -> list[Path]:
    """It and all that it needs, the C library included, fetched by an apt that knows nothing of what is installed."""
    apt, archives = place / "apt", place / "apt" / "archives"
    for directory in ("lists/partial", "archives/partial"):
        (apt / directory).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {RELEASE} main\n")
    settings = {
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",
    }
    options = [f"-o{name}={value}" for name, value in settings.items()]
    _run("apt-get", *options, "update")
    _run("apt-get", *options, "install", "--yes", "--download-only", "--no-install-recommends", PACKAGE)
    return sorted(archives.glob("*.deb"))


def _script(root: Path) -> str:
    """Starts it with the libraries and the loader that it was built for, which may be newer than this machine's."""
    loader = next(root.glob("usr/lib/*/ld-linux*.so.*")).relative_to(root)
    # Its own defaults name the places of a package that is installed.
    places = {"basedir": "usr", "lc-messages-dir": "usr/share/mysql", "character-sets-dir": "usr/share/mysql/charsets"}
    named = " ".join(f'--{name}="$root/{place}"' for name, place in places.items())
    return (
        '#!/bin/sh\nroot=$(cd "$(dirname "$0")" && pwd)/root\nfirst=$1; shift  # --no-defaults must come first\n'
        f'exec "$root/{loader}" --library-path "$root/{loader.parent}" "$root/usr/sbin/mysqld" "$first" {named} "$@"\n'
    )


def _run(*command: str) -> str:
    """What it said; `Missing` with its last words when it failed."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word of why"]
        raise servers.Missing("mysqld", f"{command[0]} failed: {said[-1]}")
    return done.stdout


if __name__ == "__main__":
    try:
        print(fetch(Path(sys.argv[1]).resolve()))
    except servers.Missing as missing:
        raise SystemExit(f"no {missing}") from None
