"""The page on testing: what it shows is run, and it names every key of a test file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mcp_workflows import testing
from mcp_workflows.cli.program import program
from mcp_workflows.testing import cases, model
from tests.docs.place import blocks, page

TESTING = page("docs/testing.md")
DEFINITION = blocks(page("docs/language.md"), "yaml")[0]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "ship_order.yaml").write_text(DEFINITION)
    (tmp_path / "definitions" / "ship_order.test.yaml").write_text(blocks(TESTING, "yaml tests")[0])
    return tmp_path


@pytest.mark.usefixtures("shown")
def test_the_tests_that_are_shown_pass():
    found = cases("definitions")
    assert len(found) == 3
    for case in found:
        case.check()


def test_what_is_told_of_a_failure_is_what_is_shown(shown: Path):
    file = shown / "definitions" / "ship_order.yaml"
    forgotten = ', note: "${input.?note}"'
    assert forgotten in DEFINITION
    file.write_text(DEFINITION.replace(forgotten, ""))
    told = CliRunner().invoke(program(["test", "schema"]), ["test", "definitions"])
    (console,) = blocks(TESTING, "console")
    assert told.stdout == console.partition("\n")[2]
    assert told.exit_code == 1


@pytest.mark.usefixtures("shown")
def test_the_python_that_is_shown_runs():
    (code,) = blocks(TESTING, "python")
    names: dict[str, Any] = {}
    exec(compile(code, "testing.md", "exec"), names)
    names["test_the_customer_is_told_at_the_second_try"]()
    for case in cases("definitions"):
        names["test_definition"](case)


@pytest.mark.parametrize(
    "part",
    [
        model.TestFile,
        model.Test,
        model.Answer,
        model.ErrorAnswer,
        model.Signal,
        model.Resume,
        model.Cancel,
        model.Expect,
        model.ExpectedError,
        model.ExpectedCall,
        model.ExpectedStep,
        model.TimeTaken,
    ],
)
def test_every_key_of_a_test_file_is_named(part: Any):
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", TESTING))))
    assert set(part.model_fields) - named == set()


def test_what_simulate_takes_and_gives_is_named():
    fields = [name for name in testing.Result.__slots__ if name != "left_over"]
    assert {name for name in [*fields, "called"] if f"`{name}`" not in TESTING} == set()
    taken = list(testing.simulate.__kwdefaults__ or {})
    assert {name for name in taken if f"`{name}`" not in TESTING} == set()
