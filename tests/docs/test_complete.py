"""The documentation is complete: every setting, step kind, key, error code, command, option and exit code is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from mcp_workflows import errors
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.program import program
from mcp_workflows.definition import model
from mcp_workflows.definition.model.step import KINDS
from mcp_workflows.settings import variables
from tests.docs.place import PAGES, ROOT, coded, first_cells, page

LANGUAGE = page("docs/language.md")


def test_every_setting_is_documented_and_no_other():
    assert coded(first_cells(page("docs/settings.md"))) == set(variables())


def test_the_defaults_of_the_limits_are_as_documented():
    text = page("docs/settings.md")
    limits = {name: field.default for name, field in variables().items() if type(field.default) is int}
    assert limits
    assert [name for name, default in limits.items() if f"| `{name}` | {default} |" not in text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_step_has_a_section(kind: str):
    assert f"### `{kind}`" in LANGUAGE


@pytest.mark.parametrize(
    "part",
    [
        model.Workflow,
        model.Step,
        model.Http,
        model.Retry,
        model.Service,
        model.Defaults,
        model.Mcp,
        model.ForEach,
        model.Repeat,
        model.Cases,
        model.Poll,
        model.Callback,
        model.Python,
        model.McpTool,
        model.Jq,
        model.Child,
        model.Signal,
        model.Approval,
    ],
)
def test_every_key_of_the_language_is_named(part: Any):
    keys = {field.alias or name for name, field in part.model_fields.items()}
    assert {key for key in keys if f"`{key}`" not in LANGUAGE and f"`{key}:" not in LANGUAGE} == set()


def source_of(*folders: str) -> str:
    files = [file for folder in folders for file in (ROOT / "mcp_workflows" / folder).rglob("*.py")]
    return "\n".join(file.read_text("utf-8") for file in files)


def test_every_code_of_failed_work_is_documented():
    source = source_of("steps", "engine", "runtime")
    found = set(re.findall(r"""(?:StepError|\.failed|Failed|_set_aside)\(\s*"([a-z_]+)",""", source))
    found |= set(re.findall(r"""Body\([^\n]*"([a-z]+_[a-z_]+)"[,)]""", source))
    found |= set(re.findall(r"""^INTERRUPTED = "(\w+)"$""", source_of("definition"), re.MULTILINE))
    found |= set(re.findall(r"""^    code = "(\w+)"$""", source_of("engine"), re.MULTILINE))
    named = set(re.findall(r"""(?:StepError|failed|Failed)\(\s*([A-Z][A-Z_]+),""", source))
    found |= {code for name, code in re.findall(r"""^([A-Z_]+) = "(\w+)"$""", source, re.MULTILINE) if name in named}
    assert {
        "connect",
        "timeout",
        "reset",
        "answer_too_large",
        "recoveries",
        "interrupted",
        "output_too_large",
        "rejected",
    } <= found
    assert found - coded(first_cells(page("docs/errors.md"))) == set()


def test_every_class_of_refusal_is_documented():
    families = (errors.WorkflowsError, errors.CallerError, errors.SystemUnwell)
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.WorkflowsError)
    }
    assert found - {family.__name__ for family in families} <= coded(first_cells(page("docs/errors.md")))


def test_every_code_of_a_definition_s_problems_is_documented():
    source = source_of("definition")
    found = set(re.findall(r"""(?:refuse|_check|_refusing|one_of|problem|Problem)\([^"\n]*"([a-z_]+)",""", source))
    found |= set(re.findall(r"""(?:refuse|problem|Problem)\(.*, "([a-z_]+)", """, source))
    assert {"value", "http", "file"} <= found
    assert found - coded(first_cells(LANGUAGE)) == set()


def commands() -> dict[str, Any]:
    return dict(getattr(typer.main.get_command(program()), "commands"))  # noqa: B009


def test_every_command_is_documented_and_no_other():
    rows = {name.split()[0] for name in coded(first_cells(page("docs/cli.md")))}
    assert rows == set(commands())


def test_every_option_is_documented():
    text = page("docs/cli.md")
    options = {
        name for one in commands().values() for option in one.params for name in option.opts if name.startswith("--")
    }
    assert {name for name in options if f"`{name}" not in text and f"{name} " not in text} == set()


def test_every_exit_code_is_documented():
    assert {str(code.value) for code in Exit} <= set(first_cells(page("docs/cli.md")))


def test_the_make_targets_in_the_readme_are_those_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE)) - {"lock", "clean"}
    told = coded(first_cells(page("README.md")))
    assert {name.removeprefix("make ") for name in told if name.startswith("make ")} == targets


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path):
    targets = [one for one in re.findall(r"\]\(([^)]*)\)", file.read_text("utf-8")) if not one.startswith("http")]
    assert [one for one in targets if not is_there(file, one)] == []


def is_there(page: Path, target: str) -> bool:
    """The file that a link of the page names, and in it the heading, if it names one."""
    name, _, heading = target.partition("#")
    file = page.parent / name if name else page
    return file.exists() and (not heading or heading in headings(file.read_text("utf-8")))


def headings(text: str) -> set[str]:
    """As links name them: in lower case, with hyphens for spaces and without other signs."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
