"""Reads the body of an answer: no more of it than may be kept, and no longer than there is hope of more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import NamedTuple

from aiohttp import ClientError, ClientPayloadError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from mcp_workflows.steps.client import Response
from mcp_workflows.steps.packing import NotUnpacked, unpacked


class Body(NamedTuple):
    """What came of an answer's body. ``trouble`` is set when that is not all of it, and ``code`` is what to call it."""

    raw: bytes
    trouble: str | None = None
    code: str = ""
    retryable: bool = False


async def read_body(response: Response, limit: int, *, beginning: bool = False) -> Body:
    """At most ``limit`` bytes, unpacked; more are not waited for.

    A body that is too large by its own account is not read at all, or, with ``beginning``, only that far.
    """
    body = await _read(response, limit, beginning=beginning)
    packing = response.headers.get("Content-Encoding")
    return body if packing is None or not body.raw else _unpacked(body, packing, limit)


async def _read(response: Response, limit: int, *, beginning: bool) -> Body:
    """As it was sent."""
    length = response.content_length
    if length is not None and length > limit and not beginning and response.method != "HEAD":
        return Body(b"", f"is larger than {limit} bytes ({length})", "answer_too_large")
    chunks: list[bytes] = []
    size = 0
    try:
        if response.content.is_eof():
            # The usual small answer came with its head.
            raw = response.content.read_nowait()
            return _whole(response, raw) if len(raw) <= limit else _too_large(raw, limit)
        with _noticing_the_end(response):
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    response.close()
                    return _too_large(b"".join(chunks), limit)
    except (ClientError, OSError) as error:
        return _cut_short(b"".join(chunks), error)
    return _whole(response, chunks[0] if len(chunks) == 1 else b"".join(chunks))


def _unpacked(body: Body, packing: str, limit: int) -> Body:
    try:
        found = unpacked(body.raw, packing, limit)
    except NotUnpacked as unpackable:
        return Body(body.raw, str(unpackable), "answer_unreadable") if body.trouble is None else body
    if len(found.raw) > limit:
        return _too_large(found.raw, limit)
    if body.trouble is not None:
        return body._replace(raw=found.raw)
    return Body(found.raw) if found.whole else _broken(found.raw)


def _whole(response: Response, raw: bytes) -> Body:
    return _broken(raw) if response.broke_off() else Body(raw)


def _broken(raw: bytes) -> Body:
    return Body(raw, "broke off", "reset", retryable=True)


def _too_large(raw: bytes, limit: int) -> Body:
    return Body(raw[:limit], f"is larger than {limit} bytes", "answer_too_large")


def _cut_short(raw: bytes, error: Exception) -> Body:
    if isinstance(error, _Garbled):
        return Body(raw, "goes on in a way that is no HTTP", "answer_unreadable")
    return _broken(raw)


class _Garbled(ClientPayloadError):
    """The connection was closed by this side, because what came could not be parsed."""


@contextlib.contextmanager
def _noticing_the_end(response: Response) -> Generator[None]:
    """Ends the reading when the connection ends.

    aiohttp's parser leaves a reader waiting for ever when a chunked body goes on with something that is no chunk.
    """
    content = response.content
    protocol = response.protocol
    closed = None if content.is_eof() else protocol.closed
    if closed is None:
        yield
        return

    def end(_closed: asyncio.Future[None]) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(_why(protocol))

    closed.add_done_callback(end)
    try:
        yield
    finally:
        closed.remove_done_callback(end)


def _why(protocol: ResponseHandler) -> ClientPayloadError:
    garbled = isinstance(protocol.exception(), HttpProcessingError)
    return _Garbled("unparseable") if garbled else ClientPayloadError("connection lost")
