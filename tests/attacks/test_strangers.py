"""Somebody with a token of their own, after the runs of somebody else: by every method, in both eras, and by the clock."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytest

from mcp_workflows.errors import UnknownRun
from mcp_workflows.runtime.views import RunQuery
from tests.attacks.everything import ANSWER, METHODS, everything
from tests.attacks.stage import stage
from tests.attacks.wire import TASKS, message, opened, wire
from tests.mcp_server.place import told

pytestmark = pytest.mark.anyio

ABSENT = "r_" + "0" * 26


async def test_no_method_tells_a_foreign_run_from_none(tmp_path: Path, url: str) -> None:
    async with stage(tmp_path, url=url) as on, wire(on.url) as eve:
        run_id = (await on.waiting("anna")).run_id
        session = await opened(eve, on.header("eve"))
        foreign = await everything(on, eve, "eve", run_id, session)
        absent = await everything(on, eve, "eve", ABSENT, session)
        short = await everything(on, eve, "eve", run_id[:14], session)
        assert foreign.keys() == absent.keys()
        assert len(foreign) > 40
        for asked, answer in foreign.items():
            assert run_id not in str(answer).replace("run://", ""), asked
            assert answer == absent[asked], asked
            assert short[asked] == absent[asked] or "tasks/" in asked, asked
        assert (await on.here.app.runs.get(run_id, actor=None)).status == "waiting"
        assert not (await on.here.app.runs.trace(run_id, actor=None)).messages, "nothing of it reached the run"


async def test_who_may_only_look_changes_nothing_of_their_own_by_any_method(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, wire(on.url) as looker:
        run_id = (await on.waiting("looker")).run_id
        session = await opened(looker, on.header("looker"))
        found = await everything(on, looker, "looker", run_id, session)
        for asked, (_, answer, *_) in ((asked, answer) for asked, answer in found.items() if asked != "listen"):
            if asked.startswith(("signal_run", "resume_run", "cancel_run", "tasks/update", "tasks/cancel")):
                assert "looker may not" in answer, asked
        assert '"status":"working"' in found[f"tasks/get {METHODS[0][1]}"][1], "and is not asked either"
        assert not (await on.here.app.runs.trace(run_id, actor=None)).messages
        assert (await on.here.app.runs.get(run_id, actor=None)).status == "waiting"


async def test_an_operator_does_all_of_it_and_is_recorded(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, wire(on.url) as boss:
        who = on.header("boss")
        answered, cancelled = (await on.waiting("anna")).run_id, (await on.waiting("anna")).run_id
        boss.request(message("tasks/get", {"taskId": answered}, meta=TASKS), who)
        assert b'"input_required"' in (await boss.answer())[1]
        update = {"inputResponses": {"ask#1": {"action": "accept", "content": ANSWER}}}
        boss.request(message("tasks/update", {"taskId": answered, **update}, meta=TASKS), who)
        assert b"error" not in (await boss.answer())[1]
        boss.request(message("tasks/cancel", {"taskId": cancelled}, meta=TASKS), who)
        assert b"error" not in (await boss.answer())[1]
        for run_id, status in ((answered, "completed"), (cancelled, "cancelled")):
            view = await on.here.app.runs.wait(run_id, actor=None, seconds=20, known=())
            (sent,) = (await on.here.app.runs.trace(run_id, actor=None)).messages
            assert (view.status, view.actor, sent.actor) == (status, "anna", "boss")


async def test_cursors_lead_to_nobody_else_s_runs(tmp_path: Path, url: str) -> None:
    async with stage(tmp_path, url=url) as on, on.actors.client(on.url, "eve") as eve:
        for actor in ("anna", "eve", "anna", "eve", "anna"):
            await on.waiting(actor)
        own = {view.run_id for view in (await on.here.app.runs.list(RunQuery(actor="eve", status="any"))).runs}
        anna = await on.here.app.runs.list(RunQuery(actor="anna", status="any", limit=1))
        assert anna.next_cursor is not None
        forged = [
            anna.next_cursor,
            "0",
            "1",
            "999999999999999999",
            "3",
            "-1",
            "1e9",
            "1 OR 1=1",
            "' --",
            "",
            "x" * 5000,
            "\u0660",
        ]
        for cursor in forged:
            result = await eve.call_tool("list_runs", {"status": "any", "mine": False, "cursor": cursor})
            if not result.is_error:
                assert {run["run_id"] for run in told(result)["runs"]} <= own, cursor
        for method in ("tools/list", "resources/list", "prompts/list", "resources/templates/list"):
            async with wire(on.url) as raw:
                for cursor in (*forged, "dG9vbHMvbGlzdCB4", "!!"):
                    raw.request(message(method, {"cursor": cursor}), on.header("eve"))
                    _, body = await raw.answer()
                    assert not any(view.run_id.encode() in body for view in anna.runs), (method, cursor)
                    assert b"error" in body or method == "prompts/list" or not cursor, (method, cursor)


ADDRESSES = [
    "run://../..", "run://%2e%2e/%2e%2e", "run://ID/../ID2", "run://ID/result/..", "run://ID%2fresult", "run://ID/result?x=1",
    "run://ID#x", "run://ID\x00", "run://ID\n", " run://ID", "RUN://ID", "run:///ID", "run:ID", "run://eve@ID", "run://ID:80",
    "run://http://127.0.0.1:1/", "workflow://..%2f..%2fetc%2fpasswd", "workflow://../waiting", "workflow://waiting%00",
    "workflow://waiting/..", "workflow://WAITING", "workflow://waiting?x", "workflow://user@waiting", "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data", "data:text/plain,x", "workflow://" + "a" * 100_000, "run://r_" + "0" * 100_000,
    "run://r_%", "run://r__", "run://r_*", "run://r_' OR 1=1", "schema://../x", "example://..",
]  # fmt: skip


async def test_no_address_leads_out_of_what_there_is(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, wire(on.url) as eve:
        run_id = (await on.waiting("anna")).run_id
        own = (await on.waiting("eve")).run_id
        for address in ADDRESSES:
            for subject in (run_id, own):
                uri = address.replace("ID2", own).replace("ID", subject)
                eve.request(message("resources/read", {"uri": uri}), {**on.header("eve"), "Mcp-Name": ""})
                status, body = await eve.answer()
                assert status in {200, 400}, uri[:80]
                assert b'"error"' in body, uri[:80]
                assert len(body) < 2000


async def test_a_session_of_somebody_else_is_no_session(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, wire(on.url) as anna, wire(on.url) as eve:
        session = await opened(anna, on.header("anna"))
        listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        answers: list[Any] = []
        for named in (session, "0" * 32):
            for method, body in (("POST", listing), ("GET", b""), ("DELETE", b""), ("PUT", b"")):
                eve.request(body, {**on.header("eve"), "Mcp-Session-Id": named}, method=method)
                answers.append(await eve.answer())
        assert answers[:4] == answers[4:]
        assert [status for status, _ in answers[:3]] == [404] * 3
        anna.request(listing, {**on.header("anna"), "Mcp-Session-Id": session})
        assert (await anna.answer())[0] == 200


async def test_the_ids_of_runs_cannot_be_guessed(tmp_path: Path) -> None:
    """26 letters of 32: at a million guesses a second among a million runs, longer than the universe is old."""
    async with stage(tmp_path) as on:
        ids = [(await on.here.app.runs.start("large", {"text": str(n)}, actor="anna")).run_id for n in range(300)]
        assert all(re.fullmatch(r"r_[0-9a-z]{26}", one) for one in ids)
        for place in range(2, 28):
            seen = Counter(one[place] for one in ids)
            assert len(seen) >= 28 or place in (2, 27), place
            assert max(seen.values()) < 40 or place in (2, 27), place


async def test_the_clock_does_not_tell_a_foreign_run_from_none(tmp_path: Path, url: str) -> None:
    """Of many, in turns, so that whatever else the machine does falls on both."""
    async with stage(tmp_path, url=url) as on:
        run_id = (await on.waiting("anna")).run_id
        took: dict[str, list[float]] = {run_id: [], ABSENT: [], run_id[:14]: []}
        for _ in range(300):
            for named, times in took.items():
                begun = perf_counter()
                with pytest.raises(UnknownRun):
                    await on.here.app.runs.get(named, actor="eve")
                times.append(perf_counter() - begun)
        typical = {named: median(times) for named, times in took.items()}
        assert max(typical.values()) < 1.3 * min(typical.values()), typical
