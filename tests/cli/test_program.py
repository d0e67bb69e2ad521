"""The program as a whole: what ``--help`` shows."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from mcp_workflows.cli.program import COMMANDS, program


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_flags_as_such_and_not_as_if_they_took_a_value(command: str):
    shown = CliRunner().invoke(program(), [command, "--help"]).stdout
    assert "--help" in shown
    assert "bool" not in shown


def test_help_breaks_lines_at_the_width_of_the_terminal_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = [line.strip() for line in CliRunner().invoke(program(), ["demo", "--help"]).stdout.splitlines()]
    assert "temporary folder. Exit code 1: something that the demo claims did not happen." in shown
