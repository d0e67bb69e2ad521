"""Who called: what the request's own token says, on every request anew."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from starlette.authentication import UnauthenticatedUser
from starlette.requests import Request

from mcp_workflows.mcp_server.caller import caller_of
from mcp_workflows.runtime.runs import LOCAL


def request_of(user: object | None) -> Request:
    scope: dict[str, Any] = {"type": "http", "headers": []}
    return Request(scope if user is None else {**scope, "user": user})


def context(request: Request | None) -> ServerRequestContext[Any, Any]:
    session = cast("Any", SimpleNamespace(report_progress=None))
    return ServerRequestContext(
        session=session, lifespan_context={}, protocol_version="2026-07-28", method="tools/call", request=request
    )


def user(**fields: Any) -> AuthenticatedUser:
    return AuthenticatedUser(AccessToken(token="t", scopes=[], **fields))


def test_without_authentication_and_on_stdio_the_caller_is_local() -> None:
    assert caller_of(context(None)).actor == LOCAL
    assert caller_of(context(request_of(None))).actor == LOCAL


def test_a_token_names_the_caller_by_its_subject_or_else_by_its_client() -> None:
    assert caller_of(context(request_of(user(client_id="app", subject="anna")))).actor == "anna"
    assert caller_of(context(request_of(user(client_id="app")))).actor == "app"


def test_a_request_that_did_not_authenticate_is_never_taken_for_a_local_one() -> None:
    with pytest.raises(AssertionError):
        caller_of(context(request_of(UnauthenticatedUser())))
