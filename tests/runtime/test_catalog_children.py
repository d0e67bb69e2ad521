"""What the catalog serves when a workflow that others start changes, breaks or goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.settings import Settings

pytestmark = pytest.mark.anyio

HEAD = "name: {}\ndescription: Does something that an agent may want.\n"
PARENT = "steps: [{workflow: {name: child}}]\n"


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, body: str) -> None:
        (self.folder / f"{name}.yaml").write_text(HEAD.format(name) + body)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "definitions"
    folder.mkdir()
    files = Files(folder)
    files.write("parent", PARENT)
    files.write("child", "steps: [{set: {a: 1}}]\n")
    return files


@pytest.fixture
async def catalog(files: Files, tmp_path: Path) -> AsyncIterator[Catalog]:
    settings = Settings.load(definitions=(files.folder,))
    async with built_app(settings, role=Role.STARTER) as app:
        yield app.catalog


async def test_a_child_that_breaks_leaves_its_last_good_version_and_its_parent_served(
    files: Files, catalog: Catalog
) -> None:
    files.write("child", "steps: []\n")
    files.write("parent", "title: Changed\n" + PARENT)
    await catalog.load()
    assert sorted(catalog.definitions) == ["child", "parent"]
    assert catalog.definitions["parent"].title == "Changed"
    assert [problem.message for problem in catalog.problems] == ["must have at least 1, found 0"]


async def test_a_child_that_goes_leaves_the_last_good_version_of_its_parent_and_a_problem(
    files: Files, catalog: Catalog
) -> None:
    (files.folder / "child.yaml").unlink()
    await catalog.load()
    assert sorted(catalog.definitions) == ["parent"]
    assert [problem.message for problem in catalog.problems] == ['"child" is not loaded']
    files.write("child", "steps: [{set: {a: 2}}]\n")
    await catalog.load()
    assert (sorted(catalog.definitions), catalog.problems) == (["child", "parent"], ())


async def test_a_child_that_begins_to_ask_a_person_changes_what_is_told_of_its_parent(
    files: Files, catalog: Catalog
) -> None:
    before = catalog.serving("parent")
    told: list[bool] = []
    catalog.on_change(lambda: told.append(catalog.definitions["parent"].asks_person))
    files.write("child", "steps: [{approval: {message: Go on?}}]\n")
    await catalog.load()
    after = catalog.serving("parent")
    assert told == [True]
    assert (after.version, after.definition.asks_person) == (before.version, True)
    await catalog.load()
    assert told == [True]


async def test_a_change_that_closes_a_circle_is_refused_and_what_was_served_goes_on(
    files: Files, catalog: Catalog
) -> None:
    files.write("child", "steps: [{workflow: {name: parent}}]\n")
    await catalog.load()
    assert catalog.definitions["child"].children == ()
    assert [problem.message for problem in catalog.problems] == [
        "child depth: child -> parent -> child has no end",
        "child depth: parent -> child -> parent has no end",
    ]
