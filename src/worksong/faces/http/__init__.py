"""The job service over HTTP: Valet's routes, and what is offered beside them."""

from __future__ import annotations

from worksong.faces.http.face import HttpFace
from worksong.faces.http.limits import Limits

__all__ = ["HttpFace", "Limits"]
