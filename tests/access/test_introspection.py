"""Tokens that only their issuer can read."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from mcp_workflows.access.fetching import Server
from mcp_workflows.access.introspection import GOOD_FOR, Introspection
from mcp_workflows.access.token_file import new_token
from mcp_workflows.errors import IdentityUnknown
from tests.access.issuer import NOW, Issuer
from tests.services.scripted import Answer, scripted

pytestmark = pytest.mark.anyio


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with scripted() as service:
        made = Issuer(service)
        service.on("/introspect", Answer(body={"active": True, **made.claims()}))
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tokens(issuer: Issuer, clock: Clock) -> AsyncIterator[Introspection]:
    made = Introspection(Server(), f"{issuer.name}/introspect", ("us:too", "s3 cr+t="), issuer.reading, clock)
    yield made
    await made.close()


async def test_the_issuer_is_asked_with_our_credentials_and_says_whom_it_names(
    issuer: Issuer, tokens: Introspection
) -> None:
    found = await tokens.principal("opaque")
    assert found is not None
    assert (found.actor, found.may_start("x")) == ("anna", True)
    (asked,) = issuer.service.made("/introspect")
    assert parse_qs(asked.body.decode())["token"] == ["opaque"]
    assert asked.headers["authorization"] == f"Basic {base64.b64encode(b'us%3Atoo:s3+cr%2Bt%3D').decode()}"


@pytest.mark.parametrize(
    "answer",
    [
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {},
        {"aud": "https://other.example/mcp"},
        {"aud": None},
        {"exp": int(NOW.timestamp()) - 60},
        {"exp": None},
        {"iss": "https://evil.example"},
        {"sub": None},
    ],
)
async def test_what_is_not_active_for_us_now_names_nobody(
    issuer: Issuer, tokens: Introspection, answer: dict[str, Any]
) -> None:
    told = {"active": True, **issuer.claims(**answer)} if "active" not in answer and answer else answer
    issuer.service.on("/introspect", Answer(body=told))
    assert await tokens.principal("opaque") is None


async def test_an_answer_is_good_for_half_a_minute_and_not_longer(
    issuer: Issuer, tokens: Introspection, clock: Clock
) -> None:
    for _ in range(5):
        assert await tokens.principal("opaque") is not None
    assert len(issuer.service.made("/introspect")) == 1
    issuer.service.on("/introspect", Answer(body={"active": False}))
    clock.now += GOOD_FOR - timedelta(seconds=1)
    assert await tokens.principal("opaque") is not None
    clock.now += timedelta(seconds=1)
    assert await tokens.principal("opaque") is None


async def test_an_answer_is_not_good_beyond_the_token_s_own_end(
    issuer: Issuer, tokens: Introspection, clock: Clock
) -> None:
    told = {"active": True, **issuer.claims(exp=int(NOW.timestamp()) - 5)}
    issuer.service.on("/introspect", Answer(body=told))
    assert await tokens.principal("opaque") is not None, "within what clocks may differ"
    clock.now += timedelta(seconds=6)
    assert await tokens.principal("opaque") is None
    assert len(issuer.service.made("/introspect")) == 2


async def test_while_the_issuer_does_not_answer_nobody_is_let_in_and_nothing_is_remembered(
    issuer: Issuer, tokens: Introspection
) -> None:
    for answer in (Answer(401), Answer(500), Answer(body=b"<html>")):
        issuer.service.on("/introspect", answer)
        with pytest.raises(IdentityUnknown):
            await tokens.principal("opaque")
    issuer.service.on("/introspect", Answer(body={"active": True, **issuer.claims()}))
    assert await tokens.principal("opaque") is not None


async def test_a_token_of_the_file_is_shown_to_nobody(issuer: Issuer, tokens: Introspection) -> None:
    assert await tokens.principal(new_token()) is None
    assert not issuer.service.made("/introspect")


async def test_made_up_tokens_do_not_keep_the_issuer_from_those_that_were_good(
    issuer: Issuer, tokens: Introspection, clock: Clock
) -> None:
    assert await tokens.principal("opaque") is not None
    let_go, at_once, most = asyncio.Event(), 0, 0

    async def answer(body: bytes) -> Answer:
        nonlocal at_once, most
        if b"made-up" not in body:
            return Answer(body={"active": True, **issuer.claims()})
        at_once += 1
        most = max(most, at_once)
        await let_go.wait()
        at_once -= 1
        return Answer(body={"active": False})

    issuer.service.act("/introspect", answer)
    made_up = [asyncio.create_task(tokens.principal(f"made-up {number}")) for number in range(300)]
    await issuer.service.called("/introspect", 1 + 20)
    clock.now += GOOD_FOR
    assert await tokens.principal("opaque") is not None
    let_go.set()
    found = await asyncio.gather(*made_up, return_exceptions=True)
    assert most == 20
    assert [one for one in found if one is None] == [None] * 200
    assert all(isinstance(one, IdentityUnknown) for one in found if one is not None)
