"""One attempt of an ``mcp_tool`` step: find the session, call the tool, judge what came.

*Definite* is what was never sent, what the server refused (a JSON-RPC error that says so, a 4xx) and what the tool itself
says has failed. *In doubt* is everything else that ends a call: a lost connection, a timeout, an error inside the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from mcp import Client as McpClient
from mcp import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    UNSUPPORTED_PROTOCOL_VERSION,
    CallToolResult,
    Tool,
)
from pydantic import ValidationError

from mcp_workflows.clock import Clock
from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Json, McpToolWork
from mcp_workflows.engine.outcome import Completed, Failed, Outcome
from mcp_workflows.steps.attempt import Attempt, cut
from mcp_workflows.steps.client import Client
from mcp_workflows.steps.correction import corrected
from mcp_workflows.steps.gate import Gate
from mcp_workflows.steps.guard import Guard
from mcp_workflows.steps.mcp_tool.content import output_of, text_of, tools_of
from mcp_workflows.steps.mcp_tool.discreet import hush_the_sdk
from mcp_workflows.steps.mcp_tool.failure import SESSION_GONE, Failure
from mcp_workflows.steps.mcp_tool.servers import McpServer, is_url, unknown_server
from mcp_workflows.steps.mcp_tool.sessions import NotOpened, Session, Sessions
from mcp_workflows.steps.mcp_tool.streams import over_http, over_stdio
from mcp_workflows.steps.mcp_tool.wire import Wire
from mcp_workflows.steps.recordable import NotJson, TooLarge, recordable
from mcp_workflows.steps.redact import redactor_of
from mcp_workflows.steps.request import RequestInvalid, service_headers, url_of
from mcp_workflows.steps.turn import in_turn

IDEMPOTENCY_KEY = "io.github.mcp-workflows/idempotency-key"
"""Where a call's ``_meta`` holds the attempt's key."""
_REFUSALS = frozenset(
    {INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, HEADER_MISMATCH, UNSUPPORTED_PROTOCOL_VERSION}
)
"""JSON-RPC errors by which a server says that it did not do it."""
_PAGES = 1000


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom to ask. ``key`` tells sessions apart: another credential is another session."""

    name: str
    key: tuple[Any, ...]
    server: McpServer | None = None
    url: str | None = None
    headers: Mapping[str, str] | None = None


