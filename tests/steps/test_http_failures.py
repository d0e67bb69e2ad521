"""Every way an attempt fails: what it is called, whether its effect is in doubt, whether another attempt may help."""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import Any

import pytest

from tests.steps.calls import bench, body_path

pytestmark = pytest.mark.anyio

CASES = [
    # path, code, in doubt after a POST, retryable
    ("/status/400", "http_400", False, False),
    ("/status/404", "http_404", False, False),
    ("/status/408", "http_408", False, True),
    ("/status/409", "http_409", False, False),
    ("/status/422", "http_422", False, False),
    ("/status/425", "http_425", False, True),
    ("/status/429", "http_429", False, True),
    ("/status/500", "http_500", True, True),
    ("/status/501", "http_501", True, True),
    ("/status/503", "http_503", True, True),
    ("/status/304", "http_304", True, False),
    ("/status/300", "http_300", True, False),
    ("/reset-before", "reset", True, True),
    ("/reset-after", "reset", True, True),
    ("/close-after", "reset", True, True),
    ("/short", "reset", True, True),
    ("/bad-chunk", "answer_unreadable", True, False),
    ("/bad-chunk-late", "answer_unreadable", True, False),
    ("/hang", "timeout", True, True),
    ("/slow-headers", "timeout", True, True),
    ("/drip", "timeout", True, True),
    ("/huge", "answer_too_large", True, False),
    ("/huge-declared", "answer_too_large", True, False),
    ("/gzip-bomb", "answer_too_large", True, False),
    ("/gzip-bad", "answer_unreadable", True, False),
    ("/garbage", "answer_unreadable", True, False),
    ("/bad-header", "answer_unreadable", True, False),
    (body_path(b"<html>"), "answer_unreadable", True, False),
]


@pytest.mark.parametrize(
    ("path", "code", "in_doubt", "retryable"), CASES, ids=[case[0].split("?")[0] for case in CASES]
)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_each_failure_has_its_name(path: str, code: str, in_doubt: bool, retryable: bool, method: str) -> None:
    """A GET has no effect to doubt; all else is the same."""
    timeout = 0.3 if code == "timeout" else 20.0
    async with bench() as b:
        error = await b.failed(path, method, timeout=timeout)
        assert (error.code, error.in_doubt, error.retryable) == (code, in_doubt and method == "POST", retryable), error
        assert len(b.service.calls) == 1, "sent exactly once"
        assert error.message.startswith(f"{method} /")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_an_idempotent_method_may_have_an_effect_all_the_same(method: str) -> None:
    async with bench() as b:
        assert (await b.failed("/close-after", method)).in_doubt


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (b'{"a":', "application/json", "is no JSON"),
        (b"<html>busy</html>", "application/json", "is no JSON"),
        (b'{"a": NaN}', "application/json", "holds NaN"),
        (b'{"a": -Infinity}', "application/json", "holds -Infinity"),
        (b'{"a": {"b": [1, 9223372036854775808]}}', "application/json", "an integer beyond 64 bits at a.b[1]"),
        (b'{"a": -9223372036854775809}', "application/json", "an integer beyond 64 bits at a"),
        (b"1" * 5000, "application/json", "a number that is too long"),
        (b'{"a": 1e999}', "application/json", "beyond what a double can hold at a"),
        (b'{"a": ["x\\u0000y"]}', "application/json", "a NUL character at a[0]"),
        (b'{"k\\u0000": 1}', "application/json", "a NUL character"),
        (b'{"a": "\\ud800"}', "application/json", "half of a surrogate pair at a"),
        (b'{"\\udc00": 1}', "application/json", "half of a surrogate pair"),
        (b"[" * 65 + b"]" * 65, "application/json", "deeper than 64"),
        (b"[" * 500_000 + b"]" * 500_000, "application/json", "deeper than 64"),
        (b'{"a":' * 65 + b'"\\u0041"' + b"}" * 65, "application/json", "deeper than 64"),
        (b"a\x00b", "text/plain", "a NUL character at character 1"),
        (b"\xff\xfe\xfd", "text/plain", "is no text in utf-8"),
        (b"\x89PNG\r\n", "image/png", "is no text in utf-8"),
        (b'"x"', "application/json; charset=klingon", "is no text in klingon"),
        (b"x" * 100, "text/plain; charset=punycode", "is no text in punycode"),
        (b"+2AA-", "text/plain; charset=utf-7", "is no text in utf-7"),
    ],
)
async def test_an_answer_that_cannot_be_kept_is_refused_with_its_place(
    body: bytes, content_type: str, says: str
) -> None:
    """The service said 200, so the effect took place: neither done nor harmless, and never repeated unasked."""
    async with bench() as b:
        error = await b.failed(body_path(body, content_type), "POST")
    assert (error.code, error.in_doubt, error.retryable, error.status) == ("answer_unreadable", True, False, 200)
    assert says in error.message


