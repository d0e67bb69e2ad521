"""The function and the definition that docs/functions.md shows run as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.settings import Settings
from tests.docs.place import page

pytestmark = pytest.mark.anyio


def shown(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", page("docs/functions.md"), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


async def test_the_function_that_is_shown_is_called_by_the_definition_that_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "image_steps.py").write_text(shown("python"))
    (tmp_path / "print_labels.yaml").write_text(shown("yaml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "image_steps", raising=False)
    settings = Settings.load(
        definitions=(tmp_path / "print_labels.yaml",),
        database_url=f"sqlite:///{tmp_path}/runs.db",
        functions="image_steps",
    )
    given = {"address": {"street": "Main St 1", "zip": "10115"}, "day": "2026-11-22"}
    async with built_app(settings, role=Role.SERVER) as app, app.moving():
        view = await app.runs.start("print_labels", given, actor="test")
        view = await app.runs.wait(view.run_id, actor="test", seconds=20)
    assert view.status is RunStatus.COMPLETED, view.error
    assert view.result["label"] == "Main St 1, 10115"
    assert view.result["printed"] == "2026-11-22"
