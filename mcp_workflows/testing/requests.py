"""What an attempt would send, rendered by the same code that renders it for the wire; nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import (
    Definition,
    HttpWork,
    JqWork,
    Json,
    McpToolWork,
    PythonWork,
    WorkflowWork,
)
from mcp_workflows.engine.outcome import Failed, StepCall
from mcp_workflows.steps.attempt import Attempt, Values, cut
from mcp_workflows.steps.correction import corrected
from mcp_workflows.steps.environment import Environment
from mcp_workflows.steps.guard import AddressBlocked, Guard
from mcp_workflows.steps.redact import redactor_of
from mcp_workflows.steps.request import RequestInvalid, render

_ANYWHERE = Guard()
CALLBACK_URL = "http://127.0.0.1/callbacks/test"


def variables_of(definition: Definition, given: Mapping[str, Json]) -> Mapping[str, Json]:
    """What ``vars`` means where these are set. Raises ``SettingsInvalid`` for one that does not fit its default."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return Environment(vars=texts).vars_over(definition.vars)


def attempt_of(call: StepCall) -> Attempt:
    """The attempt as a node would equip it, with a value made up for every secret."""
    environment = Environment(secret=lambda name: f"value-of-{name}")
    secrets = environment.secrets_of(call.secrets)
    values = Values(call.values, {"secrets": secrets, "callback_url": CALLBACK_URL})
    return Attempt(call, values, secrets, redactor_of(secrets), in_doubt=False)


class NotSent(Exception):
    """The attempt fails before anything is sent."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.error.message)
        self.failed = failed


def rendered(attempt: Attempt) -> Json:
    """What the work asks for, secrets as ``[secret NAME]``. Raises ``NotSent``."""
    work = attempt.call.work
    attempt.label = work.method if isinstance(work, HttpWork) else attempt.call.path
    try:
        view = _view(attempt)
    except ExpressionFailed as failure:
        failed = attempt.failed("expression", f"{attempt.label} was not sent: {failure}")
        raise NotSent(failed) from None
    except RequestInvalid as invalid:
        failed = attempt.failed("invalid_request", f"{attempt.label} was not sent: {invalid}")
        raise NotSent(failed) from None
    except AddressBlocked as blocked:
        raise NotSent(attempt.failed("blocked_address", f"{attempt.label} was not sent: {blocked}")) from None
    return attempt.redactor.json(view)


def _view(attempt: Attempt) -> Json:
    values, correction = attempt.values, attempt.call.correction
    match attempt.call.work:
        case HttpWork() as work:
            request = render(work, attempt.call, values)
            _ANYWHERE.check_url(request.url)
            if work.allowed_hosts:
                Guard(work.allowed_hosts, named="the step's allowed_hosts").check_url(request.url)
            attempt.label = f"{work.method} {cut(request.url.raw_path, 200)}"
            attempt.request = request.shown
            headers = {name.lower(): value for name, value in request.headers.items()}
            return {**request.shown, "path": request.url.raw_path, "headers": headers}
        case PythonWork(call=call, args=args) as work:
            return {"call": call, "args": corrected(work, correction, args.render(values))}
        case McpToolWork(service=service, tool=tool, arguments=arguments) as work:
            shown: Json = arguments.render(values) if arguments is not None else {}
            return {"service": service, "tool": tool, "arguments": corrected(work, correction, shown)}
        case JqWork(filter=program, input=given) as work:
            return {"filter": program, "input": corrected(work, correction, given.render(values))}
        case WorkflowWork(name=name, input=given):
            return {"name": name, "input": given.render(values)}
        case work:
            raise AssertionError(f"{type(work).__name__} is no work that is attempted")
