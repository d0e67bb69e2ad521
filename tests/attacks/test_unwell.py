"""A server whose database is away: who has to show a token hears that, and neither where it is nor as whom it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcp_workflows.errors import StoreUnavailable
from mcp_workflows.store.reads.pool import Reads
from mcp_workflows.store.store import Store
from tests.attacks.everything import everything
from tests.attacks.stage import stage
from tests.attacks.wire import call, opened, wire
from tests.mcp_server.actors import Actors
from tests.mcp_server.place import place, refused
from tests.mcp_server.workflows import STRICT
from tests.web.place import desk, visitor

pytestmark = pytest.mark.anyio

WHERE = "The database workflows@db.internal:5432/runs cannot be used now: connection refused."
LOG = "The database cannot be used now; the server's log says why."


def away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable(WHERE)

    monkeypatch.setattr(Reads, "__call__", refuse)
    monkeypatch.setattr(Store, "start", refuse)
    monkeypatch.setattr(Store, "deliver", refuse)


async def test_nothing_that_can_be_asked_tells_an_actor_where_the_database_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as on, wire(on.url) as eve, httpx2.AsyncClient(trust_env=False) as anybody:
        session = await opened(eve, on.header("eve"))
        with monkeypatch.context() as patch:
            away(patch)
            found = await everything(on, eve, "eve", "r_" + "0" * 26, session)
            eve.request(call("waiting"), on.header("eve"))
            found["start"] = await eve.answer()
            health = await anybody.get(on.url.replace("/mcp", "/healthz"))
        assert not [asked for asked, answer in found.items() if "db.internal" in str(answer)]
        assert len([asked for asked, answer in found.items() if "log says why" in str(answer)]) > 40
        assert (health.status_code, health.json()["reason"]) == (503, LOG)


async def test_who_runs_the_server_is_told_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody has to show a token whoever asks is at this machine: their agent is to tell them what to repair."""
    async with place(tmp_path, {"register": STRICT}) as here, here.client("http, 2026") as client:
        with monkeypatch.context() as patch:
            away(patch)
            assert refused(await client.call_tool("list_runs", {})) == (
                f"The service is unwell: {WHERE} Runs are safe and go on when it is well again. Call again in a few seconds."
            )
            assert refused(await client.call_tool("register", {"email": "a@b.org"})) == (
                f"The service is unwell: {WHERE} It is not known whether a run was started: "
                "call again with the same input, then you join it if it was."
            )


@pytest.mark.parametrize("authenticated", [True, False])
async def test_the_page_tells_as_much_as_its_reader_may_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, authenticated: bool
) -> None:
    actors = Actors(tmp_path, {"anna": ("workflows:approve",)}) if authenticated else None
    async with desk(tmp_path, actors=actors) as at, visitor() as anna:
        _, url = await at.asked()
        if actors is not None:
            await anna.post(url, data={"action": "login", "token": actors.tokens["anna"]})
        with monkeypatch.context() as patch:
            away(patch)
            answer = await anna.get(url)
        assert answer.status_code == 503
        assert ("db.internal" in answer.text, "log says why" in answer.text) == (not authenticated, authenticated)


async def test_a_file_of_tokens_that_cannot_be_read_is_not_shown(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, httpx2.AsyncClient(trust_env=False) as client:
        on.actors.spoil()
        answer = await client.post(on.url, json={}, headers=on.header("eve"))
    assert answer.status_code == 503
    assert (
        answer.json()["error_description"]
        == "Whom this token names cannot be found out now; the server's log says why."
    )
