"""Authentication of ``/mcp``: bearer tokens in the ``Authorization`` header, as an OAuth 2.1 resource server takes them.

Who has no valid token gets 401, who has one that allows nothing here 403, each with the address of the metadata (RFC 9728)
that says where tokens come from. Where it cannot be found out whom a token names the answer is 503, and nobody is let in.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from pydantic import AnyHttpUrl
from starlette.authentication import AuthenticationError
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mcp_workflows.access.principal import READ, SCOPES
from mcp_workflows.access.verifying import Verifier
from mcp_workflows.errors import IdentityUnknown
from mcp_workflows.mcp_server.transport.lasting import WhileValid

_AGAIN_AFTER = "5"
_LONGEST_TOKEN = 16 * 1024


@dataclass(frozen=True, slots=True)
class Authentication:
    """Whose tokens are taken. ``resource`` is the URL of ``/mcp`` as clients know it, which tokens are issued for."""

    verifier: Verifier
    resource: str
    issuer: str | None = None
    """The authorization server that clients may ask for tokens; ``None``: people hand them out."""

    def guard(self, app: ASGIApp, *, most: int) -> ASGIApp:
        """``app``, for those who may, as long as they may. ``most``: requests of one actor at the same time."""
        metadata = build_resource_metadata_url(AnyHttpUrl(self.resource)) if self.issuer else None
        challenge = 'Bearer error="invalid_token"' + (f', resource_metadata="{metadata}"' if metadata else "")
        lasting = WhileValid(AuthContextMiddleware(app), self.verifier, most=most, challenge=challenge)
        required = RequireAuthMiddleware(lasting, [READ], metadata)
        return AuthenticationMiddleware(required, BearerAuthBackend(_Tokens(self.verifier)), on_error=_unknown)

    def routes(self) -> list[Route]:
        """The metadata, where there is an authorization server to tell of."""
        if self.issuer is None:
            return []
        return create_protected_resource_routes(
            AnyHttpUrl(self.resource), [AnyHttpUrl(self.issuer)], list(SCOPES), "Durable workflows"
        )


class _Tokens:
    """What the SDK asks."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def verify_token(self, token: str) -> AccessToken | None:
        if not token or len(token) > _LONGEST_TOKEN or not token.isascii():
            return None
        try:
            principal = await self._verifier.principal(token)
        except IdentityUnknown as unknown:
            raise AuthenticationError(str(unknown)) from None
        if principal is None:
            return None
        expires_at = None if principal.expires_at is None else int(principal.expires_at.timestamp())
        # Without the token itself: nothing behind this needs it, and what is not there cannot get into a log.
        return AccessToken(
            token="", client_id=principal.actor, subject=principal.actor, scopes=sorted(principal.scopes),
            expires_at=expires_at,
        )  # fmt: skip


def _unknown(_request: HTTPConnection, error: Exception) -> Response:
    told = {"error": "temporarily_unavailable", "error_description": str(error)}
    return JSONResponse(told, status_code=503, headers={"Retry-After": _AGAIN_AFTER})
