"""Steps that wait for a message: ``signal`` and ``approval``."""

from __future__ import annotations

from mcp_workflows.definition.expected_types import expect
from mcp_workflows.definition.input_schema import check_data_schema, published
from mcp_workflows.definition.model import Approval, Signal
from mcp_workflows.definition.program import ApprovalWork, SignalWork
from mcp_workflows.definition.site import Site


def compile_signal(model: Signal, site: Site, own: str | None) -> SignalWork:
    """``site`` is the mapping under ``signal``; ``own`` the step's id, which is the signal's name where it has none."""
    if model.name is None and own is None and not site.has("name"):
        site.refuse("signal", "a signal needs a name, or its step an id, so that a message can be addressed to it")
    check_data_schema(site.document, (*site.path, "schema"))
    _needs_timeout(site, model.timeout)
    return SignalWork(
        name=model.name or own or "",
        schema=published(model.data_schema) if model.data_schema is not None else None,
        timeout=model.timeout,
        on_timeout=model.on_timeout or "fail",
    )


def compile_approval(model: Approval, site: Site) -> ApprovalWork:
    """``site`` is the mapping under ``approval``."""
    here = site.at("approval")
    approvers = here.shape("approvers", needs_value=True) if model.approvers is not None else None
    if approvers is not None:
        expect(here, "approvers", approvers, "list")
    check_data_schema(site.document, (*site.path, "form"))
    _needs_timeout(site, model.timeout)
    return ApprovalWork(
        message=here.shape("message", needs_value=True),
        form=published(model.form) if model.form is not None else None,
        approvers=approvers,
        by=model.by or "person",
        timeout=model.timeout,
        on_reject=model.on_reject or "fail",
        on_timeout=model.on_timeout or "fail",
    )


def _needs_timeout(site: Site, timeout: float | None) -> None:
    """Whoever says what follows a timeout counts on one."""
    if site.has("on_timeout") and timeout is None and not site.has("timeout"):
        kind = str(site.path[-1])
        site.refuse(kind, "on_timeout needs timeout: without one it is waited for ever", key="on_timeout")
