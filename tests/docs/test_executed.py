"""What the documentation shows is what happens: its definitions are loaded and run, its JSON parses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mcp_workflows.definition.loader import load_text
from mcp_workflows.engine.states import RunStatus
from tests.definitions_run.place import office
from tests.docs.place import PAGES, blocks, page

README = page("README.md")
TRIAL = next(block for block in blocks(README, "yaml") if block.startswith("name: start_trial"))


def test_the_definition_in_the_readme_has_at_most_twenty_lines():
    assert len(TRIAL.splitlines()) <= 20


@pytest.mark.anyio
async def test_the_definition_in_the_readme_runs(tmp_path: Path):
    file = tmp_path / "start_trial.yaml"
    file.write_text(TRIAL)
    async with office(tmp_path, file) as here:
        assert here.app.catalog.warnings == ()
        run = await here.run("start_trial", {"email": "ada@example.com"})
        assert (run.status, run.result) == (RunStatus.COMPLETED, {"account": "a_1"})
        assert (await here.samples.books())["mail"]["messages"]["m_1"]["template"] == "trial"


@pytest.mark.anyio
async def test_the_definition_in_the_language_reference_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "ship_order.yaml"
    file.write_text(blocks(page("docs/language.md"), "yaml")[0])
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "SHOP_TOKEN").write_text("t")
    monkeypatch.setenv("MCP_WORKFLOWS_SECRETS_DIR", str(tmp_path / "secrets"))
    async with office(tmp_path, file) as here:
        assert here.app.catalog.warnings == ()
        run = await here.run("ship_order", {"order": "o1", "email": "ada@example.com"})
        assert run.result == {"shipment": "s_1", "customer_told": True}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_every_definition_that_is_shown_loads(file: Path):
    for block in blocks(file.read_text("utf-8"), "yaml"):
        load_text(block, file.name)


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_all_json_that_is_shown_parses(file: Path):
    for block in blocks(file.read_text("utf-8"), "json"):
        json.loads(block)


def test_the_run_in_the_readme_is_the_one_of_its_definition():
    call = re.search(r"run (\w+) --input '(.*)'", README)
    assert call is not None
    definition = load_text(TRIAL, "README.md")
    assert call[1] == definition.name
    assert set(json.loads(call[2])) == {"email"}
