"""Authentication of ``/mcp``: bearer tokens in the ``Authorization`` header, as an OAuth 2.1 resource server takes them.

Who has no valid token gets 401, who has one that allows nothing here 403, each with what to ask for and the address of the
metadata (RFC 9728) that says where. Where it cannot be found out whom a token names the answer is 503, and nobody is let in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.routes import cors_middleware
from starlette.authentication import AuthenticationError
from starlette.datastructures import Headers
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_workflows.access.principal import READ, RUN
from mcp_workflows.access.verifying import Verifier
from mcp_workflows.errors import IdentityUnknown
from mcp_workflows.mcp_server.transport.lasting import WhileValid

_AGAIN_AFTER = "5"
_LONGEST_TOKEN = 16 * 1024
_WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_METADATA_FRESH: Final = {"Cache-Control": "public, max-age=3600"}


@dataclass(frozen=True, slots=True)
class Authentication:
    """Whose tokens are taken. ``resource`` is the URL of ``/mcp`` as clients know it, which tokens are issued for."""

    verifier: Verifier
    resource: str
    issuer: str | None = None
    """The authorization server that clients may ask for tokens, as it calls itself; ``None``: people hand them out."""

    def guard(self, app: ASGIApp, *, most: int) -> ASGIApp:
        """``app``, for those who may, as long as they may. ``most``: requests of one actor at the same time."""
        lasting = WhileValid(
            AuthContextMiddleware(app),
            self.verifier,
            most=most,
            over=self.refusal(401, "This token is not valid any more."),
        )
        return AuthenticationMiddleware(
            _Required(lasting, self), BearerAuthBackend(_Tokens(self.verifier)), on_error=_unknown
        )

    def refusal(self, status: int, description: str, error: str | None = "invalid_token") -> Response:
        """With a challenge. ``error``: ``None`` where nothing was shown that could be wrong (RFC 6750, 3.1)."""
        told = {"error": error, "error_description": description, "scope": RUN, "resource_metadata": self._metadata_url}
        challenge = ", ".join(f'{name}="{value}"' for name, value in told.items() if value is not None)
        body = {"error": error or "unauthorized", "error_description": description}
        return JSONResponse(body, status_code=status, headers={"WWW-Authenticate": f"Bearer {challenge}"})

    def routes(self) -> list[Route]:
        """The metadata, where there is an authorization server to tell of.

        A client looks first where the challenge says, then below the root of the host for the path it knows, then at the
        root. A proxy that hands on one path alone passes the first of them only.
        """
        if self.issuer is None:
            return []
        name = self.resource.rpartition("/")[2]
        paths = (f"{_WELL_KNOWN}/{name}", f"{_WELL_KNOWN}{urlsplit(self.resource).path}", _WELL_KNOWN)
        endpoint = cors_middleware(self._tell, ["GET", "OPTIONS"])  # pages look for it, too
        return [Route(path, endpoint, methods=["GET", "OPTIONS"]) for path in dict.fromkeys(paths)]

    async def _tell(self, _request: Request) -> Response:
        return JSONResponse(self._metadata, headers=_METADATA_FRESH)

    @property
    def _metadata(self) -> Mapping[str, Any]:
        """Clients compare these addresses letter by letter. Scopes are what an agent needs, for clients ask for all of them."""
        return {
            "resource": self.resource,
            "resource_name": "Durable workflows",
            "authorization_servers": [self.issuer],
            "scopes_supported": [READ, RUN],
            "bearer_methods_supported": ["header"],
        }

    @property
    def _metadata_url(self) -> str | None:
        """Beside the resource, and so reached by whoever reaches that."""
        base, _, name = self.resource.rpartition("/")
        return f"{base}{_WELL_KNOWN}/{name}" if self.issuer is not None else None


class _Required:
    """``app``, for those whose token allows anything here."""

    def __init__(self, app: ASGIApp, authentication: Authentication) -> None:
        self._app = app
        self._authentication = authentication

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, user = self._app, scope["user"]
        if not isinstance(user, AuthenticatedUser):
            shown = "authorization" in Headers(scope=scope)
            app = self._authentication.refusal(
                401, "A valid token has to be shown.", "invalid_token" if shown else None
            )
        elif READ not in user.scopes:
            app = self._authentication.refusal(
                403, "This token has none of the scopes of this server.", "insufficient_scope"
            )
        await app(scope, receive, send)


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
            raise AuthenticationError(unknown.outside) from None
        if principal is None:
            return None
        expires_at = None if principal.expires_at is None else int(principal.expires_at.timestamp())
        # Without the token itself: nothing behind this needs it, and what is not there cannot get into a log.
        return AccessToken(
            token="", client_id=principal.actor, subject=principal.actor, scopes=sorted(principal.scopes),
            expires_at=expires_at,
        )  # fmt: skip


def _unknown(_request: HTTPConnection, unknown: Exception) -> Response:
    told = {"error": "temporarily_unavailable", "error_description": str(unknown)}
    return JSONResponse(told, status_code=503, headers={"Retry-After": _AGAIN_AFTER})
