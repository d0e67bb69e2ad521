"""What is remembered: definitions, runs, their steps and messages, and the nodes that move them. The only place with SQL."""

from __future__ import annotations

from mcp_workflows.store.places import default_url
from mcp_workflows.store.store import Store
from mcp_workflows.store.values import (
    Claimable,
    Delivered,
    Ending,
    Mark,
    NewRun,
    NodeReport,
    NodeRow,
    RunFilter,
    RunList,
    StartResult,
    StoredDefinition,
    TakenOver,
    Tree,
    Unable,
)

__all__ = [
    "Claimable",
    "Delivered",
    "Ending",
    "Mark",
    "NewRun",
    "NodeReport",
    "NodeRow",
    "RunFilter",
    "RunList",
    "StartResult",
    "Store",
    "StoredDefinition",
    "TakenOver",
    "Tree",
    "Unable",
    "default_url",
]
