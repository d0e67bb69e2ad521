"""Redirects: followed by rule, each hop checked again, nothing confidential carried along."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.services.misbehaving import misbehaving
from tests.steps.calls import bench

pytestmark = pytest.mark.anyio


def to(url: str, status: int = 302) -> str:
    return f"/redirect/{status}?to={quote(url, safe='')}"


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (302, "PUT", "PUT"),
        (303, "POST", "GET"),
        (303, "DELETE", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
async def test_the_method_changes_as_rfc_9110_says(status: int, method: str, then: str) -> None:
    async with bench() as b:
        await b.completed(to("/echo", status), method, text=None if method == "HEAD" else "content", key="k")
        last = b.service.calls[-1]
    assert last.method == then
    kept = then == method and method != "HEAD"
    assert last.body == (b"content" if kept else b"")
    assert last.key == ("k" if kept and method != "GET" else None)
    assert ("content-type" in last.headers) == kept


async def test_relative_locations_count_from_where_they_stand() -> None:
    async with bench() as b:
        result = await b.completed(to("../echo?x=1#part"))
    assert result["body"]["target"] == "/echo?x=1"


async def test_five_redirects_are_followed_and_no_more() -> None:
    async with bench() as b:
        five = six = "/echo"
        for _ in range(5):
            five = to(five)
        six = to(five)
        assert (await b.completed(five))["body"]["target"] == "/echo"
        error = await b.failed(six)
        assert (error.code, error.in_doubt, error.retryable) == ("too_many_redirects", False, False)
        assert len(b.service.calls) == 6 + 6


async def test_a_failure_after_a_redirect_says_who_was_asked() -> None:
    async with bench() as b, misbehaving() as stranger:
        here = await b.failed(to("/status/404"), "POST")
        broken = await b.failed(to(to("/close-after", 307), 307), "POST")
        there = await b.failed(to(f"{stranger.url}/status/500?key=1", 307), "POST")
        unread = await b.failed(to("/garbage"), "POST")
    assert here.message.startswith("POST /redirect/302 (redirected to /status/404) answered 404")
    assert broken.message.startswith("POST /redirect/307 (redirected to /close-after): the connection broke")
    assert there.message.startswith(f"POST /redirect/307 (redirected to {stranger.url}/status/500) answered 500")
    assert "(redirected to /garbage): what came back is no HTTP" in unread.message


async def test_headers_of_the_author_and_credentials_stay_with_their_origin() -> None:
    headers = {"X-Api-Key": "${secrets.TOKEN}", "Cookie": "session=1", "X-Tenant": "acme"}
    async with bench({"TOKEN": "t0p-secret-value"}) as b, misbehaving() as stranger:
        for status in (302, 307):
            await b.completed(
                to(f"{stranger.url}/echo", status), "POST", headers=headers, auth=("bearer", "${secrets.TOKEN}")
            )
        await b.completed(to("/echo"), headers=headers, auth=("bearer", "${secrets.TOKEN}"))
    for call in stranger.calls:
        assert not {"authorization", "x-api-key", "cookie", "x-tenant"} & call.headers.keys()
        assert "t0p-secret-value" not in str(call)
    assert b.service.calls[-1].headers["authorization"] == "Bearer t0p-secret-value"


async def test_a_body_with_a_secret_goes_to_no_other_origin() -> None:
    async with bench({"TOKEN": "t0p-secret-value"}) as b, misbehaving() as stranger:
        error = await b.failed(to(f"{stranger.url}/echo", 307), "POST", json={"token": "${secrets.TOKEN}"})
        assert stranger.calls == []
    assert (error.code, error.in_doubt) == ("blocked_address", False)


async def test_credentials_in_a_location_are_not_used() -> None:
    async with bench() as b:
        url = b.service.url.replace("http://", "http://eve:pw@")
        result = await b.completed(to(f"{url}/echo"))
    assert "authorization" not in result["body"]["headers"]


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1:70/",
    ],
)
async def test_a_redirect_to_a_metadata_address_or_another_scheme_is_not_followed(target: str) -> None:
    async with bench() as b:
        error = await b.failed(to(target), "GET")
    assert (error.code, error.in_doubt, error.retryable, error.status) == ("blocked_address", False, False, 302)
    assert error.message.startswith("GET /redirect/302 answered 302, a redirect that is not followed: ")


async def test_a_redirect_to_a_host_that_is_not_allowed_is_not_followed() -> None:
    async with bench(http_allowed_hosts=("127.0.0.1",)) as b:
        port = b.service.url.rpartition(":")[2]
        error = await b.failed(to(f"http://localhost:{port}/echo"))
        assert len(b.service.calls) == 1
    assert error.code == "blocked_address"
    assert '"localhost" is not among the allowed hosts' in error.message


@pytest.mark.parametrize(("status", "in_doubt"), [(302, True), (303, True), (307, False), (308, False)])
async def test_whether_the_effect_is_in_doubt_after_a_redirect_that_fails(status: int, in_doubt: bool) -> None:
    """302 and 303 answer a POST: it was dealt with. 307 and 308 only say where to send it."""
    async with bench() as b:
        blocked = await b.failed(to("http://169.254.169.254/", status), "POST")
        refused = await b.failed(to("/status/404", status), "POST")
        nobody = await b.failed(to("http://127.0.0.1:1/", status), "POST")
    assert blocked.in_doubt == in_doubt
    assert refused.in_doubt == in_doubt
    assert nobody.in_doubt == in_doubt
    assert nobody.code == "connect"


async def test_a_redirect_without_or_with_an_unreadable_location_is_its_status() -> None:
    async with bench() as b:
        assert (await b.failed("/status/302")).code == "http_302"
        assert (await b.failed(to("http://[::1/"))).code == "http_302"


async def test_a_redirect_that_counts_as_success_is_not_followed() -> None:
    async with bench() as b:
        result = await b.completed(to("/echo"), success=("2xx", "302"))
    assert (result["status"], result["headers"]["location"]) == (302, "/echo")
