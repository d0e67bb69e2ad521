"""Problems of definition files for a person: ``FILE:LINE:COL``, which editors and terminals make a link, and the line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from mcp_workflows.errors import Problem

_WIDEST_LINE = 200


def problem_json(problem: Problem) -> dict[str, Any]:
    """``{file, line, column, code, message}``."""
    return asdict(problem)


def shown(problems: Iterable[Problem], style: str) -> Iterator[Text]:
    """Each problem with its line and a caret below the offending token, in file order."""
    lines: dict[str, list[str]] = {}
    for problem in sorted(problems):
        if problem.file not in lines:
            lines[problem.file] = _lines(problem.file)
        yield _shown(problem, lines[problem.file], style)


def _shown(problem: Problem, lines: list[str], style: str) -> Text:
    text = Text.assemble(
        (f"{problem.file}:{problem.line}:{problem.column}", "name"),
        (f" {problem.code}", style),
        f": {problem.message}",
    )
    if 1 <= problem.line <= len(lines):
        text.append(_excerpt(problem, lines[problem.line - 1], style))
    return text


def _excerpt(problem: Problem, line: str, style: str) -> Text:
    number = str(problem.line)
    gutter = " " * len(number)
    before = line[: problem.column - 1]
    start = max(len(before) - _WIDEST_LINE // 2, 0)
    visible = "".join(sign if sign.isprintable() else " " for sign in line[start : start + _WIDEST_LINE])
    column = min(len(before) - start, len(visible))
    return Text.assemble(
        (f"\n  {number} │ ", "dim"),
        visible,
        (f"\n  {gutter} │ ", "dim"),
        (" " * _cells(visible[:column]) + "^", style),
    )


def _cells(text: str) -> int:
    return Text(text).cell_len


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
