"""Several actors at one server: a file of tokens, and clients that show theirs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_workflows.access.token_file import TokenFile, line_for, new_token
from mcp_workflows.mcp_server.transport.authentication import Authentication

ERAS = ("auto", "legacy")
RESOURCE = "http://127.0.0.1/mcp"


class Actors:
    """``scopes`` are those of each actor's token."""

    def __init__(self, folder: Path, scopes: Mapping[str, tuple[str, ...]]) -> None:
        self.tokens = {actor: new_token() for actor in scopes}
        self._scopes = dict(scopes)
        self._file = folder / "tokens"
        self._write()
        self.authentication = Authentication(TokenFile(self._file), RESOURCE)

    def forget(self, actor: str) -> None:
        """Take the line of this actor out of the file."""
        del self.tokens[actor]
        self._write()

    def allow(self, actor: str, *scopes: str) -> None:
        """The token of this actor allows this from now on."""
        self._scopes[actor] = scopes
        self._write()

    def spoil(self) -> None:
        """Make a file of it that nobody understands."""
        self._file.write_text("half a li", "utf-8")

    def restore(self) -> None:
        self._write()

    def header(self, actor: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[actor]}"}

    def _write(self) -> None:
        lines = [line_for(actor, token, self._scopes[actor]) for actor, token in self.tokens.items()]
        self._file.write_text("\n".join(lines), "utf-8")

    @asynccontextmanager
    async def client(self, url: str, actor: str, mode: Any = "auto", **options: Any) -> AsyncGenerator[Client]:
        async with (
            httpx2.AsyncClient(headers=self.header(actor), trust_env=False, timeout=60) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode, **options) as client,
        ):
            yield client
