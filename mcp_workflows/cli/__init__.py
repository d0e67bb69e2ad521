"""The command line: a surface like the others. It translates between a terminal and ``runtime.runs``."""

from __future__ import annotations

from mcp_workflows.cli.program import main

__all__ = ["main"]
