"""``/healthz``: whether the database can be used. Anybody may ask, so the database is asked once a second at most."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse

from mcp_workflows import __version__
from mcp_workflows.errors import StoreUnavailable, SystemUnwell
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.runtime.views import RunQuery

_SECONDS: Final = 3.0
"""For the database to answer."""
_FRESH_SECONDS: Final = 1.0


class Health:
    """Of ``server``. ``discreet``: who asks need not know how it is built."""

    def __init__(self, server: WorkflowServer, *, discreet: bool) -> None:
        self._server = server
        self._discreet = discreet
        self._lock = asyncio.Lock()
        self._reason: str | None = None
        self._looked_at: float | None = None

    async def answer(self, _request: Request) -> JSONResponse:
        """503 if something is wrong, at the latest after ``_SECONDS``, with what it is."""
        reason = self._server.runs.unwell or await self._recent()
        told = {"status": "ok", "version": __version__, "workflows": len(self._server.runs.catalog.definitions)}
        if reason is not None:
            reason = StoreUnavailable(reason).outside if self._discreet else reason
            return JSONResponse({**told, "status": "unwell", "reason": reason}, status_code=503)
        return JSONResponse(told)

    async def _recent(self) -> str | None:
        """What was wrong when somebody looked within the last second; who comes meanwhile waits for that."""
        now = asyncio.get_running_loop().time
        async with self._lock:
            if self._looked_at is None or now() - self._looked_at >= _FRESH_SECONDS:
                self._reason = await self._look()
                self._looked_at = now()
            return self._reason

    async def _look(self) -> str | None:
        try:
            async with asyncio.timeout(_SECONDS):
                await self._server.runs.list(RunQuery(limit=1))
        except SystemUnwell as unwell:
            return str(unwell)
        except TimeoutError:
            return self._server.runs.unwell or f"The database has not answered for {_SECONDS:.0f} s."
        return None
