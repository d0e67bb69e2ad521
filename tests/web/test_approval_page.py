"""The page on which a person decides: what it shows, what it takes, and that it takes it once."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from mcp import Client

from mcp_workflows.access.links import Links
from tests.mcp_server.actors import Actors
from tests.mcp_server.place import refused, told
from tests.web.place import REFUND, RIGHT, decide, desk, form_token, heading, visitor

pytestmark = pytest.mark.anyio

SMALL = """
name: small
description: Asks.
mcp: {wait: 20s}
steps:
  - id: ask
    approval: {message: "Well?"}
output: ${steps.ask.output}
"""


async def test_it_shows_what_is_asked_and_why_and_takes_a_decision_with_its_form(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, visitor() as client:
        run_id, url = await at.asked()
        page = await client.get(url)
        assert page.status_code == 200
        assert heading(page) == "Refund order o1 of Ada <b>Lovelace</b>?"
        assert "<b>Lovelace" not in page.text
        for text in (
            "Refund a customer",
            "asks a person how much is paid back",
            "anna",
            "✓",
            "240",
            run_id,
            "Decide before",
        ):
            assert text in page.text
        done = await decide(client, url, decision="approved", **RIGHT)
        assert done.status_code == 200
        assert heading(done) == "Approved"
        assert "as agreed" in done.text
        decision = (await at.result(run_id))["decision"]
        assert decision["form"] == {
            "amount": 120.5, "reason": "late", "urgent": True, "since": "2026-11-20", "letter": "Dear Ada,\nsorry.", "days": 3,
        }  # fmt: skip
        assert (decision["by"], decision["note"]) == ("web:local", "as agreed")
        told = re.findall(r"<dt[^>]*>(.*?)</dt><dd[^>]*>(.*?)</dd>", done.text, re.DOTALL)
        assert told == [
            ("Amount", "120.5"), ("Why", "late"), ("Urgent", "Yes"), ("Return arrived", "2026-11-20"),
            ("What to write to the customer", "Dear Ada,\nsorry."), ("Days", "3"),
        ]  # fmt: skip
        for text in ("Refund order o1 of Ada &lt;b&gt;Lovelace&lt;/b&gt;?", "Refund a customer", "anna", run_id):
            assert text in done.text, "what was decided is told with what was asked"
        (message,) = (await at.here.app.runs.trace(run_id, actor=None)).messages
        assert (message.actor, message.body["via"]) == ("web:local", "web")


async def test_what_is_wrong_is_said_beside_the_field_and_nothing_that_was_typed_is_lost(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, visitor() as client:
        run_id, url = await at.asked()
        given = {
            **RIGHT,
            "form.amount": "much",
            "form.since": "yesterday",
            "form.reason": "",
            "form.letter": "Dear <Ada>",
        }
        page = await decide(client, url, decision="approved", **given)
        assert page.status_code == 422
        for field, error in (
            ("amount", "Write a number, such as 2.5."), ("reason", "Please fill this in."), ("since", "is no date"),
        ):  # fmt: skip
            assert re.search(rf'id="f-{field}-error">.*{re.escape(error)}', page.text), field
        for kept in ('value="much"', 'value="yesterday"', "Dear &lt;Ada&gt;", "as agreed"):
            assert kept in page.text
        assert (await client.post(url, data={"form_token": form_token(page), "decision": ""})).status_code == 422
        assert not (await at.here.app.runs.trace(run_id, actor=None)).messages
        large = await decide(client, url, decision="approved", **{**RIGHT, "form.amount": "241"})
        assert "241 is too large, expected at most 240." in large.text


async def test_to_say_no_nothing_has_to_be_filled_in(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, visitor() as client:
        run_id, url = await at.asked()
        done = await decide(client, url, decision="rejected", note="no")
        assert heading(done) == "Rejected"
        (message,) = (await at.here.app.runs.trace(run_id, actor=None)).messages
        assert message.body["decision"] == "rejected"


async def test_the_second_answer_is_refused_and_told_whose_the_first_was(tmp_path: Path) -> None:
    async with desk(tmp_path, text=SMALL) as at, visitor() as client:
        run_id, url = await at.asked("small")
        pages = [await client.get(url) for _ in range(5)]
        answers = await asyncio.gather(
            *(
                client.post(url, data={"form_token": form_token(page), "decision": decision, "note": decision})
                for page, decision in zip(pages, ["approved", "rejected"] * 3, strict=False)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
        (message,) = (await at.here.app.runs.trace(run_id, actor=None)).messages
        word = str(message.body["decision"])
        for answer in answers:
            assert heading(answer) == word.capitalize()
            assert f"<bdi>web:local</bdi> {word} this on" in answer.text
        again = await client.get(url)
        assert (again.status_code, heading(again)) == (200, word.capitalize())


async def test_forged_and_unknown_links_lead_to_one_and_the_same_page(tmp_path: Path) -> None:
    async with desk(tmp_path, text=SMALL) as at, visitor() as client:
        run_id, url = await at.asked("small")
        token = url.rpartition("/")[2]
        parts = token.split(".")
        other = Links(b"x" * 32, at.base)
        forged = [
            other.token(run_id, "ask#1"), token[:-1] + ("A" if token[-1] != "A" else "B"), f"{parts[0]}.{parts[1]}.",
            f"r_{'0' * 26}.{parts[1]}.{parts[2]}", token + "=", token.upper(), "x", "a.b.c", token + "." + token,
        ]  # fmt: skip
        gone = [
            at.links.token(run_id, "ask#2"),
            at.links.token(run_id, "other#1"),
            at.links.token("r_" + "0" * 26, "ask#1"),
        ]
        seen = {
            (answer.status_code, answer.text)
            for one in [*forged, *gone]
            for answer in (
                await client.get(f"{at.base}/a/{one}"),
                await client.post(f"{at.base}/a/{one}", data={"a": "b"}),
            )
        }
        assert len(seen) == 1
        assert {status for status, _ in seen} == {404}
        assert not (await at.here.app.runs.trace(run_id, actor=None)).messages


async def test_a_genuine_link_tells_why_there_is_nothing_to_decide_any_more(tmp_path: Path) -> None:
    short = SMALL.replace(
        'message: "Well?"', 'message: "Well?", timeout: 50ms, on_timeout: reject, on_reject: continue'
    )
    async with desk(tmp_path, text=short) as at, visitor() as client:
        view = await at.here.app.runs.start("small", {}, actor="anna")
        await at.here.app.runs.wait(view.run_id, actor=None, seconds=20, known={"ask"})
        expired = await client.get(at.links.url(view.run_id, "ask#1"))
        assert (expired.status_code, heading(expired)) == (410, "Nothing to decide any more")
        assert re.search(r"This was to be decided before .* UTC</time>, and nobody did\.", expired.text)
    folder = tmp_path / "cancelled"
    folder.mkdir()
    async with desk(folder, text=SMALL) as at, visitor() as client:
        run_id, url = await at.asked("small")
        page = await client.get(url)
        await at.here.app.runs.cancel(run_id, actor=None, via="cli", compensate=True)
        given = {"form_token": form_token(page), "decision": "approved"}
        for over in (await client.post(url, data=given), await client.get(url)):
            assert (over.status_code, heading(over)) == (410, "Nothing to decide any more")
            assert re.search(r"The run ended before anybody decided: it was cancelled on .* UTC", over.text)
            assert "Well?" in over.text


async def test_a_link_is_good_on_another_server_of_the_database_and_after_a_restart(tmp_path: Path) -> None:
    async with desk(tmp_path, text=SMALL) as at:
        _, url = await at.asked("small")
    async with desk(tmp_path, text=SMALL) as at, visitor() as client:
        again = f"{at.base}/a/{url.rpartition('/')[2]}"
        assert heading(await decide(client, again, decision="approved")) == "Approved"


async def test_a_page_elsewhere_can_neither_decide_nor_frame_nor_read_it(tmp_path: Path) -> None:
    async with desk(tmp_path, text=SMALL) as at, visitor() as client:
        run_id, url = await at.asked("small")
        page = await client.get(url)
        assert "script" not in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["cache-control"] == "no-store"
        given = {"form_token": form_token(page), "decision": "approved"}
        for headers in (
            {"Origin": "https://evil.example"}, {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        ):  # fmt: skip
            assert (await client.post(url, data=given, headers=headers)).status_code == 403
        assert (await client.post(url, data={"decision": "approved"})).status_code == 422, (
            "without the page's own token"
        )
        assert (await client.post(url, data={**given, "form_token": "0" * 64})).status_code == 422
        rebound = {"Host": "evil.example"}
        assert (await client.get(url, headers=rebound)).status_code == 421
        assert (await client.post(url, data=given, headers=rebound)).status_code == 421
        assert (
            await client.post(
                url, content=b"x" * (2 << 20), headers={"Content-Type": "application/x-www-form-urlencoded"}
            )
        ).status_code == 413
        assert (await client.post(url, json=given)).status_code == 413
        assert not (await at.here.app.runs.trace(run_id, actor=None)).messages


async def test_a_proxy_may_put_a_host_of_its_own_in_place_of_the_one_that_people_know(tmp_path: Path) -> None:
    async with desk(tmp_path, text=SMALL, base="https://people.example/flows") as at, visitor() as client:
        _, url = await at.asked("small")
        here = f"{at.base}/a/{url.rpartition('/')[2]}"
        given = {"form_token": form_token(await client.get(here)), "decision": "approved"}
        for elsewhere in ("https://evil.example", "https://people.example.evil", "https://evil.example/people.example"):
            assert (await client.post(here, data=given, headers={"Origin": elsewhere})).status_code == 403
        answer = await client.post(here, data=given, headers={"Origin": "https://people.example"})
        assert heading(answer) == "Approved"


async def test_agents_are_given_the_url_and_only_while_the_page_is_served(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, Client(f"{at.base}/mcp") as client:
        run = told(await client.call_tool("refund_customer", {"order": "o1"}))
        (wait,) = run["waiting_for"]
        assert wait["url"].startswith(f"{at.base}/a/{run['run_id']}.")
        assert "command" not in wait
        assert run["next"] == "A person decides: give the user the url, then call get_run with wait_seconds 50."
        answer = {"run_id": run["run_id"], "name": "approve", "data": {"decision": "approved"}}
        said = refused(await client.call_tool("signal_run", answer))
        assert re.fullmatch(
            rf'Refused: approval "approve" of {run["run_id"]} must be decided by a person\. Give the user '
            rf"{re.escape(wait['url'])} \(valid until \d\d \w{{3}} \d\d:\d\d UTC\), then call get_run with wait_seconds 50\.",
            said,
        )
        async with visitor() as person:
            assert heading(await decide(person, wait["url"], decision="approved", **RIGHT)) == "Approved"
        done = told(await client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 20}))
        assert done["result"]["decision"]["by"] == "web:local"


SCOPES = {
    "anna": ("workflows:approve",), "bert": ("workflows:approve", "workflows:run"), "robot": ("workflows:run",),
}  # fmt: skip


async def test_with_authentication_a_person_shows_who_they_are_and_is_recorded(tmp_path: Path) -> None:
    actors = Actors(tmp_path, SCOPES)
    async with desk(tmp_path, actors=actors) as at, visitor() as client:
        run_id, url = await at.asked()
        page = await client.get(url)
        assert (page.status_code, heading(page)) == (401, "Who are you?")
        assert "Refund" not in page.text
        wrong = await client.post(url, data={"action": "login", "token": actors.tokens["anna"] + "x"})
        assert wrong.status_code == 401
        assert "not known here" in wrong.text
        inside = await client.post(url, data={"action": "login", "token": actors.tokens["anna"]})
        assert heading(inside).startswith("Refund order")
        cookie = inside.history[0].headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=strict", "Path=/a/"):
            assert part in cookie
        assert actors.tokens["anna"] not in cookie
        assert heading(await decide(client, url, decision="approved", **RIGHT)) == "Approved"
        assert (await at.result(run_id))["decision"]["by"] == "anna"


async def test_an_agent_s_token_decides_nothing_and_one_that_is_taken_back_ends_its_session(tmp_path: Path) -> None:
    actors = Actors(tmp_path, SCOPES)
    async with desk(tmp_path, actors=actors) as at:
        run_id, url = await at.asked()
        async with visitor() as robot:
            page = await robot.post(url, data={"action": "login", "token": actors.tokens["robot"]})
            assert (page.status_code, heading(page)) == (403, "You may not decide this")
            assert "workflows:approve" in page.text
            assert (await decide(robot, url, decision="rejected")).status_code == 403
            bearer = await robot.get(url, headers=actors.header("anna"))
            assert bearer.status_code == 403, "only what was entered here counts"
        async with visitor() as anna, visitor() as thief:
            page = await anna.post(url, data={"action": "login", "token": actors.tokens["anna"]})
            stolen = {"form_token": form_token(page), "decision": "rejected"}
            await thief.post(url, data={"action": "login", "token": actors.tokens["bert"]})
            assert (await thief.post(url, data=stolen)).status_code == 422, "a form is good in its own session"
            actors.forget("anna")
            assert (await anna.post(url, data=stolen)).status_code == 401
        assert not (await at.here.app.runs.trace(run_id, actor=None)).messages


async def test_only_those_who_are_named_may_decide(tmp_path: Path) -> None:
    actors = Actors(tmp_path, SCOPES)
    text = REFUND.replace("timeout: 2d", 'timeout: 2d\n      approvers: ["bert"]')
    async with desk(tmp_path, actors=actors, text=text) as at:
        run_id, url = await at.asked()
        for actor, status in (("anna", 403), ("bert", 200)):
            async with visitor() as person:
                page = await person.post(url, data={"action": "login", "token": actors.tokens[actor]})
                assert page.status_code == status
                assert ("240" in page.text) == (status == 200), "the others are shown nothing of it"
                assert (await decide(person, url, decision="rejected")).status_code == status
        (message,) = (await at.here.app.runs.trace(run_id, actor=None)).messages
        assert message.actor == "bert"
        async with visitor() as anna:
            page = await anna.post(url, data={"action": "login", "token": actors.tokens["anna"]})
            assert page.status_code == 403, "nor what was decided"
            assert "bert</bdi>" not in page.text
    folder = tmp_path / "open"
    folder.mkdir()
    async with desk(folder, text=text) as at, visitor() as somebody:
        _, url = await at.asked()
        assert (await somebody.get(url)).status_code == 403, "where nobody can show who they are"


async def test_from_another_site_the_page_asks_itself_again_so_that_the_browser_brings_the_session(
    tmp_path: Path,
) -> None:
    actors = Actors(tmp_path, SCOPES)
    async with desk(tmp_path, actors=actors) as at, visitor() as client:
        _, url = await at.asked()
        page = await client.get(url, headers={"Sec-Fetch-Site": "cross-site"})
        assert 'http-equiv="refresh" content="0"' in page.text
        assert heading(await client.get(url, headers={"Sec-Fetch-Site": "same-origin"})) == "Who are you?"


CHOICES = """
name: order
description: Asks what to order.
mcp: {wait: 20s}
steps:
  - id: what
    approval:
      message: What shall it be?
      form:
        required: [size]
        $defs: {extra: {enum: [milk, sugar]}}
        properties:
          size: {title: Size, oneOf: [{const: 1, title: Small}, {const: 2, title: Large}]}
          extras: {type: array, items: {$ref: "#/$defs/extra"}}
