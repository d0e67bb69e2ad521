"""Pages from templates, with the headers that keep them what they are: no script, no frame, no copy, no trace elsewhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: then a browser would not say where a form comes from either.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_OVERRIDES: Final = re.compile("[\u202d\u202e]")
_STYLE: Final = files("mcp_workflows.web").joinpath("templates/style.css").read_text("utf-8")


class Renderer:
    """The templates of this package, with everything escaped."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("mcp_workflows.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, auto_reload=False, finalize=_as_it_is_read,
        )  # fmt: skip
        self._environment.filters["day_and_time"] = day_and_time

    def __call__(self, template: str, status: int = 200, **values: Any) -> Response:
        text = self._environment.get_template(template).render(**values)
        return HTMLResponse(text, status, HEADERS)


def _as_it_is_read(value: Any) -> Any:
    """Without what turns the text after it around: what is asked is to be read as it is, whoever wrote it."""
    return _OVERRIDES.sub("�", value) if type(value) is str else value


async def style(_request: Request) -> Response:
    return Response(_STYLE, media_type="text/css", headers={**HEADERS, "Cache-Control": "max-age=3600"})


def day_and_time(when: datetime) -> str:
    """``25 November 2026, 13:00 UTC``"""
    there = when.astimezone(UTC)
    return f"{there.day} {there:%B %Y, %H:%M} UTC"
