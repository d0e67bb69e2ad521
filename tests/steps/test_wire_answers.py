"""Answers as bytes: what each is taken for, in whatever pieces it comes, and whether its connection is used again."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from typing import Any

import pytest

from mcp_workflows.engine.outcome import Failed
from tests.steps.wire import asking

pytestmark = pytest.mark.anyio

JSON = b"Content-Type: application/json\r\n"


def length(body: bytes, *lines: bytes) -> bytes:
    head = b"".join(line + b"\r\n" for line in (b"HTTP/1.1 200 OK", *lines, b"Content-Length: %d" % len(body)))
    return head + b"\r\n" + body


def chunked(*chunks: bytes, lines: Sequence[bytes] = (), trailers: bytes = b"") -> bytes:
    head = b"".join(line + b"\r\n" for line in (b"HTTP/1.1 200 OK", *lines, b"Transfer-Encoding: chunked"))
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"\r\n" + body + b"0\r\n" + trailers + b"\r\n"


GOOD: dict[str, tuple[bytes, Any, bool]] = {
    # what it is: the answer, the body that is recorded, whether the connection goes on
    "a length": (length(b'{"a":1}', JSON[:-2]), {"a": 1}, True),
    "an empty body": (length(b""), None, True),
    "lower case names": (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\n{}", {}, True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", None, True),
    "chunks": (chunked(b'{"a"', b":[1,", b"2]}"), {"a": [1, 2]}, True),
    "chunks with extensions": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;name=value\r\n{}\r\n0\r\n\r\n",
        {},
        True,
    ),
    "trailers": (chunked(b"{}", trailers=b"X-Sum: 1\r\n"), {}, True),
    "gzip": (length(gzip.compress(b'{"a":1}'), b"Content-Encoding: gzip"), {"a": 1}, True),
    "gzip in chunks": (chunked(gzip.compress(b'{"a":1}'), lines=[b"Content-Encoding: gzip"]), {"a": 1}, True),
    "deflate": (length(zlib.compress(b'{"a":1}'), b"Content-Encoding: deflate"), {"a": 1}, True),
    "bare deflate": (length(zlib.compress(b'{"a":1}', wbits=-15), b"Content-Encoding: deflate"), {"a": 1}, True),
    "gzip in members": (
        length(gzip.compress(b'{"a"') + gzip.compress(b":1}"), b"Content-Encoding: gzip"),
        {"a": 1},
        True,
    ),
    "gzip with padding": (length(gzip.compress(b'{"a":1}') + b"\0" * 8, b"Content-Encoding: x-gzip"), {"a": 1}, True),
    "a packing by the name of a charset": (length(b'{"a":1}', b"Content-Encoding: UTF-8"), {"a": 1}, True),
    "nothing, packed": (length(b"", b"Content-Encoding: gzip"), None, True),
    "no body by its status": (b"HTTP/1.1 204 No Content\r\n\r\n", None, True),
    "told to go on first": (b"HTTP/1.1 100 Continue\r\n\r\n" + length(b"{}"), {}, True),
    "hints first": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + length(b"{}"), {}, True),
    "closing": (length(b"{}", b"Connection: close"), {}, False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", {}, False),
    "HTTP/1.0 that keeps": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", {}, True),
}

BAD: dict[str, tuple[bytes, str, str]] = {
    # what it is: the answer, what then, what it is called
    "nothing": (b"", "close", "reset"),
    "a reset instead": (b"", "reset", "reset"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", "close", "reset"),
    "half a head, then a reset": (b"HTTP/1.1 200 OK\r\nContent-Le", "reset", "reset"),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", "close", "reset"),
    "half a body, then a reset": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", "reset", "reset"),
    "half a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "close", "reset"),
    "no last chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "close", "reset"),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        "keep",
        "answer_unreadable",
    ),
    "a negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}", "keep", "answer_unreadable"),
    "a signed length": (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}", "keep", "answer_unreadable"),
    "a boundless length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
        "keep",
        "answer_unreadable",
    ),
    "a boundless chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n{}",
        "keep",
        "answer_unreadable",
    ),
    "a chunk of no size": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        "keep",
        "answer_unreadable",
    ),
    "a chunk longer than it says": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
        "keep",
        "answer_unreadable",
    ),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "keep", "answer_unreadable"),
    "a status of letters": (b"HTTP/1.1 OK 200\r\nContent-Length: 2\r\n\r\n{}", "keep", "answer_unreadable"),
    "a name with a space": (b"HTTP/1.1 200 OK\r\nX Y: z\r\nContent-Length: 2\r\n\r\n{}", "keep", "answer_unreadable"),
    "a NUL in a header": (b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\n{}", "keep", "answer_unreadable"),
    "a long line": (length(b"{}", b"X: " + b"y" * 9000), "keep", "answer_unreadable"),
    "a long reason": (b"HTTP/1.1 200 " + b"y" * 9000 + b"\r\nContent-Length: 2\r\n\r\n{}", "keep", "answer_unreadable"),
    "many headers": (length(b"{}", *(b"X-%d: y" % n for n in range(200))), "keep", "answer_unreadable"),
    "gibberish after the answer": (length(b"{}") + b"\x16\x03\x01", "keep", "answer_unreadable"),
}


def pieces(answer: bytes, size: int) -> list[bytes]:
    return [answer[at : at + size] for at in range(0, len(answer), size)]


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("name", GOOD)
async def test_an_answer_is_read_in_whatever_pieces_it_comes(name: str, size: int) -> None:
    answer, body, kept = GOOD[name]
    async with asking() as a:
        told = await a.told(pieces(answer, size))
    assert (told.body, told.reused) == (body, kept)


@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_answer_leaves_the_effect_in_doubt_and_the_connection_unused(name: str, size: int) -> None:
    answer, then, code = BAD[name]
    async with asking() as a:
        told = await a.told(pieces(answer, size), then)
    assert (told.code, told.reused) == (code, False), told.outcome
    assert isinstance(told.outcome, Failed)
    assert told.outcome.error.in_doubt
    assert "\n" not in told.outcome.error.message
    assert len(told.outcome.error.message) < 300


@pytest.mark.parametrize(
    ("answer", "method"),
    [
        (length(b"{}") + length(b'{"stray":true}'), "POST"),
        (chunked(b"{}") + length(b'{"stray":true}'), "POST"),
        (b"HTTP/1.1 204 No Content\r\n\r\n" + length(b'{"stray":true}'), "DELETE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + length(b'{"stray":true}'), "HEAD"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", "POST"),
    ],
    ids=["a length", "chunks", "no body by its status", "HEAD", "told to go on too late"],
)
@pytest.mark.parametrize("together", [True, False])
async def test_an_answer_that_rides_behind_another_is_never_read(answer: bytes, method: str, together: bool) -> None:
    end = answer.rindex(b"HTTP/1.1")
    async with asking() as a:
        told = await a.told([answer] if together else [answer[:end], answer[end:]], method=method)
    assert not told.reused
    assert told.code in {"completed", "answer_unreadable"}


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nX-"])
async def test_the_beginning_of_an_answer_to_nobody_is_no_part_of_the_next_ones(beginning: bytes) -> None:
    async with asking() as a:
        await a.told([length(b"{}") + beginning])
        await a.told([length(b"{}"), beginning])


@pytest.mark.parametrize(
    ("answer", "method"),
    [
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "DELETE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\n", "HEAD"),
    ],
    ids=["204", "HEAD", "HEAD of chunks", "HEAD of what is packed"],
)
async def test_an_answer_without_a_body_is_complete_with_its_head(answer: bytes, method: str) -> None:
    async with asking() as a:
        told = await a.told([answer], method=method)
    assert (told.body, told.reused) == (None, True)


async def test_a_body_without_an_end_of_its_own_ends_with_its_connection() -> None:
    async with asking() as a:
        told = await a.told([b"HTTP/1.1 200 OK\r\n\r\n", b'{"a":', b"1}"], "close")
        broken = await a.told([b"HTTP/1.1 200 OK\r\n\r\n", b"a text,"], "reset", response="text")
    assert (told.body, told.reused) == ({"a": 1}, False)
    assert broken.code == "reset", "half a text is no text"


async def test_a_length_beside_chunks_is_not_believed_and_the_connection_not_used_again() -> None:
    """Whoever reads the one where another reads the other can be told two answers for one (RFC 9112, 6.3)."""
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    async with asking() as a:
        told = await a.told([both])
    assert told.code in {"completed", "answer_unreadable"}
    assert told.code == "answer_unreadable" or (told.body == {} and not told.reused)


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
async def test_an_answer_whose_packing_does_not_end_is_cut_short_whatever_its_length_says(packing: str) -> None:
    """Its text may be there to the last byte, or half of it: without its end, and its checksum, nobody knows."""
    whole = gzip.compress(b'{"a":1}') if packing == "gzip" else zlib.compress(b'{"a":1}')
    async with asking() as a:
        for lost in (1, 4, len(whole) - 3):
            answer = length(whole[:-lost], b"Content-Encoding: " + packing.encode())
            told = await a.told([answer], method="POST", response="text")
            assert isinstance(told.outcome, Failed)
            error = told.outcome.error
            assert (error.code, error.in_doubt) == ("reset", True), (lost, told)


async def test_an_answer_whose_checksum_is_wrong_is_unreadable() -> None:
    wrong = bytearray(gzip.compress(b"10 EUR"))
    wrong[-6] ^= 1
    async with asking() as a:
        told = await a.told([length(bytes(wrong), b"Content-Encoding: gzip")], response="text")
    assert told.code == "answer_unreadable"


async def test_an_answer_in_a_packing_that_was_not_asked_for_is_unreadable() -> None:
    async with asking() as a:
        told = await a.told([length(b"\x0b\x03\x80{}\x03", b"Content-Encoding: br", b"Content-Type: text/plain")])
    assert told.code == "answer_unreadable"


async def test_an_answer_over_ipv6_is_as_any_other() -> None:
    async with asking("::1") as a:
        told = await a.told([length(b"{}")])
        assert a.service.requests[0].split(b"\r\n")[1] == b"Host: " + a.service.url.removeprefix("http://").encode()
    assert (told.body, told.reused) == ({}, True)


async def test_a_refusal_before_the_body_was_read_is_a_refusal_and_its_connection_is_not_used_again() -> None:
    """Most of the body still waits to be sent: the next request would stand behind it."""
    async with asking() as a:
        a.service.read_bodies = False
        told = await a.told([b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"], text="x" * 20_000_000)
    assert (told.code, told.reused) == ("http_413", False)
