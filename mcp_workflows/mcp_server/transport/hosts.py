"""Which names in the ``Host`` header are ours: a page elsewhere that has its name lead here gets nothing (DNS rebinding)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def is_known(host: str, hosts: Collection[str]) -> bool:
    """``hosts`` are in lower case, each with any port or with the one given."""
    host = host.lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return host in hosts or name in hosts


class KnownHosts:
    """``app``, for those who ask for one of ``hosts``."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_known(Headers(scope=scope).get("host", ""), self._hosts):
            await PlainTextResponse("this is not the server of that host", 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)
