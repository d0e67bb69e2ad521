"""The doing: how one step's work is done, and what came of it."""

from __future__ import annotations

from mcp_workflows.steps.environment import Environment
from mcp_workflows.steps.request import refuse_correction
from mcp_workflows.steps.steps import Steps

__all__ = ["Environment", "Steps", "refuse_correction"]