@pytest.mark.parametrize("body", [b'{"a": NaN}', b"\xff\x00\xfe", b"<html>", b'"\\ud800"'])
async def test_a_refusal_is_a_refusal_however_unreadable_its_body_is(body: bytes) -> None:
    async with bench() as b:
        error = await b.failed(body_path(body, status=422), "POST")
        accepted = await b.completed(body_path(body, status=404), "DELETE", success=("2xx", "404"))
    assert (error.code, error.in_doubt) == ("http_422", False)
    assert isinstance(error.body, str)
    assert isinstance(accepted["body"], str)
    for text in (error.body, accepted["body"]):
        text.encode()
        assert "\0" not in text


async def test_the_body_of_a_refusal_is_bounded() -> None:
    async with bench() as b:
        error = await b.failed(body_path(b"x" * 200_000, "text/plain", 500), "POST")
    assert error.code == "http_500"
    assert len(error.body) <= 65_536
    assert len(error.message) <= 500


async def test_the_message_says_what_was_asked_and_what_came_back() -> None:
    async with bench() as b:
        error = await b.failed("/status/422", "POST", json={"orderId": "o1"}, query={"status": "2OO"})
    assert error.message == 'POST /status/422 answered 422: {"error":"status must be 200, not 422"}'
    assert error.body == {"error": "status must be 200, not 422"}
    assert error.request == {
        "method": "POST",
        "url": f"{b.service.url}/status/422",
        "query": {"status": "2OO"},
        "json": {"orderId": "o1"},
    }


async def test_a_large_request_is_shown_cut() -> None:
    lines = [{"sku": f"sku-{n}", "text": "x" * 2000} for n in range(500)]
    async with bench() as b:
        error = await b.failed("/status/422", "POST", json={"lines": "${input.lines}"}, input={"lines": lines})
    assert len(str(error.request)) < 5000
    assert error.request["json"]["lines"][0]["sku"] == "sku-0"
    assert "more" in error.request["json"]["lines"][-1]


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7.0, 7.0),
        ("0", 0.0, 0.0),
        ("9" * 40, 86_400.0, 86_400.0),
        ("Wed,%2021%20Oct%202015%2007:28:00%20GMT", 0.0, 0.0),
        ("Wed,%2021%20Oct%202915%2007:28:00%20GMT", 86_400.0, 86_400.0),
        ("Wed,%2021%20Oct%2099999999999999999999%2007:28:00%20GMT", None, None),
        ("soon", None, None),
        ("-5", None, None),
        ("%D9%A3", None, None),
    ],
)
async def test_retry_after_is_read_as_seconds_or_as_a_date_and_is_a_day_at_most(
    value: str, least: float | None, most: float | None
) -> None:
    async with bench() as b:
        error = await b.failed(f"/status/503?retry_after={value}", "POST")
    if least is None or most is None:
        assert error.retry_after is None
    else:
        assert error.retry_after is not None
        assert least <= error.retry_after <= most


async def test_a_refused_connection_is_definite() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with bench() as b:
        error = await b.failed(f"http://127.0.0.1:{port}/charges", "POST")
    assert (error.code, error.in_doubt, error.retryable) == ("connect", False, True)
    assert error.message == f"POST /charges was not sent: no connection to 127.0.0.1:{port}: Connection refused"


async def test_an_unknown_host_is_definite() -> None:
    async with bench() as b:
        error = await b.failed("http://nowhere.invalid/charges", "POST")
    assert (error.code, error.in_doubt, error.retryable) == ("connect", False, True)
    assert "nowhere.invalid" in error.message


async def test_an_answer_that_changes_the_protocol_is_no_success() -> None:
    async with bench() as b:
        error = await b.failed("/upgrade", "POST", timeout=5.0)
    assert (error.code, error.in_doubt) == ("http_101", True)


async def test_a_refusal_that_comes_before_the_body_is_read_counts() -> None:
    async with bench() as b:
        error = await b.failed("/early-413", "POST", text="x" * 3_000_000)
    assert error.code in {"http_413", "reset"}, "the reset of the unread body may overtake the answer"
    assert error.in_doubt == (error.code == "reset")


