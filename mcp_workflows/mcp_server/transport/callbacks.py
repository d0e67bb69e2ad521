"""``POST /callbacks/{token}``: where a service says that it is done with what a ``callback`` step asked for.

The token is all that a caller has to show; it cannot be guessed or made. So pages and machines from anywhere may call, and
only the Host header is looked at, like everywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcp_workflows.errors import DefinitionInvalid, InputRefused, SystemUnwell
from mcp_workflows.mcp_server.transport.hosts import is_known
from mcp_workflows.runtime.callbacks import PATH, Callbacks
from mcp_workflows.runtime.runs import Runs

MAX_BYTES = 1 << 20
"""Of the body: as much as an input may have."""
_AGAIN_AFTER = "5"
"""Seconds after which a service may try again while the database is unwell."""


def callback_route(runs: Runs, callbacks: Callbacks, hosts: Sequence[str]) -> Route:
    """``hosts`` are the names of the Host header that are accepted, with any port or with the one given."""
    known = frozenset(host.lower() for host in hosts)

    async def called(request: Request) -> Response:
        if not is_known(request.headers.get("host", ""), known):
            return _said(421, "this is not the server of that host")
        meant = callbacks.meant(request.path_params["token"])
        if meant is None:
            return _said(404, "no such callback")
        try:
            raw = await _body(request)
        except ClientDisconnect:
            return _said(400, "the body is not whole")
        if raw is None:
            return _said(413, f"the body is larger than {MAX_BYTES} bytes")
        try:
            body = callbacks.content(raw, request.headers.get("content-type", ""))
            received = await runs.callback(meant.run_id, meant.path, meant.attempt, body)
        except InputRefused as refused:
            return _said(400, str(refused))
        except (
            DefinitionInvalid
        ):  # of a newer version of this product; a server of that version knows what is secret in it
            return _said(503, "this server cannot read the run's definition, call again", {"Retry-After": _AGAIN_AFTER})
        except SystemUnwell as unwell:
            return _said(
                503, f"nothing is known to be taken, call again: {unwell.outside}", {"Retry-After": _AGAIN_AFTER}
            )
        match received:
            case "accepted":
                return JSONResponse({"status": "accepted"}, status_code=202)
            case "duplicate":
                return JSONResponse({"status": "ignored", "reason": "an earlier call was accepted"})
            case "late":
                return _said(410, "nothing waits for this call any more")

    endpoint: Callable[[Request], Awaitable[Response]] = called
    return Route(f"{PATH}{{token}}", endpoint, methods=["POST", "PUT"])


async def _body(request: Request) -> bytes | None:
    """``None``: there is more of it than is taken."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            return None
    return b"".join(chunks)


def _said(status: int, why: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": why}, status_code=status, headers=headers)
