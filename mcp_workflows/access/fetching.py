"""Asking an authorization server: short, bounded, and never where it leads to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote_plus

import httpx2

from mcp_workflows.errors import IdentityUnknown

SECONDS = 5.0
"""That an answer may take, in all."""
_LARGEST = 1 << 20


class Server:
    """The client of one authorization server."""

    def __init__(self) -> None:
        self._client = httpx2.AsyncClient(timeout=None, follow_redirects=False)

    async def get(self, url: str) -> Mapping[str, Any]:
        """The JSON object there. Raises ``IdentityUnknown``."""
        return await self._ask(self._client.build_request("GET", url, headers={"Accept": "application/json"}))

    async def post(self, url: str, form: Mapping[str, str], credentials: tuple[str, str] | None) -> Mapping[str, Any]:
        """As ``get``; ``credentials`` are shown as the server's client."""
        request = self._client.build_request("POST", url, data=dict(form), headers={"Accept": "application/json"})
        if credentials is not None:
            # Encoded as in a form (RFC 6749, 2.3.1): a secret may hold what means something there.
            request = next(httpx2.BasicAuth(*map(quote_plus, credentials)).auth_flow(request))
        return await self._ask(request)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, request: httpx2.Request) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(SECONDS):
                status, body = await self._answer(request)
        except TimeoutError:
            raise IdentityUnknown(f"{request.url} has not answered within {SECONDS:g} s.") from None
        except httpx2.HTTPError as error:
            raise IdentityUnknown(f"{request.url} cannot be reached: {str(error) or type(error).__name__}.") from None
        if status != 200:
            raise IdentityUnknown(f"{request.url} answers {status}.")
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise IdentityUnknown(f"{request.url} does not answer with a JSON object.")
        return cast("dict[str, Any]", told)

    async def _answer(self, request: httpx2.Request) -> tuple[int, bytes]:
        response = await self._client.send(request, stream=True)
        try:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST:
                    raise IdentityUnknown(f"{request.url} answers with more than {_LARGEST} bytes.")
        finally:
            await response.aclose()
        return response.status_code, body
