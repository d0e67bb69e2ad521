"""JWTs: those that are taken, and the many ways in which one can be false."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import jwt
import pytest

from mcp_workflows.access import fetching
from mcp_workflows.access.fetching import Server
from mcp_workflows.access.jwt_tokens import JwtTokens
from mcp_workflows.access.keys import APART_SECONDS, FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS, Keys
from mcp_workflows.errors import IdentityUnknown
from tests.access.issuer import AUDIENCE, NOW, Issuer, jwk, key, part
from tests.services.scripted import Answer, scripted

pytestmark = pytest.mark.anyio

EPOCH = int(NOW.timestamp())


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with scripted() as service:
        yield Issuer(service)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tokens(issuer: Issuer, clock: Clock) -> AsyncIterator[JwtTokens]:
    made = JwtTokens(Keys(Server(), issuer.name, None, clock), issuer.reading, lambda: NOW)
    yield made
    await made.close()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_of_the_issuer_names_its_actor_and_what_it_allows(
    issuer: Issuer, tokens: JwtTokens, algorithm: str
) -> None:
    found = await tokens.principal(issuer.token(algorithm))
    assert found is not None
    assert (found.actor, found.scopes) == ("anna", {"workflows:run", "workflows:read"})
    assert found.expires_at is not None


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example/mcp"},
        {"aud": ["https://other.example/mcp", "account"]},
        {"aud": None},
        {"aud": AUDIENCE + "/more"},
        {"aud": {"a": AUDIENCE}},
        {"aud": ""},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": EPOCH - 11},
        {"exp": None},
        {"exp": "never"},
        {"exp": True},
        {"exp": 1e300},
        {"nbf": EPOCH + 60},
        {"nbf": "soon"},
        {"sub": None},
        {"sub": ""},
        {"sub": "local"},
        {"sub": "cli:root"},
        {"sub": "web:local"},
        {"sub": "a\nb"},
        {"sub": " anna"},
        {"sub": "x" * 201},
    ],
)
async def test_a_token_for_another_server_of_another_issuer_or_out_of_time_names_nobody(
    issuer: Issuer, tokens: JwtTokens, claims: dict[str, Any]
) -> None:
    assert await tokens.principal(issuer.token()) is not None
    assert await tokens.principal(issuer.token(**claims)) is None


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"aud": [AUDIENCE, "other"]}, {"workflows:run", "workflows:read"}),
        ({"exp": EPOCH - 5}, {"workflows:run", "workflows:read"}),
        ({"nbf": EPOCH + 5}, {"workflows:run", "workflows:read"}),
        ({"scope": None}, set[str]()),
        ({"scope": None, "scp": ["workflows:read", "x", 3]}, {"workflows:read"}),
        ({"scope": "workflows:run:nightly workflows:rule"}, {"workflows:run:nightly", "workflows:read"}),
        ({"scope": ["no", "list"]}, {"workflows:never"} - {"workflows:never"}),
    ],
)
async def test_what_is_said_in_another_way_is_understood(
    issuer: Issuer, tokens: JwtTokens, claims: dict[str, Any], scopes: set[str]
) -> None:
    found = await tokens.principal(issuer.token(**claims))
    assert found is not None
    assert found.scopes == scopes


async def test_no_token_chooses_how_it_is_checked(issuer: Issuer, tokens: JwtTokens) -> None:
    claims = issuer.claims()
    public = json.dumps(issuer.keys[0]).encode()

    def signed_by(secret: bytes, header: dict[str, Any]) -> str:
        text = f"{part(header)}.{part(claims)}"
        return f"{text}.{part(hmac.digest(secret, text.encode(), 'sha256'))}"

    genuine = issuer.token()
    head, body, signature = genuine.split(".")
    more = part({**claims, "sub": "eve"})
    forged = [
        f"{part({'alg': 'none', 'kid': 'r'})}.{part(claims)}.",
        f"{part({'alg': 'None', 'kid': 'r'})}.{part(claims)}.{signature}",
        f"{part({'alg': 'none', 'kid': 'r'})}.{part(claims)}.{signature}",
        f"{part({'kid': 'r'})}.{part(claims)}.{signature}",
        f"{part({'alg': None, 'kid': 'r'})}.{part(claims)}.{signature}",
        f"{part({'alg': ['RS256'], 'kid': 'r'})}.{body}.{signature}",
        signed_by(public, {"alg": "HS256", "kid": "r"}),
        signed_by(issuer.keys[0]["n"].encode(), {"alg": "HS256", "kid": "r"}),
        signed_by(public, {"alg": "RS256", "kid": "r"}),
        f"{head}.{more}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-6]}AAAAAA",
        f"{head}.{body}",
        f"{head}.{body}.{signature}.{signature}",
        f"{part({'alg': 'RS256', 'kid': 'r', 'crit': ['exp']})}.{body}.{signature}",
        jwt.encode(claims, key("RS256"), "RS256", headers={"kid": "r", "crit": ["exp"]}),
        jwt.encode(claims, key("RS256"), "RS256", headers={"kid": "r", "typ": "dpop+jwt"}),
        "..", "", "a.b.c", f"{part([])}.{body}.{signature}", f"{part({'alg': 'RS256', 'kid': 7})}.{body}.{signature}",
        f"{part(b'{' * 5000)}.{body}.{signature}",
    ]  # fmt: skip
    assert await tokens.principal(genuine) is not None
    for token in forged:
        assert await tokens.principal(token) is None, token[:120]


async def test_a_key_that_is_not_the_issuer_s_signs_nothing(issuer: Issuer, tokens: JwtTokens) -> None:
    stranger = jwk("RS256", "r", 1)
    assert await tokens.principal(issuer.token(number=1)) is None, "it claims a known id, and is another key"
    assert await tokens.principal(issuer.token(number=1, kid="unknown")) is None
    for header in ({"jwk": stranger}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/c"}):
        token = jwt.encode(issuer.claims(), key("RS256", 1), "RS256", headers={"kid": "r", **header})
        assert await tokens.principal(token) is None


async def test_a_key_of_one_kind_checks_no_signature_of_another(issuer: Issuer, tokens: JwtTokens) -> None:
    assert await tokens.principal(issuer.token("ES256", kid="r")) is None
    assert await tokens.principal(issuer.token("RS256", kid="e")) is None
    issuer.keys[:] = [
        jwk("RS256", "same"), jwk("ES256", "same"), {"kty": "oct", "kid": "same", "k": part(b"secret" * 8)},
        jwk("RS256", "encrypting", use="enc"), jwk("RS256", "other", alg="PS256"), {"kty": "EC", "kid": "half"}, {},
    ]  # fmt: skip
    issuer.publish()
    fresh = JwtTokens(Keys(Server(), issuer.name, None, Clock()), issuer.reading, lambda: NOW)
    for algorithm in ("RS256", "ES256"):
        assert await fresh.principal(issuer.token(algorithm, kid="same")) is not None
    secret = jwt.encode(issuer.claims(), "secret" * 8, "HS256", headers={"kid": "same"})
    assert await fresh.principal(secret) is None
    assert await fresh.principal(issuer.token(kid="encrypting")) is None
    assert await fresh.principal(issuer.token(kid="other")) is None
    assert await fresh.principal(issuer.token("ES256", kid="half")) is None
    await fresh.close()


async def test_without_a_key_id_the_only_key_is_meant_and_no_other(issuer: Issuer, tokens: JwtTokens) -> None:
    token = jwt.encode(issuer.claims(), key("RS256"), "RS256")
    assert await tokens.principal(token) is None, "there are several"
    issuer.keys[:] = [jwk("RS256", "r")]
    issuer.publish()
    fresh = JwtTokens(Keys(Server(), issuer.name, None, Clock()), issuer.reading, lambda: NOW)
    assert await fresh.principal(token) is not None
    await fresh.close()


async def test_a_new_key_is_fetched_when_it_is_named_and_a_withdrawn_one_is_dropped(
    issuer: Issuer, tokens: JwtTokens, clock: Clock
) -> None:
    old, new = issuer.token(), issuer.token("RS256", kid="new", number=1)
    assert await tokens.principal(old) is not None
    issuer.keys[:] = [jwk("RS256", "new", 1)]
    issuer.publish()
    assert await tokens.principal(new) is None, "the issuer was asked a moment ago"
    clock.seconds += APART_SECONDS
    assert await tokens.principal(new) is not None
    assert await tokens.principal(old) is None
    issuer.keys[:] = []
    issuer.publish()
    clock.seconds += FRESH_SECONDS
    assert await tokens.principal(new) is None


async def test_made_up_key_ids_do_not_have_the_issuer_asked_for_each(
    issuer: Issuer, tokens: JwtTokens, clock: Clock
) -> None:
    for number in range(50):
        assert await tokens.principal(issuer.token(kid=f"made up {number}")) is None
        clock.seconds += 0.1
    assert len(issuer.service.made("/keys")) == 1


async def test_many_at_once_ask_the_issuer_once(issuer: Issuer, tokens: JwtTokens) -> None:
    found = await asyncio.gather(*(tokens.principal(issuer.token()) for _ in range(20)))
    assert all(found)
    assert len(issuer.service.made("/keys")) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500), Answer(302, headers={"Location": "/keys2"}), Answer(body=b"no json"), Answer(body=[]),
        Answer(body={"keys": "none"}), Answer(body=b'{"keys":[' + b" " * (1 << 20) + b"]}"), Answer(body=b"[" * 100_000),
    ],
)  # fmt: skip
async def test_while_the_keys_cannot_be_fetched_nobody_is_let_in(
    issuer: Issuer, tokens: JwtTokens, answer: Answer, clock: Clock
) -> None:
    issuer.service.on("/keys", answer)
    with pytest.raises(IdentityUnknown):
        await tokens.principal(issuer.token())
    issuer.publish()
    clock.seconds += RETRY_SECONDS
    assert await tokens.principal(issuer.token()) is not None


async def test_known_keys_are_good_for_an_hour_while_the_issuer_is_away(
    issuer: Issuer, tokens: JwtTokens, clock: Clock
) -> None:
    assert await tokens.principal(issuer.token()) is not None
    issuer.service.on("/keys", Answer(503))
    clock.seconds += STALE_SECONDS - 1
    assert await tokens.principal(issuer.token()) is not None
    clock.seconds += 1
    with pytest.raises(IdentityUnknown, match="answers 503"):
        await tokens.principal(issuer.token())


async def test_an_issuer_that_is_away_is_not_asked_for_each_token(
    issuer: Issuer, tokens: JwtTokens, clock: Clock
) -> None:
    """Neither before its keys are known, when nobody is let in, nor after, when known keys are good and nobody waits."""
    issuer.service.on("/keys", Answer(503))
    for _ in range(50):
        with pytest.raises(IdentityUnknown, match="answers 503"):
            await tokens.principal(issuer.token())
        clock.seconds += RETRY_SECONDS / 25
    assert len(issuer.service.made("/keys")) == 2
    issuer.publish()
    clock.seconds += RETRY_SECONDS
    assert await tokens.principal(issuer.token()) is not None
    issuer.service.on("/keys", Answer(503))
    clock.seconds += FRESH_SECONDS
    for number in range(50):
        assert await tokens.principal(issuer.token()) is not None
        with pytest.raises(IdentityUnknown, match="answers 503"):
            await tokens.principal(issuer.token(kid=f"made up {number}"))  # it could be a new one
        clock.seconds += APART_SECONDS / 100
    assert len(issuer.service.made("/keys")) == 4


async def test_an_issuer_that_is_away_is_told_of_once_and_when_it_is_back(
    issuer: Issuer, tokens: JwtTokens, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.service.on("/keys", Answer(503))
    for _ in range(5):
        with pytest.raises(IdentityUnknown):
            await tokens.principal(issuer.token())
        clock.seconds += RETRY_SECONDS
    issuer.publish()
    await tokens.principal(issuer.token())
    whose = f"the keys of {issuer.name}"
    assert caplog.messages == [f"{whose}: {issuer.name}/keys answers 503.", f"{whose}: all is well again"]


async def test_an_issuer_that_answers_byte_by_byte_is_not_waited_for(
    issuer: Issuer, tokens: JwtTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 0.3)

    over = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.transport.abort()
        over.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    slow = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    keys = Keys(Server(), issuer.name, slow, Clock())
    with pytest.raises(IdentityUnknown, match=r"/keys has not answered within 0\.3 s"):
        await keys.named("r")
    await keys.close()
    await over.wait()
    server.close()


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "https://other.example/mcp"}, f"its aud is 'https://other.example/mcp', and not '{AUDIENCE}'"),
        ({"iss": "https://evil.example"}, "it is of 'https://evil.example', and not of "),
        ({"exp": EPOCH - 60}, f"it is good from 0 to {EPOCH - 60}, and now is {EPOCH}"),
        ({"exp": None}, "its exp is None"),
        ({"sub": "local"}, "its sub is 'local', which names no actor"),
    ],
)
async def test_whoever_looks_for_it_finds_in_the_log_why_a_token_is_refused(
    issuer: Issuer, tokens: JwtTokens, claims: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mcp_workflows")
    token = issuer.token(**claims)
    assert await tokens.principal(token) is None
    (message,) = caplog.messages
    assert message.startswith("a token is refused: " + why)
    assert token.split(".")[1] not in message


async def test_while_an_issuer_hangs_those_whose_key_is_known_do_not_wait(
    issuer: Issuer, tokens: JwtTokens, clock: Clock
) -> None:
    assert await tokens.principal(issuer.token()) is not None
    let_go = asyncio.Event()

    async def hang(_body: bytes) -> Answer:
        await let_go.wait()
        return Answer(503)

    issuer.service.act("/keys", hang)
    clock.seconds += FRESH_SECONDS
    first = asyncio.create_task(tokens.principal(issuer.token()))
    await issuer.service.called("/keys", 2)
    assert await tokens.principal(issuer.token()) is not None
    assert not first.done()
    let_go.set()
    assert await first is not None


async def test_metadata_of_another_issuer_is_not_believed(issuer: Issuer, tokens: JwtTokens, clock: Clock) -> None:
    told = {"issuer": "https://evil.example", "jwks_uri": f"{issuer.name}/keys"}
    issuer.service.on("/.well-known/oauth-authorization-server", Answer(body=told))
    issuer.service.on("/.well-known/openid-configuration", Answer(404))
    with pytest.raises(IdentityUnknown):
        await tokens.principal(issuer.token())
    clock.seconds += RETRY_SECONDS
    issuer.service.on("/.well-known/openid-configuration", Answer(body={**told, "issuer": issuer.name}))
    assert await tokens.principal(issuer.token()) is not None
