"""The program as a whole: what ``--help`` shows."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from mcp_workflows.cli.program import program


def test_help_breaks_lines_at_the_width_of_the_terminal_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = [line.strip() for line in CliRunner().invoke(program(), ["demo", "--help"]).stdout.splitlines()]
    assert "temporary folder. Exit code 1: something that the demo claims did not happen." in shown
