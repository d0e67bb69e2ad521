"""Answers that nobody thought of: valid ones read as another parser reads them, broken ones never taken for whole."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import h11
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_workflows.engine.outcome import Completed, Failed
from tests.steps.wire import Asking, Told, asking

LATIN = b"Content-Type: text/plain; charset=latin-1\r\n\r\n"
FAILURES = {"reset", "answer_unreadable", "answer_too_large"}
TOKENS = st.text("abcdefgXYZ-_0123456789", min_size=1, max_size=12)
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20).map(str.strip)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True, slots=True)
class Wire:
    """An answer's bytes, the pieces they come in, and the body that was meant."""

    head: bytes
    content: bytes
    body: bytes
    cuts: tuple[int, ...]

    @property
    def answer(self) -> bytes:
        return self.head + self.content

    def pieces(self, answer: bytes) -> list[bytes]:
        ends = [0, *sorted({cut % (len(answer) + 1) for cut in self.cuts}), len(answer)]
        return [answer[a:b] for a, b in pairwise(ends) if a < b]


@st.composite
def wires(draw: st.DrawFn) -> Wire:
    body = draw(st.binary(max_size=300).filter(lambda raw: b"\0" not in raw))
    packed = gzip.compress(body, mtime=0) if draw(st.booleans()) else body
    lines = [
        f"X-{name}: {value}".encode("latin-1") for name, value in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=4))
    ]
    if packed is not body:
        lines.append(b"Content-Encoding: gzip")
    if draw(st.booleans()):
        lines.append(b"Content-Length: %d" % len(packed))
        content = packed
    else:
        lines.append(b"Transfer-Encoding: chunked")
        sizes = draw(st.lists(st.integers(1, 50), max_size=8))
        content = b""
        for size in [*sizes, max(len(packed), 1)]:
            chunk, packed = packed[:size], packed[size:]
            if chunk:
                content += b"%x\r\n%b\r\n" % (len(chunk), chunk)
        content += b"0\r\n\r\n"
    draw(st.randoms(use_true_random=False)).shuffle(lines)
    first = draw(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"])
    )
    head = (
        first + b"\r\n".join([b"HTTP/1.1 200 " + draw(st.sampled_from([b"OK", b"", b"Fine so"])), *lines]) + b"\r\n\r\n"
    )
    return Wire(head, content, body, tuple(draw(st.lists(st.integers(0, 2000), max_size=12))))


def by_h11(answer: bytes) -> bytes:
    """The body as h11 reads it, packed as it came."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(answer)
    body = b""
    while True:
        match reader.next_event():
            case h11.Data(data=data):
                body += bytes(data)
            case h11.EndOfMessage():
                return body
            case h11.NEED_DATA:
                raise AssertionError("not all of an answer")
            case _:
                pass


class Telling:
    """One service and one client for all examples of a property."""

    def __init__(self, runner: asyncio.Runner, asking: Asking) -> None:
        self._runner = runner
        self._asking = asking

    def told(self, pieces: list[bytes], then: Any) -> Told:
        return self._runner.run(self._asking.told(pieces, then, response="text"))


@contextmanager
def telling() -> Generator[Telling]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()
        yield Telling(runner, runner.run(stack.enter_async_context(asking())))
        runner.run(stack.aclose())


def test_an_answer_is_what_another_parser_reads_in_it() -> None:
    with telling() as t:

        @given(wires())
        @FUZZ
        def check(wire: Wire) -> None:
            head = wire.head[:-2] + LATIN
            answer = head + wire.content
            found = t.told(wire.pieces(answer), "keep")
            raw = by_h11(answer)
            assert found.reused
            assert found.body == (gzip.decompress(raw) if b"Content-Encoding: gzip" in head else raw).decode("latin-1")
            assert found.body == wire.body.decode("latin-1")

        check()


def test_an_answer_that_is_cut_anywhere_is_no_answer() -> None:
    with telling() as t:

        @given(wires(), st.integers(0, 10_000), st.sampled_from(["close", "reset"]))
        @FUZZ
        def check(wire: Wire, at: int, then: str) -> None:
            cut = wire.answer[: at % len(wire.answer)]
            found = t.told(wire.pieces(cut), then)
            assert isinstance(found.outcome, Failed), found.outcome
            assert (found.code, found.outcome.error.in_doubt, found.reused) == ("reset", True, False)

        check()


def test_whatever_comes_is_a_known_failure_or_an_answer() -> None:
    with telling() as t:

        @given(wires(), st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), min_size=1, max_size=3))
        @FUZZ
        def check(wire: Wire, changes: list[tuple[int, bytes]]) -> None:
            answer = bytearray(wire.answer)
            for at, piece in changes:
                answer[at % len(answer) : at % len(answer) + len(piece)] = piece
            found = t.told(wire.pieces(bytes(answer)), "close")
            if isinstance(found.outcome, Completed):
                assert found.outcome.result["status"] in range(200, 300)
            else:
                assert found.code in FAILURES or found.code.startswith("http_"), found.outcome

        check()
