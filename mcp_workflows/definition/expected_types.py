"""What a place expects of the one expression that stands there, as far as its type is known when the file is loaded."""

from __future__ import annotations

from mcp_workflows.definition.expressions import Expression, Template
from mcp_workflows.definition.phrases import describe
from mcp_workflows.definition.site import EMPTY, Site
from mcp_workflows.definition.text.nodes import Scalar


def object_at(site: Site, key: str, given: object, *, ordered: bool = True) -> Template:
    """The mapping at ``key``, or the expression that gives one; an empty one where the form holds nothing there."""
    if given is None:
        return Template.of({})
    template = site.shape(key, ordered=ordered, needs_value=True)
    expect(site, key, template, "map")
    return template


def expect(site: Site, key: str, template: Template, kind: str) -> None:
    """Reports a text at ``key`` that gives something other than ``kind``: ``map`` or ``list``."""
    node = site.under(key).node
    if not isinstance(node, Scalar) or template is EMPTY:
        return
    if isinstance(template.shape, Expression):
        found = template.shape.result_type
        if found not in (kind, "dyn"):
            message = f'found {found}, expected {kind}, in "{key}"'
            site.document.refuse(node, "expr", message, template.shape.start)
        return
    noun = {"map": "a mapping", "list": "a list"}[kind]
    message = f"{key} is {noun}, or one expression that gives one; found {describe(node.value)}"
    site.document.refuse(node, "value", message)
