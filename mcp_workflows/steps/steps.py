"""Does the work of a step: one attempt in, one outcome out.

Kinds of work are registered by type, so that a new kind is one module more. Whatever a kind does wrong ends here as a
failure of that attempt, and nowhere else: an attempt never takes its run, or the loop around it, down.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

from mcp_workflows.clock import Clock, utc_now
from mcp_workflows.definition.expressions import ExpressionFailed, Template
from mcp_workflows.definition.program import Definition, HttpWork, JqWork, McpToolWork, PythonWork, Step
from mcp_workflows.definition.walk import undoing_steps, walk
from mcp_workflows.engine.outcome import Failed, Outcome, StepCall
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.steps.attempt import Attempt, Doer, Values
from mcp_workflows.steps.deadline import Deadline, Deadlines
from mcp_workflows.steps.environment import Environment
from mcp_workflows.steps.http import Http
from mcp_workflows.steps.jq.doer import Jq
from mcp_workflows.steps.mcp_tool.doer import McpTool
from mcp_workflows.steps.mcp_tool.servers import is_url, unknown_server
from mcp_workflows.steps.python.doer import Python
from mcp_workflows.steps.python.registry import unknown_function
from mcp_workflows.steps.redact import redactor_of

_log = logging.getLogger(__name__)


class Steps:
    """One per process; used from one event loop, in which its connections are opened at first use."""

    def __init__(self, environment: Environment, *, clock: Clock = utc_now) -> None:
        self._environment = environment
        self._deadlines = Deadlines()
        self._lacking: dict[str, tuple[str, ...]] = {}
        self._waiting: dict[str, str | None] = {}
        self._doers: dict[type, Doer] = {
            HttpWork: Http(environment, clock),
            PythonWork: Python(
                environment.functions, threads=environment.max_function_threads, max_bytes=environment.max_answer_bytes
            ),
            JqWork: Jq(max_bytes=environment.max_answer_bytes),
            McpToolWork: McpTool(
                environment.mcp_servers,
                allowed_hosts=environment.http_allowed_hosts,
                max_bytes=environment.max_answer_bytes,
                max_per_host=environment.max_per_host,
                clock=clock,
            ),
        }

    def lacks(self, definition: Definition) -> tuple[str, ...]:
        """What the definition's steps need and this node does not have, one sentence each."""
        lacking = self._lacking.get(definition.digest)
        if lacking is None:
            lacking = self._lacking[definition.digest] = tuple(dict.fromkeys(self._missing(definition)))
        return lacking

    def _missing(self, definition: Definition) -> Iterator[str]:
        for step in walk(definition):
            match step.work:
                case PythonWork(call=name) if name not in self._environment.functions:
                    yield unknown_function(name, self._environment.functions)
                case McpToolWork(server=server):
                    name = self._settled(server, definition)
                    if name is not None and not is_url(name) and name not in self._environment.mcp_servers:
                        yield unknown_server(name, self._environment.mcp_servers)
                case _:
                    pass

    def lacks_address(self, definition: Definition) -> str | None:
        """What in the definition waits for a call, where nobody can call this process; ``None``: nothing does, or it can be."""
        if self._environment.callback_base is not None:
            return None
        if definition.digest not in self._waiting:
            waiting = map(_unreachable, filter(_waits_for_call, walk(definition)))
            self._waiting[definition.digest] = next(waiting, None)
        return self._waiting[definition.digest]

    def lacks_address_to_undo(self, definition: Definition) -> bool:
        """Whether what undoes it waits for a call, where nobody can call this process."""
        return self._environment.callback_base is None and any(map(_waits_for_call, undoing_steps(definition)))

    def _settled(self, server: Template, definition: Definition) -> str | None:
        """The server of a service, if that does not depend on the run."""
        if not server.names <= {"vars"}:
            return None
        try:
            name = server.render({"vars": self._environment.vars_over(definition.vars)})
        except ExpressionFailed:
            return None  # the attempt will say it, with its place
        return name if isinstance(name, str) else None

    async def attempt(self, call: StepCall) -> Outcome:
        """Makes the attempt within ``call.timeout`` seconds. Raises nothing but ``CancelledError``."""
        attempt = Attempt(call, call.values)
        try:
            doer = self._doers[type(call.work)]
            self._equip(attempt)
            with Deadline(self._deadlines, call.timeout) as deadline:
                attempt.deadline = deadline
                return await doer.attempt(attempt)
        except SettingsInvalid as invalid:
            return attempt.failed("settings", str(invalid), in_doubt=call.parked is not None)
        except TimeoutError:
            if attempt.deadline is not None and attempt.deadline.expired:
                return _timed_out(attempt)
            return _internal(attempt)
        except Exception:  # noqa: BLE001  # the one place around a step's work
            return _internal(attempt)

    def _equip(self, attempt: Attempt) -> None:
        call = attempt.call
        if not call.secrets:
            return  # no expression names one: that is checked when a definition is loaded
        attempt.secrets = secrets = self._environment.secrets_of(call.secrets)
        attempt.values = Values(call.values, {"secrets": secrets})
        attempt.redactor = redactor_of(secrets)
        if len(secrets) < len(call.secrets):
            attempt.missing = tuple(name for name in call.secrets if name not in secrets)

    async def close(self) -> None:
        """Closes what is open; attempts in flight break."""
        for doer in self._doers.values():
            await doer.close()
        self._deadlines.close()


def _waits_for_call(step: Step) -> bool:
    return isinstance(step.work, HttpWork) and step.work.callback is not None


def _unreachable(step: Step) -> str:
    what = f"its step {step.name}" if step.name else "what undoes one of its steps"
    return (
        f"{what} waits for a call, and nobody can call this server: serve the same database with --http too, or "
        "set MCP_WORKFLOWS_PUBLIC_URL"
    )


def _timed_out(attempt: Attempt) -> Failed:
    effect = "and may have taken effect all the same" if attempt.in_doubt else "and had no effect"
    message = f"{attempt.label} took longer than {attempt.call.timeout:g} s, {effect}"
    return attempt.failed("timeout", message, retryable=True)


def _internal(attempt: Attempt) -> Failed:
    call = attempt.call
    _log.error(
        "Attempt %d of %s in run %s failed inside:\n%s",
        call.attempt,
        call.path,
        call.run_id,
        attempt.redactor.text(traceback.format_exc()),
    )
    return attempt.failed("internal", f"{attempt.label} failed inside the server; its log says more")
