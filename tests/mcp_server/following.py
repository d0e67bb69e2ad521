"""Following by name, as clients of the handshake era do."""

from __future__ import annotations

from mcp import Client
from mcp_types import (
    EmptyResult,
    SubscribeRequest,
    SubscribeRequestParams,
)


async def subscribe(client: Client, uri: str) -> None:
    await client.session.send_request(SubscribeRequest(params=SubscribeRequestParams(uri=uri)), EmptyResult)
