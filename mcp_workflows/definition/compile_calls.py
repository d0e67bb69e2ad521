"""Steps that have something else do their work: ``python``, ``mcp_tool``, ``jq`` and ``workflow``."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_workflows.definition.compile_services import CONNECT_TIMEOUT, CompiledService, named_service
from mcp_workflows.definition.expected_types import object_at
from mcp_workflows.definition.expressions import Template
from mcp_workflows.definition.jq_filter import jq_faults
from mcp_workflows.definition.model import Child, Jq, McpTool, Python
from mcp_workflows.definition.program import JqWork, McpToolWork, PythonWork, WorkflowWork
from mcp_workflows.definition.site import EMPTY, Site
from mcp_workflows.definition.text.nodes import Scalar


def compile_python(model: Python, site: Site) -> PythonWork:
    """``site`` is the mapping under ``python``."""
    return PythonWork(model.call, object_at(site.at("python"), "args", model.args))


def compile_mcp_tool(model: McpTool, site: Site, services: Mapping[str, CompiledService]) -> McpToolWork:
    """``site`` is the mapping under ``mcp_tool``."""
    service = named_service(model.service, "mcp", site, services)
    if model.list_tools and (site.has("tool") or site.has("arguments")):
        site.refuse("mcp_tool", "give tool, with its arguments, or list: true, not both", key="list")
    elif not site.has("tool") and not site.has("list"):
        site.refuse("mcp_tool", "give tool, or list: true")
    arguments: Template | None = None
    if not model.list_tools:
        arguments = object_at(site.at("arguments", secrets=True), "arguments", model.arguments, ordered=False)
    return McpToolWork(
        service=model.service,
        server=service.mcp if service is not None and service.mcp is not None else EMPTY,
        tool=model.tool,
        arguments=arguments,
        auth=service.auth if service is not None else None,
        headers=tuple(service.headers.values()) if service is not None else (),
        connect_timeout=(service.connect_timeout if service is not None else None) or CONNECT_TIMEOUT,
    )


def compile_jq(model: Jq, site: Site) -> JqWork:
    """``site`` is the mapping under ``jq``."""
    node = site.under("filter").node
    if isinstance(node, Scalar) and isinstance(node.value, str):
        for fault in jq_faults(node.value):
            site.document.refuse(node, "jq", fault.message, fault.offset)
    return JqWork(model.filter, site.at("jq").shape("input", needs_value=True))


def compile_workflow(model: Child, site: Site) -> WorkflowWork:
    """``site`` is the mapping under ``workflow``. Whether the child is there is checked where all files are known."""
    site.reads.children.append((site.path, model.name))
    return WorkflowWork(model.name, object_at(site.at("workflow"), "input", model.input), model.detach)
