"""Expressions and templates: ``${…}`` in the texts of a definition, evaluated by CEL.

All that the rest of the package needs is named here.
"""

from __future__ import annotations

from mcp_workflows.definition.expressions.chains import TYPE_NAMES
from mcp_workflows.definition.expressions.expression import (
    Expression,
    compile_condition,
    compile_expression,
)
from mcp_workflows.definition.expressions.failures import ExpressionFailed, ExpressionInvalid
from mcp_workflows.definition.expressions.messages import NAMESPACES
from mcp_workflows.definition.expressions.template import Template, compile_text
from mcp_workflows.definition.expressions.values import ABSENT
from mcp_workflows.definition.expressions.variables import INSTANTS, ROOTS, RUN, Reference, Variables

MEANINGS = ROOTS | TYPE_NAMES | NAMESPACES | {"dyn"}
"""Names that mean something in every expression, so that no item may have them."""

__all__ = [
    "ABSENT",
    "INSTANTS",
    "MEANINGS",
    "ROOTS",
    "RUN",
    "Expression",
    "ExpressionFailed",
    "ExpressionInvalid",
    "Reference",
    "Template",
    "Variables",
    "compile_condition",
    "compile_expression",
    "compile_text",
]
