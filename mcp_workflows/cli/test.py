"""``test``: runs the tests that lie beside definitions, without services."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.options import AsJson
from mcp_workflows.cli.problems import problem_json, shown
from mcp_workflows.cli.terminal import complain, print_json, stdout
from mcp_workflows.errors import Problem
from mcp_workflows.testing import Case, Difference, Verdict, collect

_STYLES = {"- ": "bad", "+ ": "good"}


@command
def test(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", exists=True, help="Test files, definitions, and folders of them.")
    ],
    only: Annotated[
        str | None, typer.Option("--only", "-k", metavar="TEXT", help="Only tests with this in their name.")
    ] = None,  # noqa: PT028  # pytest takes no part in this
    as_json: AsJson = False,  # noqa: PT028
) -> Exit:
    """Run the *.test.yaml files of definitions: no service is called, and no time passes."""
    collected = collect(*paths)
    cases = [case for case in collected.cases if only is None or only.casefold() in str(case).casefold()]
    if not (cases or collected.problems):
        named = f' with "{only}" in their name' if only is not None and collected.cases else ""
        complain(f"no tests{named} (*.test.yaml, *.test.json) in {', '.join(map(str, paths))}")
        return Exit.REFUSED
    console = None if as_json else stdout()
    verdicts: list[tuple[Case, Verdict]] = []
    for case in cases:
        verdict = case.run()
        verdicts.append((case, verdict))
        if console is not None:
            _print(console, case, verdict)
    if console is None:
        print_json(_json(verdicts, collected.problems))
    else:
        _print_end(console, verdicts, collected.problems)
    good = not collected.problems and all(verdict.passed for _, verdict in verdicts)
    return Exit.DONE if good else Exit.FAILED


def _print(console: Console, case: Case, verdict: Verdict) -> None:
    sign = ("✓", "good") if verdict.passed else ("✗", "bad")
    workflow, _, name = str(case).partition(": ")
    console.print(Text.assemble(sign, " ", (workflow, "name"), f"  {name}"), soft_wrap=True)
    for difference in verdict.differences:
        console.print(_shown(difference), soft_wrap=True)


def _shown(difference: Difference) -> Text:
    place = f"{difference.file}:{difference.line}:{difference.column}"
    text = Text.assemble("  ", (place, "name"), f" {difference.where}")
    for line in difference.lines:
        text.append("\n      ")
        text.append(line, style=_STYLES.get(line[:2], ""))
    return text


def _print_end(console: Console, verdicts: Sequence[tuple[Case, Verdict]], problems: Sequence[Problem]) -> None:
    for problem in shown(problems, "bad"):
        console.print(problem, soft_wrap=True)
    passed = sum(1 for _, verdict in verdicts if verdict.passed)
    failed = len(verdicts) - passed
    said = [f"[good]{passed} passed[/]"] if passed else []
    said += [f"[bad]{failed} failed[/]"] if failed else []
    if problems:
        files = len({problem.file for problem in problems})
        said.append(f"[bad]{files} file{'' if files == 1 else 's'} cannot be run[/]")
    console.print(", ".join(said))


def _json(verdicts: Sequence[tuple[Case, Verdict]], problems: Sequence[Problem]) -> dict[str, Any]:
    tests: list[dict[str, Any]] = []
    for case, verdict in verdicts:
        told: dict[str, Any] = {
            "file": case.file,
            "line": case.line,
            "workflow": case.suite.outline.definition.name,
            "name": case.name,
            "passed": verdict.passed,
        }
        if not verdict.passed:
            told["differences"] = [_difference(one) for one in verdict.differences]
        tests.append(told)
    return {
        "passed": not problems and all(verdict.passed for _, verdict in verdicts),
        "tests": tests,
        "problems": [problem_json(problem) for problem in problems],
    }


def _difference(one: Difference) -> dict[str, Any]:
    told = {"line": one.line, "column": one.column, "where": one.where, "told": list(one.lines)}
    return told | {"expected": one.expected, "got": one.got}
