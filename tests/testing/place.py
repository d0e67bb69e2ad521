"""A folder with one definition and its tests."""

from __future__ import annotations

from pathlib import Path

from mcp_workflows.errors import Problem
from mcp_workflows.testing import Case, Verdict, collect

HEAD = """\
name: flow
description: A workflow for tests of testing.
input:
  properties:
    names: {type: array, items: {type: string}, default: [a, b, c]}
    n: {type: integer, default: 1}
vars: {URL: "http://service.example", LIMIT: 10}
secrets: [TOKEN]
services:
  api: {base_url: "${vars.URL}", auth: {bearer: "${secrets.TOKEN}"}}
defaults:
  retry: {max_attempts: 3, delay: 1s, jitter: false}
"""


def write(folder: Path, steps: str, tests: str) -> Path:
    """The test file. ``steps`` is the rest of the definition."""
    (folder / "flow.yaml").write_text(HEAD + steps)
    file = folder / "flow.test.yaml"
    file.write_text(tests)
    return file


def case(folder: Path, steps: str, tests: str) -> Case:
    """The only test."""
    collected = collect(write(folder, steps, tests))
    assert collected.problems == ()
    (only,) = collected.cases
    return only


def verdict(folder: Path, steps: str, tests: str) -> Verdict:
    return case(folder, steps, tests).run()


def told(folder: Path, steps: str, tests: str) -> list[str]:
    """What is said of the only test, without the path of the folder."""
    found = verdict(folder, steps, tests)
    return [str(one).replace(f"{folder}/", "") for one in found.differences]


def problems(folder: Path, steps: str, tests: str) -> list[str]:
    """What is wrong with the files, as ``LINE:COL code: message``."""
    collected = collect(write(folder, steps, tests))
    return [_shown(problem) for problem in collected.problems]


def _shown(problem: Problem) -> str:
    return f"{problem.line}:{problem.column} {problem.code}: {problem.message}"
