"""Whatever a service sends: an outcome that may be recorded, never an error inside."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_workflows.engine.outcome import Completed, Failed
from mcp_workflows.steps.answer import AnswerUnreadable, decode, decode_leniently
from mcp_workflows.steps.redact import Redactor
from tests.steps.calls import bench

MODES = st.sampled_from(["auto", "json", "text", "none"])
TYPES = st.sampled_from(
    ["", "application/json", "text/plain", "application/x+json; charset=utf-16", "text/html; charset=latin-1"]
)
JSON_TEXTS = st.recursive(
    st.one_of(
        st.sampled_from(
            ["NaN", "-Infinity", "1e400", "-1E+400", "1" * 20, '"\\u0000"', '"\\ud83d"', '"\\udc00\\ud800"', "0.1e-400"]
        ),
        st.integers().map(str),
        st.floats().map(repr),
        st.text().map(json.dumps),
        st.text(st.characters()).map(lambda text: json.dumps(text, ensure_ascii=False)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(st.text().map(json.dumps), inner, max_size=4).map(
            lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items.items()) + "}"
        ),
        inner.map(lambda item: "[" * 70 + item + "]" * 70),
    ),
)
BODIES = st.one_of(
    st.binary(),
    JSON_TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    JSON_TEXTS.map(lambda text: text.encode("utf-16", "surrogatepass")),
)


def recordable(value: Any, depth: int = 0) -> bool:
    if isinstance(value, str):
        value.encode()
        return "\0" not in value
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, float):
        return abs(value) != float("inf") and value == value
    children = [*value, *value.values()] if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType]
    return depth < 64 and all(recordable(child, depth + 1) for child in cast("list[Any]", children))


@given(BODIES, TYPES, MODES)
@example(b"[" * 64 + b"]" * 64, "application/json", "auto")
@example(b"[" * 65 + b"]" * 65, "application/json", "auto")
@example(b'{"a":' * 64 + b'"\\u0041"' + b"}" * 64, "application/json", "auto")
def test_a_body_becomes_a_value_that_may_be_recorded_or_is_refused(raw: bytes, content_type: str, mode: Any) -> None:
    assert recordable(decode_leniently(raw, content_type, mode))
    try:
        value = decode(raw, content_type, mode)
    except AnswerUnreadable:
        return
    assert recordable(value)


SECRETS = st.text(st.characters(codec="utf-8"), min_size=4, max_size=40)


@given(SECRETS, st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_no_secret_is_left_wherever_it_stands(secret: str, before: str, after: str) -> None:
    redactor = Redactor({"KEY": secret})
    shown = redactor.text(f"{before}{secret}{after}")
    assert secret not in shown.replace("[secret KEY]", "\0") or secret in "[secret KEY]"
    encoded = base64.b64encode((before + secret + after).encode()).decode()
    if len(secret.encode()) >= 8:
        assert "[secret KEY]" in redactor.text(encoded)


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/1.1 422 No\r\n",
                b"HTTP/1.1 302 Found\r\n",
                b"HTTP/1.0 200 OK\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/2 200\r\n",
                b"Content-Length: 5\r\n",
                b"Content-Length: -1\r\n",
                b"Content-Length: 5, 6\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Content-Encoding: gzip\r\n",
                b"Content-Encoding: br\r\n",
                b"Content-Type: application/json\r\n",
                b"Content-Type: ;;;===\r\n",
                b"Location: http://[\r\n",
                b"Location: \xff\xfe\r\n",
                b"Location: /ok\r\n",
                b"Set-Cookie: a=b; c\r\n",
                b"Retry-After: \xff\r\n",
                b"\r\n",
                b"5\r\nhello\r\n",
                b"0\r\n\r\n",
                b"hello",
                b'{"a": 1}',
                gzip.compress(b"hello"),
                b"X" * 9000,
            ]
        ),
        st.binary(max_size=20),
    ),
    max_size=10,
).map(b"".join)


@settings(deadline=None, max_examples=15)
@given(st.lists(PIECES, min_size=20, max_size=20))
def test_no_bytes_on_the_wire_lead_to_an_error_inside(answers: list[bytes]) -> None:
    async def main() -> None:
        async with bench({"KEY": "a-secret-value"}) as b:
            paths = [f"/raw?b64={base64.urlsafe_b64encode(answer).decode()}" for answer in answers]
            outcomes = await asyncio.gather(*(b.attempt(path, "POST", timeout=10.0) for path in paths))
        for outcome, answer in zip(outcomes, answers, strict=True):
            if isinstance(outcome, Completed):
                assert recordable(outcome.result), answer
            else:
                assert isinstance(outcome, Failed)
                assert outcome.error.code not in {"internal", "timeout"}, (outcome, answer)
                assert recordable(outcome.error.to_json())
                assert outcome.error.in_doubt or 400 <= (outcome.error.status or 0) < 500, (outcome, answer)

    asyncio.run(main())