output: {decision: "${steps.what.output}"}
"""


async def test_choices_are_shown_by_their_titles_and_read_as_what_they_stand_for(tmp_path: Path) -> None:
    async with desk(tmp_path, text=CHOICES) as at, visitor() as client:
        run_id, url = await at.asked("order")
        page = await client.get(url)
        assert "To be written as JSON." not in page.text
        assert re.findall(r'<span dir="auto">(.*?)</span></label>', page.text) == ["Small", "Large", "milk", "sugar"]
        wrong = await decide(client, url, decision="approved", **{"form.size": "3"})
        assert "Choose one of these." in wrong.text
        await decide(client, url, decision="approved", **{"form.size": "2", "form.extras": '"milk"'})
        assert (await at.result(run_id))["decision"]["form"] == {"size": 2, "extras": ["milk"]}


LISTS = """
name: publish
description: Asks what to publish.
mcp: {wait: 20s}
steps:
  - id: what
    approval:
      message: What shall be published?
      form:
        required: [tags, contact]
        properties:
          tags: {type: array, items: {type: string, minLength: 2}, minItems: 1}
          tickets: {type: array, items: {type: integer, minimum: 1}, default: [3, 4]}
          contact:
            type: object
            required: [name]
            properties: {name: {type: string}, ages: {type: array, items: {type: integer}}}
          at: {type: string, format: time}
          größe: {type: string}
          grüße: {type: string}
