"""The page in a real browser: filled in by keyboard, read by a screen reader, at the width of a desk and of a telephone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.mcp_server.actors import Actors
from tests.web.browser import ENTER, SPACE, TAB, browser
from tests.web.place import desk

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

CONTRAST = """
const parse = c => c.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3]) return c; } return [255, 255, 255]; };
return [...document.querySelectorAll('main *, footer *')].filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()))
  .map(e => { const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))]; return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML.slice(0, 80)]; })
  .filter(([ratio]) => ratio < 4.5);
"""  # noqa: E501


def pictures(folder: Path) -> Path:
    """Where screenshots go: a folder of one's choice, to look at them."""
    place = Path(os.environ.get("PICTURES", folder))
    place.mkdir(parents=True, exist_ok=True)
    return place


async def test_a_person_decides_with_the_keyboard_alone_and_a_screen_reader_names_everything(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, browser(tmp_path) as page:
        run_id, url = await at.asked()
        await page.resize(1100, 1500)
        await page.open(url)
        shots = pictures(tmp_path)
        await page.picture(shots / "ask.png")
        assert await page.run("return document.documentElement.lang") == "en"
        assert await page.run("return document.title") == "Refund order o1 of Ada <b>Lovelace</b>?"
        headings = await page.run("return [...document.querySelectorAll('h1,h2,h3')].map(h => h.tagName)")
        assert headings == ["H1", "H2", "H2"]
        assert await page.run(CONTRAST) == []

        seen: list[tuple[str, str]] = []
        keys: dict[str, tuple[str, ...]] = {
            "Amount": tuple("120.5"), "broken": (SPACE,), "Yes": (SPACE,),
            "What to write": tuple("Dear Ada"),
        }  # fmt: skip
        for _ in range(25):
            await page.press(TAB)
            role, name = await page.focused()
            seen.append((role, name))
            await page.press(*next((typed for begins, typed in keys.items() if name.startswith(begins)), ()))
            if name == "Return arrived":
                await page.press(*"11202026")
                await page.press(TAB)  # the button that opens the calendar
            outline = await page.run("return getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none" or role == "Date", (role, name)  # whose parts the browser marks itself
            if name == "Approve":
                break
        assert all(name for _, name in seen), seen
        assert ("button", "Approve") in seen
        assert "Neither" not in {name for _, name in seen}
        await page.press(ENTER)
        await page.find("[role=status], [role=alert]")
        assert await page.text("h1") == "Approved"
        await page.picture(shots / "decided.png")
        form = (await at.result(run_id))["decision"]["form"]
        assert (form["amount"], form["urgent"], form["letter"], form["days"]) == (120.5, True, "Dear Ada", 3)


async def test_enter_in_a_field_decides_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, browser(tmp_path) as page:
        run_id, url = await at.asked()
        await page.open(url)
        await page.type("#f-amount", "12" + ENTER)
        await page.find("[role=alert]")
        assert "Choose Approve or Reject." in await page.text()
        assert await page.run("return document.querySelector('#f-amount').value") == "12"
        assert not (await at.here.app.runs.trace(run_id, actor=None)).messages


async def test_on_a_telephone_errors_are_beside_their_fields_and_nothing_runs_out_of_the_page(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, browser(tmp_path) as page:
        _, url = await at.asked()
        await page.resize(420, 900)
        await page.open(url)
        await page.type("#f-amount", "much")
        await page.click("button[value=approved]")
        await page.find("[role=alert]")
        assert await page.run("return document.activeElement.id") == "errors", "a screen reader begins with them"
        shots = pictures(tmp_path)
        await page.picture(shots / "telephone.png")
        wide = await page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0
        assert await page.run(CONTRAST) == []
        described: Any = await page.run(
            "const e = document.querySelector('#f-amount');"
            "return [e.getAttribute('aria-invalid'), e.getAttribute('aria-describedby').split(' ')"
            ".map(id => document.getElementById(id).textContent.trim())]"
        )
        assert described[0] == "true"
        assert "Error: Write a number, such as 2.5." in described[1]
        await page.run("document.querySelector('#f-amount').scrollIntoView()")
        await page.picture(shots / "telephone_form.png")


async def test_a_person_enters_a_token_and_the_second_of_two_is_told_who_was_first(tmp_path: Path) -> None:
    actors = Actors(tmp_path, {"anna": ("workflows:approve",)})
    async with desk(tmp_path, actors=actors) as at, browser(tmp_path) as page:
        run_id, url = await at.asked()
        await page.open(url)
        shots = pictures(tmp_path)
        await page.picture(shots / "login.png")
        assert await page.focused() == ("textbox", "Your token")
        await page.type("#token", actors.tokens["anna"] + ENTER)
        await page.find("#note")
        assert "You are anna." in await page.text()
        assert await page.run("return document.cookie") == ""
        (wait,) = (await at.here.app.runs.get(run_id, actor=None)).waiting_for
        no = {"decision": "rejected"}
        await at.here.app.runs.answer(run_id, wait.key, no, actor=None, by="cli:bert", via="cli", person=True)
        await page.click("button[value=rejected]")
        await page.find("[role=status]")
        text = await page.text()
        assert "Your answer came too late and changed nothing." in text
        assert "cli:bert rejected this" in text
        await page.picture(shots / "late.png")
