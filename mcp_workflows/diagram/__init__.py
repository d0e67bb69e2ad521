"""A definition drawn as a Mermaid flowchart, for people and models to look at."""

from __future__ import annotations

from mcp_workflows.diagram.flowchart import flowchart

__all__ = ["flowchart"]
