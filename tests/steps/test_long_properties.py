"""Whatever is put into a form comes out of it, and only what was signed is read."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcp_workflows.steps.callback import CallbackTokens, Meant
from mcp_workflows.steps.multipart import Part, encode

TOKENS = CallbackTokens(b"k" * 32)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CONTENTS = st.binary(max_size=40) | st.sampled_from([b"\r\n", b"--", b"\r\n--", b"--\r\n", b"", b"\r\n\r\n"])
PARTS = st.lists(st.tuples(TEXTS, CONTENTS, st.none() | TEXTS), max_size=5)


@given(PARTS)
def test_a_form_holds_its_parts_and_nothing_else(given_parts: list[tuple[str, bytes, str | None]]) -> None:
    parts = [Part(name, content, filename) for name, content, filename in given_parts]
    body, content_type = encode(parts)
    boundary = content_type.rpartition("=")[2].encode()
    assert body.count(b"--" + boundary) == len(parts) + 1
    pieces = body.split(b"--" + boundary)
    assert pieces[0] == b""
    assert pieces[-1] == b"--\r\n"
    found: list[bytes] = []
    for part, piece in zip(parts, pieces[1:-1], strict=True):
        head, _, rest = piece.partition(b"\r\n\r\n")
        assert head.removeprefix(b"\r\n").count(b"\r\n") == (part.content_type is not None)
        found.append(rest.removesuffix(b"\r\n"))
    assert found == [part.content for part in parts]


@given(TEXTS, TEXTS, st.integers(0, 1 << 40))
def test_a_token_says_what_it_was_made_for(run_id: str, path: str, attempt: int) -> None:
    token = TOKENS.make(run_id, path, attempt)
    assert TOKENS.read(token) == Meant(run_id, path, attempt)
    assert token.replace(".", "").replace("-", "").replace("_", "").isalnum()


@given(st.data())
def test_no_change_of_a_token_is_read(data: Any) -> None:
    token = TOKENS.make("r_1", "items[3].ship", 2)
    at = data.draw(st.integers(0, len(token)))
    cut = data.draw(st.integers(0, 3))
    changed = token[:at] + data.draw(st.text(max_size=3)) + token[at + cut :]
    assert changed == token or TOKENS.read(changed) is None


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.hex()))
def test_no_text_is_read_that_was_not_made(text: str) -> None:
    assert TOKENS.read(text) is None
