"""Reading the documentation: its pages, their code blocks, and the rows of their tables."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The contents of the fenced code blocks in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def first_cells(text: str) -> list[str]:
    """The first cell of every row of every table."""
    return [match.strip() for match in re.findall(r"^\| ([^|]*)\|", text, re.MULTILINE)]


def coded(cells: list[str]) -> set[str]:
    """What stands in back quotes in these cells."""
    return {name for cell in cells for name in re.findall(r"`([^`]*)`", cell)}
