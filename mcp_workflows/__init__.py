"""Durable workflows for AI agents: one YAML file becomes an MCP tool that survives ``kill -9``."""

from mcp_workflows.functions import StepFailed, function, progress, step

__version__ = "0.1.0"
__all__ = ["StepFailed", "function", "progress", "step"]
