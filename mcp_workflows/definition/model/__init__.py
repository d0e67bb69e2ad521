"""The language as Pydantic models: what a file may say, and the JSON Schema that editors complete from.

The models check form only (keys, types, words). What depends on more than one place (names, services, exactly one kind)
is checked while compiling. A new kind of step is one module here, one field of ``Work`` and one compiler.
"""

from __future__ import annotations

from mcp_workflows.definition.model.http import Auth, Http
from mcp_workflows.definition.model.outcomes import Fail, WaitUntil
from mcp_workflows.definition.model.retry import Retry
from mcp_workflows.definition.model.step import Compensation, Step, Work
from mcp_workflows.definition.model.workflow import Defaults, Mcp, Service, Workflow

__all__ = [
    "Auth",
    "Compensation",
    "Defaults",
    "Fail",
    "Http",
    "Mcp",
    "Retry",
    "Service",
    "Step",
    "WaitUntil",
    "Work",
    "Workflow",
]
