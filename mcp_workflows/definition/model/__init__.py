"""The language as Pydantic models: what a file may say, and the JSON Schema that editors complete from.

The models check form only (keys, types, words). What depends on more than one place (names, services, exactly one kind)
is checked while compiling. A new kind of step is one module here, one field of ``Work`` and one compiler.
"""

from __future__ import annotations

from mcp_workflows.definition.model.approval import Approval
from mcp_workflows.definition.model.child import Child
from mcp_workflows.definition.model.http import Auth, Http
from mcp_workflows.definition.model.jq import Jq
from mcp_workflows.definition.model.long_http import Callback, Poll
from mcp_workflows.definition.model.mcp_tool import McpTool
from mcp_workflows.definition.model.outcomes import Fail, WaitUntil
from mcp_workflows.definition.model.python import Python
from mcp_workflows.definition.model.retry import Retry
from mcp_workflows.definition.model.signal import Signal
from mcp_workflows.definition.model.step import Arm, Case, Cases, Compensation, ForEach, Repeat, Step, Work
from mcp_workflows.definition.model.workflow import Defaults, Mcp, Service, Workflow

__all__ = [
    "Approval",
    "Arm",
    "Auth",
    "Callback",
    "Case",
    "Cases",
    "Child",
    "Compensation",
    "Defaults",
    "Fail",
    "ForEach",
    "Http",
    "Jq",
    "Mcp",
    "McpTool",
    "Poll",
    "Python",
    "Repeat",
    "Retry",
    "Service",
    "Signal",
    "Step",
    "WaitUntil",
    "Work",
    "Workflow",
]
