"""Requests that are answered by a call: the URL is good before they are sent, and it is kept like a secret."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mcp_workflows.definition.program import Callback, HttpWork
from mcp_workflows.steps.callback import CallbackTokens, Meant
from tests.services.scripted import Answer, scripted
from tests.steps.long import KEY, long_bench, work

pytestmark = pytest.mark.anyio

TOKENS = CallbackTokens(KEY)


def order(timeout: float | None = None, **more: Any) -> HttpWork:
    more.setdefault("json", {"notify": "${callback_url}"})
    return work("${vars.BASE}/orders", "POST", callback=Callback(timeout), **more)


async def test_a_step_is_parked_with_the_answer_until_it_is_called() -> None:
    async with long_bench() as b:
        b.service.on("/orders", Answer(202, {"order": "o1"}))
        parked = await b.parked(order(timeout=3600.0), number=3)
        assert (parked.wake_after, parked.expires_after) == (None, 3600.0)
        assert parked.note["attempt"] == 3
        assert parked.note["first"]["body"] == {"order": "o1"}
        assert (await b.parked(order())).expires_after is None


async def test_the_url_says_which_attempt_of_which_step_is_meant() -> None:
    async with long_bench(callback_base="https://workflows.example/prefix/") as b:
        b.service.on("/orders", Answer(202))
        await b.parked(order(), number=3, run_id="r_7", path="items[2].ship:compensate")
        url = json.loads(b.service.calls[0].body)["notify"]
    base, _, token = url.rpartition("/")
    assert base == "https://workflows.example/prefix/callbacks"
    assert TOKENS.read(token) == Meant("r_7", "items[2].ship:compensate", 3)


async def test_the_same_attempt_made_again_names_the_same_url() -> None:
    async with long_bench() as b:
        b.service.on("/orders", Answer(202))
        await b.parked(order())
        await b.restart()
        await b.parked(order())
        assert b.service.calls[0].body == b.service.calls[1].body


async def test_an_attempt_made_again_under_the_same_key_says_the_same() -> None:
    """A service that compares the two refuses a key that comes with another request."""
    async with long_bench() as b:
        b.service.on("/orders", Answer(202))
        for number in (1, 2, 5):
            await b.parked(order(), number=number, idempotency_key="r_1:charge")
        assert len({call.body for call in b.service.calls}) == 1
        corrected = {"number": 6, "idempotency_key": "r_1:charge:2"}
        await b.parked(order(), **corrected)
        assert b.service.calls[3].body != b.service.calls[0].body


async def test_the_url_may_stand_in_every_part_of_a_request() -> None:
    async with long_bench() as b:
        b.service.on("/orders", Answer(202))
        its = order(
            query={"cb": "${callback_url}"}, headers={"X-Callback": "${callback_url}"}, form={"u": "${callback_url}"}
        )
        await b.parked(its)
        call = b.service.calls[0]
    assert call.query["cb"] == call.headers["x-callback"]
    assert call.headers["x-callback"].startswith("https://workflows.example/callbacks/")


async def test_neither_a_note_nor_an_error_holds_the_token() -> None:
    async with long_bench({"TOKEN": "t0p-secret-value"}) as b:
        token = TOKENS.make("r_1", "charge", 1)
        url = f"https://workflows.example/callbacks/{token}"
        echo = {"request": {"notify": url}, "coded": base64.b64encode(url.encode()).decode(), "as": "t0p-secret-value"}
        b.service.on("/orders", Answer(202, echo), Answer(422, echo))
        parked = await b.parked(order())
        error = await b.failed(order())
        for told in (parked.note, error.to_json()):
            text = json.dumps(told)
            assert token not in text
            assert base64.b64encode(token.encode()).decode()[4:-6] not in text
            assert "t0p-secret-value" not in text
        assert error.request["json"] == {"notify": "https://workflows.example/callbacks/[secret callback_token]"}


async def test_a_refused_request_is_not_waited_for() -> None:
    async with long_bench() as b:
        b.service.on("/orders", Answer(422, {"error": "no"}), Answer(503))
        assert (await b.failed(order())).code == "http_422"
        assert (await b.failed(order())).retryable


@pytest.mark.parametrize("lacking", ["callback_base", "callback_tokens"])
async def test_a_process_that_nobody_can_call_sends_nothing(lacking: str) -> None:
    async with long_bench(**{lacking: None}) as b:
        error = await b.failed(order())
        assert (error.code, error.in_doubt, error.retryable, b.service.calls) == ("settings", False, False, [])


async def test_a_body_with_the_url_goes_to_no_other_origin() -> None:
    async with long_bench() as b, scripted() as stranger:
        b.service.on("/orders", Answer(307, None, {"Location": f"{stranger.url}/orders"}))
        assert (await b.failed(order())).code == "blocked_address"
        assert stranger.calls == []


def test_a_genuine_token_has_one_spelling_and_another_key_makes_none() -> None:
    token = TOKENS.make("r_1", "a[0].b", 2)
    payload, _, signature = token.partition(".")
    assert TOKENS.read(token) == Meant("r_1", "a[0].b", 2)
    other = CallbackTokens(b"o" * 32).make("r_1", "a[0].b", 2)
    last = signature[:-1] + ("A" if signature[-1] != "A" else "E")
    loose = signature[:-1] + chr(ord(signature[-1]) + 1)  # the same bytes but for bits that no byte has
    forged = _coded(["r_1", "a[0].b", 3])
    wrong = [
        other, "", ".", payload, f"{payload}.", f".{signature}", f"{payload}.{last}", f"{payload}.{loose}", f"{token}=",
        f"{payload}=.{signature}", f"{token}.", f" {token}", f"{token}\n", f"{forged}.{signature}", token.upper(), "é" * 9,
        f"{_coded(['r_1', 'a[0].b', True])}.{signature}", f"{_coded(['r_1', 'a[0].b'])}.{signature}", "A" * 100_000,
        f"{_coded({'run': 1})}.{signature}", f"{_raw(b'[' * 5000)}.{signature}", f"{_raw(b'[1,2,' + b'9' * 5000)}.x",
    ]  # fmt: skip
    assert [each for each in wrong if TOKENS.read(each) is not None] == []


def _coded(payload: Any) -> str:
    return _raw(json.dumps(payload, separators=(",", ":")).encode())


def _raw(payload: bytes) -> str:
    return base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
