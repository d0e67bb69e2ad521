"""``gc`` and ``nodes``: what is kept and for how long, who moves runs, and what each of them cannot."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.clock import utc_now
from mcp_workflows.runtime import retention
from mcp_workflows.settings import Settings
from tests.cli.place import Place

QUICK = """
name: quick
description: Ends at once.
steps:
  - set: {done: true}
"""
SECRET = """
name: charge
description: Has a secret.
secrets: [TOKEN]
steps:
  - set: {done: true}
"""


@pytest.fixture
def quick(place: Place) -> Place:
    """Three runs that have finished."""
    place.define("quick", QUICK)
    for _ in range(3):
        assert place.call("run", "quick", "-i", "{}").code == 0
    return place


def test_gc_deletes_what_is_older_than_it_is_told_and_says_how_much(quick: Place):
    assert quick.call("gc", "--json").json["runs"] == 0
    told = quick.call("gc", "--older-than", "0s", "--dry-run")
    assert told.stdout.startswith("Would delete 3 runs that finished before ")
    assert len(quick.call("runs", "--json").json["runs"]) == 3
    told = quick.call("gc", "--older-than", "0s", "--json").json
    assert told["before"].endswith("Z"), "instants look alike everywhere"
    assert {name: told[name] for name in ("deleted", "runs", "trees")} == {"deleted": True, "runs": 3, "trees": 3}
    assert quick.call("runs", "--json").json["runs"] == []
    assert quick.call("gc", "--older-than", "0s").stdout == "Deleted no runs.\n"


def test_gc_keeps_what_the_setting_says(quick: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_WORKFLOWS_RETENTION", "forever")
    refused = quick.call("gc")
    assert refused.code == 2
    assert "--older-than AGE" in refused.stderr
    assert quick.call("gc", "--older-than", "3 days").code == 2
    monkeypatch.setenv("MCP_WORKFLOWS_RETENTION", "59m")
    refused = quick.call("gc")
    assert refused.code == 2
    assert "MCP_WORKFLOWS_RETENTION" in refused.stderr
    assert "too short" in refused.stderr


def test_nodes_tell_what_a_server_takes_and_what_it_cannot_run(quick: Place, monkeypatch: pytest.MonkeyPatch):
    quick.define("charge", SECRET)
    monkeypatch.setenv("MCP_WORKFLOWS_MAX_RUNS", "7")
    monkeypatch.setenv("MCP_WORKFLOWS_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("MCP_WORKFLOWS_MAX_ATTEMPTS_PER_HOST", "3")
    with quick.server():
        while True:
            [server, *_] = quick.call("nodes", "--json").json["nodes"]
            if "max_runs" in server:
                break
        assert [server[f"max_{what}"] for what in ("runs", "attempts", "attempts_per_host")] == [7, 5, 3]
        [cannot] = server["cannot"]
        assert (cannot["workflow"], cannot["version"]) == ("charge", 1)
        assert cannot["why"].endswith("set MCP_WORKFLOWS_SECRET_TOKEN")
        told = quick.call("nodes").stdout
        assert "0 of 7" in told
        assert f"{server['name']} is served at {server['served_at']}\n" in told
        assert server["served_at"].startswith("http://127.0.0.1:")
        assert "cannot run charge version 1: this server has no value for the secrets of charge" in told
    told = quick.call("nodes", "--json").json
    assert told["queued"] == 0
    assert told["nodes"][0]["state"] == "left"


def test_runs_that_nobody_has_begun_are_counted(quick: Place):
    assert quick.call("run", "quick", "-i", "{}", "--detach").code == 0
    assert quick.call("nodes", "--json").json["queued"] == 1
    assert "1 run waits to be begun." in quick.call("nodes").stdout


@pytest.mark.anyio
async def test_of_several_servers_one_deletes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(retention, "INTERVAL_SECONDS", 0.01)
    swept: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    class Noted(retention.Retention):
        async def sweep(self, before: datetime, **options: Any) -> retention.Swept:
            gone = await super().sweep(before, **options)
            swept.put_nowait((self._store.node_id, gone.runs))
            return gone

    monkeypatch.setattr("mcp_workflows.app.Retention", Noted)
    (tmp_path / "quick.yaml").write_text(QUICK)
    settings = Settings.load(definitions=(tmp_path,), retention="1h")
    async with built_app(settings, role=Role.SERVER, clock=lambda: utc_now() - timedelta(days=1)) as yesterday:
        old = await yesterday.runs.start("quick", {}, actor="test")
        await yesterday.runs.wait(old.run_id, actor="test", seconds=20)
    async with built_app(settings, role=Role.SERVER) as one, built_app(settings, role=Role.SERVER) as other:
        fresh = await one.runs.start("quick", {}, actor="test")
        await one.runs.wait(fresh.run_id, actor="test", seconds=20)
        first = min(one.store.node_id, other.store.node_id)
        async with one.moving(), other.moving(), asyncio.timeout(30):
            sweeps = [await swept.get() for _ in range(4)]
        assert {node for node, _ in sweeps} == {first}
        assert [runs for _, runs in sweeps] == [1, 0, 0, 0]
        assert await one.store.load_run(old.run_id) is None
        assert await one.store.load_run(fresh.run_id) is not None
