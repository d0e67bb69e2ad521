"""Ending a request from this side: its app sees its client go, and what it began to answer is brought to an end."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


async def run_until(over: asyncio.Event, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> bool:
    """Run ``app`` until it is done, or ``over`` is set. Answers whether it has said anything."""
    begun = unfinished = False

    async def receive_or_end() -> Message:
        received = asyncio.ensure_future(receive())
        ended = asyncio.ensure_future(over.wait())
        try:
            await asyncio.wait({received, ended}, return_when=asyncio.FIRST_COMPLETED)
            return received.result() if received.done() else {"type": "http.disconnect"}
        finally:
            received.cancel()
            ended.cancel()

    async def send_and_note(message: Message) -> None:
        nonlocal begun, unfinished
        begun = True
        unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
        await send(message)

    await app(scope, receive_or_end, send_and_note)
    if unfinished and over.is_set():
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    return begun
