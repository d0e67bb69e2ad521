"""Functions that the examples call: start the server with ``MCP_WORKFLOWS_FUNCTIONS=examples.functions``."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_low

import mcp_workflows


@dataclass(frozen=True, slots=True)
class OrderFigures:
    """Amounts in cents."""

    orders: int
    total: int
    average: int
    median: int
    largest: int


@mcp_workflows.function
def order_figures(totals: list[int]) -> OrderFigures:
    """The figures of a month, given the total of each order."""
    if not totals:
        return OrderFigures(0, 0, 0, 0, 0)
    total = sum(totals)
    return OrderFigures(len(totals), total, round(total / len(totals)), median_low(totals), max(totals))