@pytest.fixture
def full_backlog() -> Any:
    """A port where connecting hangs: it listens, but its queue is full and nobody accepts."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for client in waiting:
            client.close()


async def test_a_connection_that_takes_too_long_is_definite(full_backlog: int) -> None:
    async with bench() as b:
        error = await b.failed(f"http://127.0.0.1:{full_backlog}/x", "POST", connect_timeout=0.3)
    assert (error.code, error.in_doubt, error.retryable) == ("connect", False, True)


async def test_a_timeout_while_connecting_is_definite(full_backlog: int) -> None:
    async with bench() as b:
        error = await b.failed(f"http://127.0.0.1:{full_backlog}/x", "POST", timeout=0.3)
    assert (error.code, error.in_doubt, error.retryable) == ("timeout", False, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"headers": {"X-Note": "${input.bad}"}}, 'header "X-Note" holds a line break'),
        ({"headers": {"X-Nul": "a\0b"}}, 'header "X-Nul" holds a NUL'),
        ({"headers": {"X-Half": "\ud800"}}, "half of a surrogate pair"),
        ({"headers": {"X-Null": None}}, 'header "X-Null": expected text, found null'),
        ({"headers": {"X-List": ["a"]}}, "found a list"),
        ({"headers": {"Bad Name": "x"}}, "is no name of a header"),
        ({"headers": {"Content-Length": "5"}}, "is set by the client itself"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "is set by the client itself"),
        ({"auth": ("bearer", "${input.bad}")}, "holds a line break"),
        ({"auth": ("basic", "a:b", "c")}, "cannot hold a colon"),
        ({"idempotency_key": "${input.bad}"}, 'header "Idempotency-Key" holds a line break'),
        ({"json": {"a": "\ud800"}}, "half of a surrogate pair"),
        ({"form": {"a": "\ud800"}}, "half of a surrogate pair"),
        ({"form": {"a": {"b": 1}}}, "form.a: expected text, found a mapping"),
        ({"form": ["a"]}, "form: expected a mapping, found a list"),
        ({"query": {"a": {"b": 1}}}, "query.a: expected text"),
        ({"text": ["a"]}, "text: expected text, found a list"),
        ({"json": {}, "correction": {"url": "http://evil"}}, '"url" cannot be corrected here, only json and query'),
        ({"json": {}, "correction": {"headers": {}}}, '"headers" cannot be corrected'),
        ({"json": {}, "correction": {"auth": {}}}, '"auth" cannot be corrected'),
        ({"form": {}, "correction": {"json": {}}}, '"json" cannot be corrected here, only form and query'),
        ({"text": "x", "correction": {"text": 5}}, "request.text: expected text, found a number"),
        ({"json": {}, "correction": []}, "request: expected a mapping, found a list"),
    ],
)
async def test_what_may_not_go_over_the_wire_is_refused_before_anything_is_sent(
    options: dict[str, Any], says: str
) -> None:
    input = {"bad": "a\r\nX-Injected: 1"}  # noqa: A001
    async with bench() as b:
        error = await b.failed("/echo", "POST", input=input, **options)
        assert b.service.calls == []
    assert (error.code, error.in_doubt, error.retryable) == ("invalid_request", False, False), error
    assert says in error.message
    assert "Injected" not in error.message


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://user:pw@127.0.0.1/x", "holds credentials"),
        ("http://127.0.0.1:99999/x", "cannot be read"),
        ("${input.relative}", "must begin with http"),
        ("http://127.0.0.1/a/${input.up}/b", 'holds "." or ".."'),
        ("http://127.0.0.1/a/%2E%2e", 'holds "." or ".."'),
    ],
)
async def test_a_url_that_cannot_be_meant_is_refused(url: str, says: str) -> None:
    async with bench() as b:
        error = await b.failed(url, "POST", input={"relative": "/x", "up": ".."})
    assert (error.code, error.in_doubt) == ("invalid_request", False), error
    assert says in error.message
    assert "pw" not in str(error)


async def test_an_expression_that_fails_is_definite_and_not_retried() -> None:
    async with bench() as b:
        error = await b.failed("/ok", "POST", json={"a": "${input.nope}"}, input={})
        assert b.service.calls == []
    assert (error.code, error.in_doubt, error.retryable) == ("expression", False, False)
    assert "input.nope" in error.message


async def test_a_success_expression_that_fails_leaves_the_effect_in_doubt() -> None:
    async with bench() as b:
        error = await b.failed("/ok", "POST", success="result.body.nope == 1")
    assert (error.code, error.in_doubt, error.status) == ("expression", True, 200)


@pytest.mark.parametrize(("status", "in_doubt"), [(200, False), (409, False), (503, True)])
async def test_an_answer_that_the_authors_expression_turns_down_is_a_refusal_unless_it_is_5xx(
    status: int, in_doubt: bool
) -> None:
    async with bench() as b:
        error = await b.failed(f"/status/{status}", "POST", success="result.status == 201")
    assert (error.code, error.in_doubt) == (f"http_{status}", in_doubt)


async def test_a_success_code_that_was_not_listed_leaves_the_effect_in_doubt() -> None:
    async with bench() as b:
        error = await b.failed("/status/200", "POST", success=("201",))
    assert (error.code, error.in_doubt, error.retryable) == ("http_200", True, False)


async def test_a_bomb_is_not_unpacked() -> None:
    """200 KB that become 200 MB: reading stops at the limit, and the memory is never taken."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with bench() as b:
        error = await b.failed("/gzip-bomb")
    assert error.code == "answer_too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


async def test_response_none_does_not_wait_for_a_body() -> None:
    async with bench() as b:
        for path in ("/drip", "/huge-declared", "/short"):
            assert (await b.completed(path, "POST", response="none", timeout=5.0))["body"] is None


async def test_a_cancelled_attempt_ends_at_once_and_gives_its_connection_up() -> None:
    async with bench() as b:
        task = asyncio.create_task(b.attempt("/hang", "POST"))
        await b.service.arrived(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await b.completed("/ok")
        assert b.service.connections == 2
