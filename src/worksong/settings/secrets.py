"""Secrets that are not in a configuration: variables of the environment, or files of a container."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from worksong.domain.errors import ConfigError

SECRETS = Path("/run/secrets")
LARGEST = 64 << 10


class Secrets:
    """By name: `REDIS_URL` is the variable, or else the first line of the file `redis_url`."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self._environ, self._directory = environ, directory

    def find(self, name: str) -> str:
        """The secret; empty when there is none."""
        return self._environ.get(name) or self._in_file(self._directory / name.lower())

    def _in_file(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                return file.read(LARGEST).decode().partition("\n")[0].strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as failure:
            raise ConfigError(f"the secret in {path} cannot be read: {type(failure).__name__}") from None
