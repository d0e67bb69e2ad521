"""Which addresses may be spoken to, in every spelling, and on the socket that is really connected."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from mcp_workflows.steps.guard import AddressBlocked, Guard
from tests.steps.calls import bench

FORBIDDEN = [
    "http://169.254.169.254/",
    "http://169.254.0.1:8080/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[febf::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fd20:ce::254]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://2852039166/",
    "http://0xA9FEA9FE/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://169.254.169.254./",
    "http://2130706433/",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_link_local_and_metadata_addresses_are_refused_in_every_spelling(url: str) -> None:
    with pytest.raises(AddressBlocked):
        Guard().check_url(URL(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8900/",
        "http://[::1]/",
        "https://example.com/",
        "http://10.1.2.3/",
        "http://1.2.3.4/",
        "http://a.0x1f.example/",
    ],
)
def test_other_addresses_are_allowed(url: str) -> None:
    Guard().check_url(URL(url))


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "file:///etc/passwd", "ws://example.com/", "unix:///var/run/docker.sock"]
)
def test_only_http_and_https_are_spoken(url: str) -> None:
    with pytest.raises(AddressBlocked):
        Guard().check_url(URL(url))


@pytest.mark.parametrize(
    ("allowed", "url", "good"),
    [
        ("api.example.com", "https://api.example.com/x", True),
        ("API.example.com", "https://Api.Example.COM/", True),
        ("api.example.com", "https://api.example.com./", True),
        ("api.example.com", "https://evil.com/", False),
        ("api.example.com", "https://api.example.com.evil.com/", False),
        ("*.example.com", "https://a.b.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://badexample.com/", False),
        ("api.example.com:8443", "https://api.example.com:8443/", True),
        ("api.example.com:8443", "https://api.example.com/", False),
        ("127.0.0.1", "http://127.0.0.1:1234/", True),
        ("127.0.0.1:80", "http://127.0.0.1:1234/", False),
        ("10.0.0.0/8", "http://10.9.8.7/", True),
        ("10.0.0.0/8", "http://11.0.0.1/", False),
        ("[::1]:80", "http://[::1]/", True),
        ("::1", "http://[::1]:9/", True),
        ("bücher.example", "http://bücher.example/", True),
    ],
)
def test_allowed_hosts_are_names_patterns_addresses_and_networks(allowed: str, url: str, good: bool) -> None:
    guard = Guard([allowed])
    if good:
        guard.check_url(URL(url))
    else:
        with pytest.raises(AddressBlocked):
            guard.check_url(URL(url))


def test_naming_an_address_lifts_its_refusal_and_naming_a_host_does_not() -> None:
    Guard(["169.254.169.254"]).check_url(URL("http://169.254.169.254/"))
    Guard(["169.254.169.254"]).check_url(URL("http://[::ffff:169.254.169.254]/"))
    with pytest.raises(AddressBlocked):
        Guard(["169.254.169.254"]).check_url(URL("http://169.254.169.253/"))


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Every lookup gives the next of ``answers``, the last one for ever."""
    left = list(answers)

    async def resolve(_self: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            ResolveResult(hostname=host, host=a, port=port, family=socket.AF_INET, proto=0, flags=0) for a in addresses
        ]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "addresses", [["169.254.169.254"], ["127.0.0.1", "169.254.169.254"], ["::ffff:169.254.169.254"]]
)
async def test_a_name_that_leads_to_a_metadata_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    resolve_to(monkeypatch, addresses)
    async with bench() as b:
        error = await b.failed("http://innocent.example/", "POST")
    assert (error.code, error.in_doubt, error.retryable) == ("blocked_address", False, False)
    assert 'host "innocent.example"' in error.message


@pytest.mark.anyio
async def test_the_address_that_is_really_connected_to_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a resolver that lets everything pass does not open the way: DNS rebinding gains nothing."""
    resolve_to(monkeypatch, ["169.254.169.254"])
    monkeypatch.setattr("mcp_workflows.steps.pool.GuardedResolver", lambda _guard: ThreadedResolver())  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    async with bench() as b:
        error = await b.failed("http://innocent.example/", "POST")
    assert (error.code, error.in_doubt) == ("blocked_address", False)


@pytest.mark.anyio
async def test_a_blocked_address_is_named_with_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as b:
        error = await b.failed("http://169.254.169.254/latest/meta-data/", "GET")
    assert error.message == (
        "GET /latest/meta-data/ was not sent: 169.254.169.254 is a link-local or metadata address, which is refused"
    )


@pytest.mark.anyio
async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    async with bench() as b:
        await b.completed("/ok")
