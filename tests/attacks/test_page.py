"""The page on which people decide: guessing tokens and links, floods, redirects, and what no browser would send."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx2
import pytest

from mcp_workflows.access.rate import Rate
from mcp_workflows.access.token_file import new_token
from mcp_workflows.web.pages import LOGINS_PER_MINUTE
from tests.attacks.wire import wire
from tests.mcp_server.actors import Actors
from tests.web.place import decide, desk, form_token, heading, visitor

pytestmark = pytest.mark.anyio

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TREE = """
name: tree
description: Asks for something that may hold itself again and again.
mcp: {wait: 20s}
steps:
  - id: ask
    approval:
      message: What does it look like?
      form:
        properties: {tree: {$ref: "#/$defs/tree"}}
        $defs: {tree: {type: array, items: {$ref: "#/$defs/tree"}}}
output: ${steps.ask.output}
"""


async def test_tokens_are_tried_slowly_and_the_right_one_only_by_others(tmp_path: Path) -> None:
    actors = Actors(tmp_path, {"anna": ("workflows:approve",)})
    async with desk(tmp_path, actors=actors) as at, visitor() as thief:
        _, url = await at.asked()
        _, another = await at.asked(order="o2")
        tried = [(await login(thief, url, new_token())).status_code for _ in range(LOGINS_PER_MINUTE + 10)]
        assert tried == [401] * LOGINS_PER_MINUTE + [429] * 10
        late = await login(thief, url, actors.tokens["anna"])
        assert (late.status_code, heading(late)) == (429, "Too often")
        assert 1 <= int(late.headers["retry-after"]) <= 60 / LOGINS_PER_MINUTE
        assert heading(await login(thief, another, actors.tokens["anna"])).startswith("Refund order")


async def test_a_person_asks_no_more_often_than_an_agent_may(tmp_path: Path) -> None:
    actors = Actors(tmp_path, {"anna": ("workflows:approve",), "bert": ("workflows:approve",)})
    async with desk(tmp_path, actors=actors, rate=Rate(5)) as at, visitor() as anna, visitor() as bert:
        _, url = await at.asked()
        await login(anna, url, actors.tokens["anna"])
        assert [(await anna.get(url)).status_code for _ in range(10)] == [200] * 4 + [429] * 6
        assert heading(await login(bert, url, actors.tokens["bert"])).startswith("Refund order")


async def test_links_that_are_guessed_ask_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forged link is told from a genuine one by its signature: nothing is looked up, so nothing is learnt by its time."""
    async with desk(tmp_path) as at, visitor() as client:
        run_id, url = await at.asked()
        link = url.rpartition("/")[2]
        parts = link.split(".")

        async def nobody(*_arguments: object, **_options: object) -> None:
            pytest.fail("it was looked up")

        monkeypatch.setattr(at.here.app.runs, "asked", nobody)
        guesses = [
            f"{parts[0]}.{parts[1]}.{'A' * len(parts[2])}", f"{parts[0]}.{parts[1]}.", f"{parts[0]}.{parts[1]}",
            f"r_{'0' * 26}.{parts[1]}.{parts[2]}", link + "=", link.lower(), link[:-1], link + "%00",
            "%2e%2e", "%2e%2e%2fstyle.css", "x" * 5000, "%ff%fe", "..", ".", "%c3%a9", f"{link}%0d%0aSet-Cookie:%20x=y", run_id,
        ]  # fmt: skip
        for guess in guesses:
            for answer in (
                await client.get(f"{at.base}/a/{guess}"),
                await client.post(f"{at.base}/a/{guess}", data={"decision": "approved"}),
                await client.post(f"{at.base}/a/{guess}", data={"action": "login", "token": "x"}),
            ):
                assert answer.status_code == 404, guess
                assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "place", ["https:evil.example", "%5c%5cevil.example", "javascript:alert(1)", "%2f%2fevil.example"]
)
async def test_no_redirect_leads_elsewhere(tmp_path: Path, place: str) -> None:
    async with desk(tmp_path, actors=Actors(tmp_path, {})) as at, wire(at.base) as raw:
        for action in (b"action=logout", b"action=login&token=x", b"decision=approved"):
            raw.request(action, FORM, path=f"/a/{place}")
            status, body = await raw.answer()
            assert status == 404
            assert b"evil" not in body


@pytest.mark.parametrize("depth", [60, 500, 900, 100_000])
async def test_a_form_that_is_nested_too_deeply_is_refused_beside_its_field(tmp_path: Path, depth: int) -> None:
    async with desk(tmp_path, text=TREE) as at, visitor() as client:
        run_id, url = await at.asked("tree")
        given = {"decision": "approved", "form.tree": "[" * depth + "]" * depth}
        answer = await decide(client, url, **given)
        if depth == 60:
            assert heading(answer) == "Approved"
            assert json.dumps((await at.result(run_id))["form"]["tree"]).count("[") == 60
            return
        assert answer.status_code == 422
        assert not (await at.here.app.runs.trace(run_id, actor=None)).messages


async def test_bodies_that_no_browser_sends_decide_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, visitor() as client:
        run_id, url = await at.asked()
        token = form_token(await client.get(url))
        good = f"form_token={token}&decision=rejected"
        many = good + "".join(f"&form.x{number}=1" for number in range(5000))
        for body, headers in (
            (many.encode(), FORM),
            (good.encode(), {"Content-Type": "multipart/form-data; boundary=x"}),
            (good.encode(), {**FORM, "Content-Length": "", "Transfer-Encoding": "chunked"}),
            (f"form_token={token}&decision=approved\x00".encode(), FORM),
            (f"form_token={token}&decision=approved&decision=rejected&form_token=x".encode(), FORM),
            (b"\xff\xfe&&&===", FORM),
        ):
            async with wire(at.base) as raw:
                if "Transfer-Encoding" in headers:
                    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
                raw.request(body, headers, path=url.removeprefix(at.base))
                status, _ = await raw.answer()
                assert status in {413, 422}, body[:80]
        assert not (await at.here.app.runs.trace(run_id, actor=None)).messages


async def test_a_hundred_decisions_at_once_are_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, visitor() as client:
        run_id, url = await at.asked()
        given = {"form_token": form_token(await client.get(url)), "decision": "rejected"}
        answers = await asyncio.gather(*(client.post(url, data=given) for _ in range(100)))
        assert {heading(answer) for answer in answers} <= {"Rejected", "Somebody was faster"}
        assert len((await at.here.app.runs.trace(run_id, actor=None)).messages) == 1


async def login(client: httpx2.AsyncClient, url: str, token: str) -> httpx2.Response:
    return await client.post(url, data={"action": "login", "token": token})
