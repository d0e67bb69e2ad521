"""``poll`` and ``callback`` of an ``http`` step, whose answer comes later."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mcp_workflows.definition.compile_services import check_url, compile_headers, url_of_path
from mcp_workflows.definition.expressions import Template
from mcp_workflows.definition.model import Callback as CallbackModel
from mcp_workflows.definition.model import Poll as PollModel
from mcp_workflows.definition.program import Callback, HttpWork, Poll
from mcp_workflows.definition.site import EMPTY, Site

HTTP_RESULT = ("status", "headers", "body")
"""What ``result`` is of a request."""
CALLBACK_RESULT = ("body", "first")
"""What ``result`` is of a call of ``callback_url``; ``first`` is the answer to the request."""


def compile_poll(model: PollModel, site: Site, base_url: str | None) -> Poll | None:
    """``site`` is the mapping under ``http``, ``base_url`` that of the step's service."""
    here = site.under("poll").within(replace(site.scope, result_parts=HTTP_RESULT))
    until = here.at("until", "result").condition("until")
    fail_when = here.at("fail_when", "result").condition("fail_when") if model.fail_when is not None else None
    if model.path is not None and not site.has("service"):
        here.refuse("http", "path stands after a service's base_url, and this step names none: give url", key="path")
    url = _url(model, here, base_url, from_input=site.has("allowed_hosts"))
    headers = tuple(compile_headers(here, "result").values())
    if until is None:
        return None  # reported
    default = Poll(url, until)
    return Poll(
        url=url,
        until=until,
        method=model.method,
        headers=headers,
        every=model.every if model.every is not None else default.every,
        timeout=model.timeout,
        fail_when=fail_when,
    )


def _url(model: PollModel, site: Site, base_url: str | None, *, from_input: bool) -> Template:
    if site.has("url") == site.has("path"):
        site.refuse("http", "poll asks at one place: give url or path", key="path" if site.has("path") else None)
    if model.url is not None:
        here = site.at("url", "result", secrets=True)
        template = here.text("url")
        check_url(here, "url", template, from_input=from_input)
        return template
    if model.path is None:
        return EMPTY
    return url_of_path(site.at("path", "result", secrets=True), model.path, base_url)


def compile_callback(model: CallbackModel | Literal[True], site: Site, work: HttpWork) -> Callback:
    """``site`` is the mapping under ``http``, ``work`` the request, which has to say where to call."""
    parts = [work.url, work.query, work.body, *(value for _, value in work.headers)]
    names = {name for part in parts if part is not None for name in part.names}
    if "callback_url" not in names:
        message = "nothing tells the service where to call: put ${callback_url} into the request"
        site.refuse("http", message, key="callback")
    return Callback(None if model is True else model.timeout)