output: {decision: "${steps.what.output}"}
"""


async def test_a_list_is_written_a_line_each_and_what_is_more_than_that_as_json_whose_shape_is_told(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, text=LISTS) as at, visitor() as client:
        run_id, url = await at.asked("publish")
        page = await client.get(url)
        for told in (
            "One on each line.", "One on each line. A whole number, at least 1.", "Such as 14:30:00Z.",
            "To be written as JSON, such as {&#34;name&#34;: &#34;…&#34;, &#34;ages&#34;: [1]}",
        ):  # fmt: skip
            assert f">{told}</p>" in page.text
        assert re.search(r'name="form.tickets"[^>]*>\n3\n4</textarea>', page.text), "the default"
        wrong = {
            "form.tags": "new\r\n\r\nx",
            "form.tickets": "7\r\nseven",
            "form.contact": '{"ages": [1]}',
            "form.at": "9:00",
        }
        said = await decide(client, url, decision="approved", **wrong)
        for field, error in (
            ("tags", "&#34;x&#34; is too short, expected at least 2."), ("tickets", "Write a whole number, such as 3."),
            ("contact", "name is missing."), ("at", "&#34;9:00&#34; is no time."),
        ):  # fmt: skip
            assert re.search(rf'id="f-{field}-error">.*<bdi>{error}</bdi>', said.text), field
        assert "7\r\nseven</textarea>" in said.text
        right = {"form.tags": "new\r\n\r\n in EU, US \r\n", "form.contact": '{"name": "Ada"}', "form.at": "09:00:00Z"}
        done = await decide(client, url, decision="approved", **{**wrong, **right, "form.tickets": "7\n8"})
        assert heading(done) == "Approved"
        assert ">new\nin EU, US</dd>" in done.text
        assert (await at.result(run_id))["decision"]["form"] == {
            "tags": ["new", "in EU, US"], "tickets": [7, 8], "contact": {"name": "Ada"}, "at": "09:00:00Z",
        }  # fmt: skip


async def test_each_field_has_a_label_of_its_own_whatever_its_name_is_written_with(tmp_path: Path) -> None:
    async with desk(tmp_path, text=LISTS) as at, visitor() as client:
        _, url = await at.asked("publish")
        page = await client.get(url)
        ids = re.findall(r' id="([^"]+)"', page.text)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'<label for="([^"]+)"', page.text)) <= set(ids)


ELSEWHERE = """
name: refund
title: استرداد المبلغ
description: يبحث عن الطلب، ثم يدفع.
input: {required: [to], properties: {to: {type: string}}}
mcp: {wait: 20s}
steps:
  - id: approve
    approval: {message: "هل تدفع إلى ${input.to}؟"}
output: ${steps.approve.output}
"""


async def test_each_text_has_its_own_direction_and_none_turns_the_others_around(tmp_path: Path) -> None:
    async with desk(tmp_path, text=ELSEWHERE) as at, visitor() as client:
        view = await at.here.app.runs.start("refund", {"to": "bob \u202e001 yap"}, actor="anna")
        view = await at.here.app.runs.wait(view.run_id, actor=None, seconds=20, known=())
        url = at.links.url(view.run_id, view.waiting_for[0].key)
        asked, done = await client.get(url), await decide(client, url, decision="approved")
        assert '<h1 dir="auto">هل تدفع إلى bob �001 yap؟</h1>' in asked.text
        assert '<p class="lead" dir="auto">يبحث عن الطلب، ثم يدفع.</p>' in asked.text
        for page in (asked, done):
            assert "\u202e" not in page.text
