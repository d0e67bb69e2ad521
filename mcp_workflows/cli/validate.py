"""``validate`` and ``schema``: what an author of definitions uses, and continuous integration."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.options import AsJson
from mcp_workflows.cli.problems import problem_json, shown
from mcp_workflows.cli.terminal import complain, print_json, stdout
from mcp_workflows.definition.loader import Loaded, json_schema, load_paths


@command
def validate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", exists=True, help="Files, and folders to look through.")
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as problems.")] = False,
    as_json: AsJson = False,
) -> Exit:
    """Check workflow definitions: every problem of every file, with its place."""
    loaded = load_paths(paths)
    failed = bool(loaded.problems or (strict and loaded.warnings))
    if not (loaded.definitions or loaded.problems):
        complain(f"no definitions (*.yaml, *.yml, *.json) in {', '.join(map(str, paths))}")
        return Exit.REFUSED
    if as_json:
        _print_json(loaded, valid=not failed)
    else:
        _print(loaded, strict=strict)
    return Exit.FAILED if failed else Exit.DONE


@command
def schema(
    tests: Annotated[bool, typer.Option("--tests", help="The one of *.test.yaml files.")] = False,
) -> Exit:
    """Print the JSON Schema of definitions, for editors.

    Save it, and begin a definition with: # yaml-language-server: $schema=./workflow.schema.json
    """
    # What simulates runs takes longer to import than all that validate needs.
    print_json(import_module("mcp_workflows.testing").json_schema() if tests else json_schema())
    return Exit.DONE


def _print(loaded: Loaded, *, strict: bool) -> None:
    console = stdout()
    broken = {problem.file for problem in loaded.problems}
    for problem in shown(loaded.problems, "bad"):
        console.print(problem, soft_wrap=True)
        console.print()
    for warning in shown(loaded.warnings, "bad" if strict else "doubt"):
        console.print(warning, soft_wrap=True)
        console.print()
    for name, definition in loaded.definitions.items():
        if definition.source not in broken:
            console.print(f"[good]✓[/] [name]{name}[/]  [dim]{definition.source}[/]", soft_wrap=True)
    console.print(_summary(loaded))


def _summary(loaded: Loaded) -> str:
    good = _count(len(loaded.definitions), "workflow")
    said = [f"[good]{good} valid[/]"] if loaded.definitions else []
    if loaded.problems:
        files = len({problem.file for problem in loaded.problems})
        said.append(f"[bad]{_count(len(loaded.problems), 'problem')} in {_count(files, 'file')}[/]")
    if loaded.warnings:
        said.append(f"[doubt]{_count(len(loaded.warnings), 'warning')}[/]")
    return ", ".join(said)


def _print_json(loaded: Loaded, *, valid: bool) -> None:
    workflows: Sequence[dict[str, str]] = [
        {"name": name, "file": definition.source} for name, definition in loaded.definitions.items()
    ]
    print_json(
        {
            "valid": valid,
            "workflows": workflows,
            "problems": [problem_json(problem) for problem in loaded.problems],
            "warnings": [problem_json(problem) for problem in loaded.warnings],
        }
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
