"""How often a step's work is tried, and for how long: what the step says over what its file, its service and its kind say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcp_workflows.definition import model
from mcp_workflows.definition.compile_services import CompiledService
from mcp_workflows.definition.model.step import BLOCKS
from mcp_workflows.definition.program import Backoff, HttpWork, JqWork, McpToolWork, PythonWork, Retry, Work
from mcp_workflows.definition.site import Site

CALL_TIMEOUT = 30.0
"""Of ``http`` and ``mcp_tool``."""
PYTHON_TIMEOUT = 60.0
JQ_TIMEOUT = 10.0
MAX_JQ_TIMEOUT = 60.0
HTTP_RETRY = Retry(max_attempts=5)
NO_RETRY = Retry(max_attempts=1)
_ONCE = ("http", "python", "mcp_tool")
_COMPUTED = ("set", "return", "fail")
_NO_RETRY = {
    **dict.fromkeys(_COMPUTED, "it calls nobody, and gives the same again"),
    "wait": "it waits, and makes no attempts",
    "signal": "it waits, and makes no attempts",
    "approval": "it waits, and makes no attempts",
    "workflow": "the child's steps have their own",
    **dict.fromkeys(BLOCKS, "it is not tried again as a whole; give it to the steps inside"),
}
_NO_TIMEOUT = {
    **dict.fromkeys(_COMPUTED, "it calls nobody, and is done at once"),
    "wait": "it lasts as long as it says",
    "signal": "write signal: {timeout: …}",
    "approval": "write approval: {timeout: …}",
    "workflow": "the child's own file has one",
    **dict.fromkeys(BLOCKS, "give it to the steps inside, or to the run"),
}


def check_attempts(step: model.Step | model.Compensation, kind: str | None, site: Site) -> None:
    """Reports what says how the step at ``site`` is tried, and says nothing of its kind."""
    if kind is None:
        return
    if kind in _NO_RETRY and step.retry is not None:
        site.refuse("retry", f'"{kind}" takes no retry: {_NO_RETRY[kind]}', key="retry")
    if kind in _NO_TIMEOUT and step.timeout is not None:
        site.refuse("timeout", f'"{kind}" takes no timeout here: {_NO_TIMEOUT[kind]}', key="timeout")
    if kind not in _ONCE and isinstance(step, model.Step) and step.at_most_once:
        why = "give it to the step inside" if kind in BLOCKS else f'"{kind}" does nothing that could be done twice'
        message = f"at_most_once is for http, python and mcp_tool; {why}"
        site.refuse("at_most_once", message, key="at_most_once")


def retry_of(own: model.Retry | None, kind: str, at_most_once: bool, defaults: model.Defaults) -> Retry:
    """The file's defaults are for ``http``: whether another kind may be tried again is said where it stands."""
    retry = HTTP_RETRY if kind == "http" else NO_RETRY
    if kind == "http" and defaults.retry is not None:
        retry = _merged(retry, defaults.retry)
    if own is not None:
        retry = _merged(retry, own)
    return replace(retry, max_attempts=1) if at_most_once else retry


def _merged(retry: Retry, own: model.Retry) -> Retry:
    """``own`` over ``retry``, key by key."""
    return Retry(
        max_attempts=own.max_attempts if own.max_attempts is not None else retry.max_attempts,
        backoff=Backoff(own.backoff) if own.backoff is not None else retry.backoff,
        delay=own.delay if own.delay is not None else retry.delay,
        max_delay=own.max_delay if own.max_delay is not None else retry.max_delay,
        jitter=own.jitter if own.jitter is not None else retry.jitter,
        conditions=tuple(own.conditions) if own.conditions is not None else retry.conditions,
        give_up_after=own.give_up_after if own.give_up_after is not None else retry.give_up_after,
    )


def timeout_of(
    own: float | None, work: Work, services: Mapping[str, CompiledService], defaults: model.Defaults, site: Site
) -> float | None:
    """The step's, else the service's, else the file's, else the kind's. Kinds that do nothing that could last have none."""
    match work:
        case HttpWork(service=name) | McpToolWork(service=name):
            service = services.get(name) if name is not None else None
            return own or (service.timeout if service else None) or defaults.timeout or CALL_TIMEOUT
        case PythonWork():
            return own or defaults.timeout or PYTHON_TIMEOUT
        case JqWork():
            if own is not None and own > MAX_JQ_TIMEOUT:
                message = f"a jq program gets at most {MAX_JQ_TIMEOUT:.0f}s; what takes longer is work for python"
                site.refuse("timeout", message, key="timeout")
            return own or JQ_TIMEOUT
        case _:
            return own
