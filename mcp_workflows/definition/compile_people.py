"""Steps that wait for a message: ``signal`` and ``approval``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mcp_workflows.definition.expected_types import expect
from mcp_workflows.definition.input_schema import check_data_schema, published
from mcp_workflows.definition.model import Approval, Signal
from mcp_workflows.definition.program import ApprovalWork, Json, SignalWork
from mcp_workflows.definition.site import Site

_APART = "what is sent says only a name, and must not be taken for the other"


def compile_signal(model: Signal, site: Site, own: str | None) -> SignalWork:
    """``site`` is the mapping under ``signal``; ``own`` the step's id, which is the signal's name where it has none."""
    if model.name is None and own is None and not site.has("name"):
        site.refuse("signal", "a signal needs a name, or its step an id, so that a message can be addressed to it")
    check_data_schema(site.document, (*site.path, "schema"))
    _needs_timeout(site, model.timeout)
    name = model.name or own or ""
    schema = published(model.data_schema) if model.data_schema is not None else None
    if name:
        _check_signal(name, schema, site)
    return SignalWork(
        name=name,
        schema=schema,
        timeout=model.timeout,
        on_timeout=model.on_timeout or "fail",
    )


def compile_approval(model: Approval, site: Site, own: str | None) -> ApprovalWork:
    """``site`` is the mapping under ``approval``; ``own`` the step's id, by which it is answered."""
    if own is not None:
        _check_approval(own, site)
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


def _check_signal(name: str, schema: Mapping[str, Json] | None, site: Site) -> None:
    """What is sent names a signal or an approval and nothing else: the name must say which data is meant."""
    reads = site.reads
    if name in reads.approvals:
        line = reads.approvals[name]
        site.refuse("signal", f'"{name}" is the approval at line {line}: {_APART}', key="name")
    text = None if schema is None else json.dumps(schema, sort_keys=True)
    line, first = reads.signals.setdefault(name, (_line_of(site), text))
    if text != first and (schema is not None or not site.has("schema")):  # else it was refused already
        message = f'"{name}" has another schema at line {line}: every step that takes a signal takes the same data'
        site.refuse("signal", message, key="schema")


def _check_approval(name: str, site: Site) -> None:
    site.reads.approvals[name] = _line_of(site)
    if name in site.reads.signals:
        line, _ = site.reads.signals[name]
        site.refuse("approval", f'"{name}" is the signal at line {line}: {_APART}')


def _line_of(site: Site) -> int:
    return site.document.line(site.document.key(site.path) or site.node)


def _needs_timeout(site: Site, timeout: float | None) -> None:
    """Whoever says what follows a timeout counts on one."""
    if site.has("on_timeout") and timeout is None and not site.has("timeout"):
        kind = str(site.path[-1])
        site.refuse(kind, "on_timeout needs timeout: without one it is waited for ever", key="on_timeout")