class McpTool:
    """The doer of ``McpToolWork``."""

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        *,
        allowed_hosts: tuple[str, ...],
        max_bytes: int,
        max_per_host: int,
        clock: Clock,
    ) -> None:
        hush_the_sdk()
        self._servers = servers
        self._guard = Guard(allowed_hosts)
        self._client = Client(self._guard)
        self._gate = Gate(max_per_host)
        self._sessions = Sessions()
        self._max_bytes = max_bytes
        self._clock = clock

    async def attempt(self, attempt: Attempt) -> Outcome:
        work = attempt.call.work
        assert isinstance(work, McpToolWork)
        attempt.in_doubt = False
        attempt.label = f'the tool "{work.tool}"' if work.tool is not None else "the list of tools"
        try:
            target = self._target(work, attempt)
            arguments: Json = work.arguments.render(attempt.values) if work.arguments is not None else {}
            if work.tool is not None:
                arguments = corrected(work, attempt.call.correction, arguments)
        except ExpressionFailed as failure:
            return _not_rendered(attempt, failure)
        except (RequestInvalid, UnknownServer) as invalid:
            code = "settings" if isinstance(invalid, UnknownServer) else "invalid_request"
            return attempt.failed(code, f"{attempt.label} was not called: {invalid}")
        attempt.label = f"{attempt.label} of {target.name}"
        if work.tool is not None:  # of the list of tools there is nothing to correct
            attempt.request = {"service": work.service, "tool": work.tool, "arguments": arguments}
        if not isinstance(arguments, dict):
            return attempt.failed("invalid_request", f"{attempt.label} was not called: arguments: expected a mapping")
        async with in_turn(self._gate, target.name, attempt):
            outcome = await self._in_session(attempt, target, cast("dict[str, Any]", arguments))
            if outcome is None:  # the server has forgotten the session, and so has refused the call
                outcome = await self._in_session(attempt, target, cast("dict[str, Any]", arguments))
        if outcome is None:
            why = "the server forgets every session at once"
            return attempt.failed("connect", f"{attempt.label}: {why}", in_doubt=False, retryable=True)
        return outcome

    def _target(self, work: McpToolWork, attempt: Attempt) -> _Target:
        """Raises ``ExpressionFailed``, ``RequestInvalid`` and ``UnknownServer``."""
        named = work.server.render(attempt.values)
        if not isinstance(named, str):
            raise RequestInvalid("the service's mcp gives no text")
        headers = service_headers(work.headers, work.auth, attempt.values)
        if is_url(named):
            return self._by_url(named, named, headers, None)
        server = self._servers.get(named)
        if server is None:
            raise UnknownServer(unknown_server(named, self._servers))
        if server.confidential:
            # The server may quote them; what its configuration holds is as secret as what the definition does.
            attempt.redactor = redactor_of({**attempt.secrets, **server.confidential})
        if server.url is not None:
            return self._by_url(named, server.url, _merged(server.headers, headers), server)
        return _Target(named, ("command", named), server)

    def _by_url(self, name: str, url: str, headers: Mapping[str, str], server: McpServer | None) -> _Target:
        parsed = url_of(url)
        shown = name if server is not None else parsed.host_port_subcomponent or name
        return _Target(shown, ("url", str(parsed), tuple(sorted(headers.items()))), server, str(parsed), headers)

    def _session(self, target: _Target, connect_timeout: float) -> Session:
        if target.url is None:
            assert target.server is not None
            return Session(target.name, partial(over_stdio, target.server), None)
        wire = Wire(self._client, self._guard, self._clock, connect_timeout=connect_timeout, limit=self._max_bytes)
        # As JSON text a value may be twice as long as it is in a record, and six times with escapes: that much is read.
        streams = partial(over_http, target.url, dict(target.headers or {}), wire, 2 * self._max_bytes + 65536)
        return Session(target.name, streams, wire)

    async def _in_session(self, attempt: Attempt, target: _Target, arguments: dict[str, Any]) -> Outcome | None:
        """``None``: the server does not know the session any more."""
        work = cast("McpToolWork", attempt.call.work)
        session = self._sessions.take(target.key, partial(self._session, target, work.connect_timeout))
        session.users += 1
        try:
            client = await session.opened()
            attempt.in_doubt = work.tool is not None
            if work.tool is None:
                return self._kept(attempt, tools_of(await _all_tools(client)))
            meta: Any = {IDEMPOTENCY_KEY: attempt.call.idempotency_key}
            result = await client.call_tool(work.tool, arguments, meta=meta)
            return self._judged(attempt, result)
        except NotOpened as failed:
            return _failed(attempt, failed.failure)
        except MCPError as error:
            failure = session.wire.failure_of(error.data) if session.wire is not None else None
            if failure is not None and failure.code == SESSION_GONE:
                session.end()
                return None
            return _failed(attempt, failure) if failure is not None else _refused(attempt, session, error)
        except (ValidationError, RuntimeError) as error:
            what = "what it answered is nothing that a tool may answer"
            return attempt.failed("answer_unreadable", f"{attempt.label}: {what} ({cut(str(error), 200)})")
        finally:
            session.users -= 1
            session.used()

    def _judged(self, attempt: Attempt, result: CallToolResult) -> Outcome:
        if result.is_error:
            details = {"structured": result.structured_content} if result.structured_content is not None else None
            message = f"{attempt.label} says: {text_of(result) or 'it failed'}"
            return attempt.failed("tool_error", message, in_doubt=False, details=self._small(details))
        return self._kept(attempt, output_of(result))

    def _kept(self, attempt: Attempt, value: Json) -> Outcome:
        try:
            kept = recordable(value, self._max_bytes)
        except NotJson as unusable:
            return attempt.failed("answer_unreadable", f"{attempt.label}: what it gave {unusable}")
        except TooLarge as large:
            return attempt.failed("answer_too_large", f"{attempt.label}: what it gave {large}")
        return Completed(attempt.redactor.json(kept) if attempt.redactor else kept)

    def _small(self, details: Json) -> Json:
        try:
            return recordable(details, min(self._max_bytes, 64 << 10))
        except (NotJson, TooLarge):
            return None

    async def close(self) -> None:
        await self._sessions.close()
        await self._client.close()


class UnknownServer(Exception):
    """No server of that name is in the settings."""


async def _all_tools(client: McpClient) -> list[Tool]:
    tools: list[Tool] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools


def _merged(known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The definition's headers over the server's own, whatever their case."""
    lower = {name.lower() for name in given}
    return {**{name: value for name, value in known.items() if name.lower() not in lower}, **given}


def _failed(attempt: Attempt, failure: Failure) -> Failed:
    return attempt.failed(
        failure.code,
        f"{attempt.label}: {failure.message}",
        in_doubt=failure.in_doubt and attempt.in_doubt,
        retryable=failure.retryable,
        status=failure.status,
        retry_after=failure.retry_after,
    )


def _refused(attempt: Attempt, session: Session, error: MCPError) -> Failed:
    if error.code == CONNECTION_CLOSED and "SSE stream failed" in error.message:
        why = "what it answered is too large, or no stream of events"
        return attempt.failed("answer_unreadable", f"{attempt.label}: {why} ({error.message})")
    if error.code == CONNECTION_CLOSED:
        if session.wire is None:
            session.end()
        return attempt.failed(
            "reset", f"{attempt.label}: the connection was lost before an answer came", retryable=True
        )
    message = f"{attempt.label} was refused with error {error.code}: {error.message}"
    if error.code in _REFUSALS:
        return attempt.failed("mcp_error", message, in_doubt=False, details={"code": error.code})
    message = f"{attempt.label} was answered by error {error.code}: {error.message}"
    return attempt.failed("mcp_error", message, details={"code": error.code})


def _not_rendered(attempt: Attempt, failure: ExpressionFailed) -> Failed:
    lacking = [name for name in attempt.missing if f"secrets.{name}" in failure.source]
    if lacking:
        setting = f"the secret {lacking[0]} has no value here; set MCP_WORKFLOWS_SECRET_{lacking[0]}"
        return attempt.failed("settings", f"{attempt.label} was not called: {setting}")
    return attempt.failed("expression", f"{attempt.label} was not called: {failure}")
