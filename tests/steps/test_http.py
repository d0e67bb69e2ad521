"""What an http step sends, and what it makes of a good answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_workflows.engine.outcome import Completed, Failed
from tests.steps.calls import bench, body_path

pytestmark = pytest.mark.anyio


async def test_the_result_is_status_headers_and_body() -> None:
    async with bench() as b:
        result = await b.completed("/ok")
    assert result == {
        "status": 200,
        "headers": {"content-length": "23", "content-type": "application/json"},
        "body": {"ok": True, "call": 1},
    }


async def test_header_names_are_lower_case_and_several_values_are_joined() -> None:
    async with bench() as b:
        result = await b.completed("/header?name=X-Odd&value=caf%C3%A9")
        latin = await b.completed("/header?name=X-Odd&value=caf%E9")
    assert result["headers"]["x-twice"] == "a, b"
    assert result["headers"]["x-odd"] == "café"
    assert latin["headers"]["x-odd"] == "café"


async def echo(method: str = "POST", path: str = "/echo", **options: Any) -> Any:
    async with bench(options.pop("secrets", None)) as b:
        result = await b.completed(path, method, **options)
        assert json.loads(json.dumps(result)) == result
        return result["body"]


async def test_json_is_rendered_from_expressions_with_absent_optionals_left_out() -> None:
    body = {"email": "${input.email}", "note": "${input.?note}", "lines": ["${input.n}", "${input.?note}"]}
    seen = await echo(json=body, input={"email": "a@b.de", "n": 12})
    assert json.loads(seen["body"]) == {"email": "a@b.de", "lines": [12]}
    assert seen["headers"]["content-type"] == "application/json"


async def test_form_fields_repeat_for_lists_and_null_leaves_one_out() -> None:
    seen = await echo(form={"a": ["1", 2, None], "b": None, "c": True, "d": "x y&z", "e": 1.5})
    assert seen["body"] == "a=1&a=2&c=true&d=x+y%26z&e=1.5"
    assert seen["headers"]["content-type"] == "application/x-www-form-urlencoded"


async def test_text_is_sent_as_utf8_and_the_authors_content_type_stands() -> None:
    seen = await echo(text="grüß dich", headers={"content-type": "text/csv"})
    assert seen["body"].encode("latin-1").decode() == "grüß dich"
    assert seen["headers"]["content-type"] == "text/csv"


async def test_query_parameters_are_encoded_and_added_to_those_of_the_url() -> None:
    seen = await echo(
        "GET", "/echo?fixed=1", query={"tag": ["a b", "c&d", None], "none": None, "yes": True, "plus": "1+1"}
    )
    assert seen["target"] == "/echo?fixed=1&tag=a+b&tag=c%26d&yes=true&plus=1%2B1"


async def test_inserted_pieces_cannot_leave_their_place_in_the_path() -> None:
    seen = await echo("GET", "/echo/${input.id}/x", input={"id": "../a b/ä?x=1#y"})
    assert seen["target"] == "/echo/..%2Fa%20b%2F%C3%A4%3Fx%3D1%23y/x"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_every_method_but_get_and_head_carries_the_idempotency_key(method: str) -> None:
    seen = await echo(method, key="r_1:charge:7")
    assert seen["method"] == method
    assert seen["headers"]["idempotency-key"] == "r_1:charge:7"


async def test_get_and_head_carry_no_idempotency_key() -> None:
    assert "idempotency-key" not in (await echo("GET"))["headers"]
    async with bench() as b:
        await b.completed("/echo", "HEAD")
        assert "idempotency-key" not in b.service.calls[0].headers


async def test_the_author_may_give_another_key_or_none() -> None:
    other = await echo(idempotency_key="order-${input.order}", input={"order": 5})
    assert other["headers"]["idempotency-key"] == "order-5"
    assert "idempotency-key" not in (await echo(idempotency_key=False))["headers"]


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (("bearer", "${secrets.TOKEN}"), "authorization", "Bearer [secret TOKEN]"),
        (("basic", "ada", "l0velace!"), "authorization", "Basic YWRhOmwwdmVsYWNlIQ=="),
        (("header", "X-Api-Key", "${secrets.TOKEN}"), "x-api-key", "[secret TOKEN]"),
    ],
)
async def test_credentials_are_sent_and_never_come_back(auth: tuple[str, ...], name: str, value: str) -> None:
    async with bench({"TOKEN": "t0p-secret-value"}) as b:
        result = await b.completed("/echo", "POST", auth=auth)
        assert "t0p-secret-value" in b.service.calls[0].headers[name] or "TOKEN" not in value
    assert result["body"]["headers"][name] == value


async def test_a_header_without_a_value_is_left_out_and_numbers_are_written_as_json() -> None:
    seen = await echo(headers={"X-None": "${input.?none}", "X-Number": "${input.n}", "X-Yes": True}, input={"n": 12})
    assert "x-none" not in seen["headers"]
    assert seen["headers"]["x-number"] == "12"
    assert seen["headers"]["x-yes"] == "true"


async def test_the_authors_headers_replace_the_clients_own() -> None:
    seen = await echo(headers={"user-agent": "shop/1", "ACCEPT": "text/csv"})
    assert seen["headers"]["user-agent"] == "shop/1"
    assert seen["headers"]["accept"] == "text/csv"


async def test_a_post_without_body_says_that_it_is_empty() -> None:
    seen = await echo("POST")
    assert seen["headers"]["content-length"] == "0"
    assert "content-type" not in seen["headers"]


async def test_a_correction_is_merged_into_body_and_query() -> None:
    seen = await echo(
        path="/echo?fixed=1",
        json={"order": "o1", "address": {"zip": "1", "city": "X"}, "wrong": 1},
        query={"status": "2OO"},
        correction={"json": {"address": {"zip": "10115"}, "wrong": None}, "query": {"status": "200"}},
    )
    assert json.loads(seen["body"]) == {"order": "o1", "address": {"zip": "10115", "city": "X"}}
    assert seen["target"] == "/echo?fixed=1&status=200"


async def test_a_correction_replaces_a_text_and_merges_a_form() -> None:
    assert (await echo(text="wrong", correction={"text": "right"}))["body"] == "right"
    assert (await echo(form={"a": 1, "b": 2}, correction={"form": {"b": 3}}))["body"] == "a=1&b=3"


async def test_query_may_be_corrected_where_the_author_gave_none() -> None:
    assert (await echo("GET", correction={"query": {"page": 2}}))["target"] == "/echo?page=2"


@pytest.mark.parametrize(
    ("success", "status", "good"),
    [
        (("2xx",), 201, True),
        (("200",), 201, False),
        (("2xx", "404"), 404, True),
        ("result.status == 409 || result.status < 300", 409, True),
        ('result.body.error.startsWith("nothing")', 200, False),
    ],
)
async def test_success_is_a_list_of_codes_and_classes_or_an_expression(success: Any, status: int, good: bool) -> None:
    async with bench() as b:
        outcome = await b.attempt(f"/status/{status}", "POST", success=success)
    assert isinstance(outcome, Completed if good else Failed)


async def test_an_answer_without_a_body_is_null() -> None:
    async with bench() as b:
        assert (await b.completed("/status/204", "DELETE"))["body"] is None
        assert (await b.completed(body_path(b" \n")))["body"] is None
        assert (await b.completed("/echo", "HEAD"))["body"] is None


@pytest.mark.parametrize(
    ("content", "content_type", "mode", "expected"),
    [
        (b'{"a": [1, 2.5, null]}', "application/json", "auto", {"a": [1, 2.5, None]}),
        (b'{"a": 1}', "application/problem+json; charset=utf-8", "auto", {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', "application/json", "auto", {"a": 1}),
        (b'{"a": 1}', "", "auto", {"a": 1}),
        (b'{"a": 1}', "text/plain", "auto", '{"a": 1}'),
        (b'{"a": 1}', "text/plain", "json", {"a": 1}),
        (b'{"a": 1}', "application/json", "text", '{"a": 1}'),
        (b'{"a": 1}', "application/json", "none", None),
        (b"caf\xe9", "text/plain; charset=ISO-8859-1", "auto", "café"),
        ('"grün"'.encode("utf-16"), "application/json; charset=utf-16", "auto", "grün"),
        (b"12", "", "auto", "12"),
        (b"\xff\xfe\x00", "application/octet-stream", "none", None),
        (
            b'{"n": 9223372036854775807, "m": -9223372036854775808}',
            "application/json",
            "auto",
            {"n": 2**63 - 1, "m": -(2**63)},
        ),
        (b'{"x": 1.7976931348623157e308}', "application/json", "auto", {"x": 1.7976931348623157e308}),
        (b'{"smile": "\\ud83d\\ude00"}', "application/json", "auto", {"smile": "😀"}),
        (b"[" * 64 + b"]" * 64, "application/json", "json", json.loads("[" * 64 + "]" * 64)),
        (b"[" + b"[1]," * 200 + b"[1]]", "application/json", "json", [[1]] * 201),
    ],
)
async def test_bodies_are_read_as_the_content_type_or_the_author_says(
    content: bytes, content_type: str, mode: str, expected: Any
) -> None:
    async with bench() as b:
        assert (await b.completed(body_path(content, content_type), response=mode))["body"] == expected


async def test_http_1_0_is_understood() -> None:
    async with bench() as b:
        assert (await b.completed("/http10"))["body"] == {"version": "1.0"}


async def test_connections_are_kept_and_used_again() -> None:
    async with bench() as b:
        for _ in range(5):
            await b.completed("/ok", "POST")
        assert b.service.connections == 1


async def test_an_answer_of_just_the_largest_size_is_kept() -> None:
    content = json.dumps("x" * 998).encode()
    async with bench(max_answer_bytes=1000) as b:
        assert len((await b.completed(body_path(content)))["body"]) == 998


async def test_a_large_request_goes_out_whole() -> None:
    async with bench() as b:
        await b.completed("/ok", "POST", json={"text": "${input.text}"}, input={"text": "x" * 2_500_000})
        assert len(b.service.calls[0].body) == 2_500_011
