"""The doing: how one step's work is done, and what came of it."""

from __future__ import annotations

from mcp_workflows.steps.correction import CORRECTABLE, refuse_correction
from mcp_workflows.steps.environment import Environment
from mcp_workflows.steps.mcp_tool.servers import load_servers
from mcp_workflows.steps.python.registry import find_functions
from mcp_workflows.steps.steps import Steps

__all__ = ["CORRECTABLE", "Environment", "Steps", "find_functions", "load_servers", "refuse_correction"]
