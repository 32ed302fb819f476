"""What a console is told that has the job service under the same roof."""

from __future__ import annotations

from starlette.types import Scope

SERVICE = "worksong.service"


def with_service(scope: Scope) -> Scope:
    """The request for the console: the service is where it was sent to."""
    return {**scope, SERVICE: str(scope.get("root_path", ""))}


def service_at(scope: Scope) -> str | None:
    """The path under which the service answers; None: there is none."""
    return scope.get(SERVICE)
