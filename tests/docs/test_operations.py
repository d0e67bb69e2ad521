"""The commands that the page on operations shows make a backup, and lead back to it; what it says of going back is so."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcp_workflows.app import Role, built_app
from mcp_workflows.cli.program import program
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.settings import Settings
from tests.docs.place import blocks, page
from tests.postgres import Databases, programs
from tests.services.counting import Rule, counting_service

pytestmark = pytest.mark.anyio

COMMANDS = [
    command.removeprefix("$ ")
    for block in blocks(page("docs/operations.md"), "console")
    for command in block.splitlines()
    if command.startswith("$ ")
]

SHIP = """
name: ship
description: Ships one order.
input: {required: [order], properties: {order: {type: integer}}}
steps:
  - id: pack
    http: {method: POST, url: "URL/pack"}
  - id: ship
    http: {method: POST, url: "URL/ship"}
"""


def shown(part: str) -> str:
    [command] = [command for command in COMMANDS if part in command]
    return command


def run(command: str, folder: Path, **environment: str) -> None:
    path = os.pathsep.join([str(programs()), str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        command, shell=True, check=True, cwd=folder, env=os.environ | {"PATH": path} | environment, timeout=60
    )


@pytest.mark.skipif(shutil.which("flock") is None or shutil.which("sqlite3") is None, reason="flock and sqlite3")
async def test_a_backup_of_a_file_is_made_beside_a_server_and_led_back_to(tmp_path: Path) -> None:
    (tmp_path / "definitions").mkdir()
    async with counting_service() as service:
        (tmp_path / "definitions" / "ship.yaml").write_text(SHIP.replace("URL", service.url))
        settings = Settings.load(definitions=(tmp_path / "definitions",), lease_seconds=2)
        service.rule("/ship", Rule(hold=True))
        async with built_app(settings, role=Role.SERVER) as app, app.moving():
            before = await app.runs.start("ship", {"order": 1}, actor="test")
            await service.seen(lambda: len(service.made("/ship")) == 1)
            run(shown("sqlite3 .mcp-workflows"), tmp_path)
            run(shown("python -c"), tmp_path)
            after = await app.runs.start("ship", {"order": 2}, actor="test")
            await service.lift("/ship")
            for view in (before, after):
                assert (await app.runs.wait(view.run_id, actor="test", seconds=20)).status is RunStatus.COMPLETED
        assert (tmp_path / "backup.db").read_bytes()[:16] == (tmp_path / "copy.db").read_bytes()[:16]
        run(shown("rm -f"), tmp_path)
        run(shown("cp backup.db"), tmp_path)
        async with built_app(settings, role=Role.SERVER) as app:
            assert await app.store.load_run(after.run_id) is None
            async with app.moving():
                # As in production the one that the backup takes for alive is dead once it was silent for a lease.
                ended = await app.runs.wait(before.run_id, actor="test", seconds=40)
            assert ended.status is RunStatus.COMPLETED
        keys = [call.key for call in service.made("/ship")]
        assert len(service.made("/pack")) == 2
        assert len(keys) == 3
        assert len(set(keys)) == 2  # the step that the backup does not know was made again, under the same key


async def test_what_is_cancelled_before_any_server_is_up_makes_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "definitions").mkdir()
    async with counting_service() as service:
        (tmp_path / "definitions" / "ship.yaml").write_text(SHIP.replace("URL", service.url))
        settings = Settings.load()
        async with built_app(settings, role=Role.STARTER) as app:
            view = await app.runs.start("ship", {"order": 1}, actor="test")
        cancel = re.sub(r'"(.*)"', r"\1", shown("cancel RUN_ID").replace("RUN_ID", view.run_id)).split(maxsplit=5)
        monkeypatch.setattr("mcp_workflows.runtime.inbox.SETTLING", 0.1)
        monkeypatch.setattr("mcp_workflows.runtime.runs.ENDING", 0.1)
        assert await _invoked(cancel[1:]) == 4
        async with built_app(settings, role=Role.SERVER) as app, app.moving():
            assert (await app.runs.wait(view.run_id, actor="test", seconds=20)).status is RunStatus.CANCELLED
        assert service.calls == []


async def _invoked(arguments: list[str]) -> int:
    return (await asyncio.to_thread(CliRunner().invoke, program(), arguments)).exit_code


@pytest.mark.skipif(shutil.which("pg_dump", path=str(programs())) is None, reason="pg_dump")
async def test_a_dump_of_a_server_s_database_is_restored_into_an_empty_one(tmp_path: Path, postgres: Databases) -> None:
    (tmp_path / "ship.yaml").write_text(SHIP.replace("URL", "http://127.0.0.1:1"))
    url, restored = postgres.new_database(template=postgres.template), postgres.new_database()
    async with built_app(Settings.load(definitions=(tmp_path,), database_url=url), role=Role.STARTER) as app:
        view = await app.runs.start("ship", {"order": 1}, actor="test")
        run(
            shown("pg_dump"),
            tmp_path,
            MCP_WORKFLOWS_DATABASE_URL=url.replace("postgresql+psycopg", "postgresql"),
        )
    run(shown("pg_restore"), tmp_path, RESTORED_DATABASE_URL=restored.replace("postgresql+psycopg", "postgresql"))
    settings = Settings.load(definitions=(tmp_path,), database_url=restored)
    async with built_app(settings, role=Role.STARTER) as app:
        assert (await app.runs.get(view.run_id, actor="test")).status is RunStatus.PENDING
        again = await app.runs.start("ship", {"order": 1}, actor="test")
        assert (again.run_id, again.joined) == (view.run_id, True)
