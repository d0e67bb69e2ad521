"""Run views as the runtime gives them, for tests of how they are told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.views import Progress, RunView

NOW = datetime(2026, 11, 25, 13, 0, tzinfo=UTC)
STARTED = datetime(2026, 11, 25, 12, 59, 19, tzinfo=UTC)
RUN_ID = "r_q1w2e3r4t5y6u7i8o9p0a1s2d3"


def view(status: RunStatus, **fields: Any) -> RunView:
    given: dict[str, Any] = {
        "run_id": RUN_ID,
        "workflow": "saga_order_fulfillment",
        "version": 1,
        "status": status,
        "input": {"order_id": "o1", "amount": 12},
        "created_at": STARTED,
        "actor": "local",
        "progress": Progress(0),
    }
    return RunView(**given | fields)


def refused_booking() -> StepError:
    """What a service said to a request that has a mistake in it."""
    return StepError(
        code="http_422",
        message='POST /shipping/book answered 422: {"error":"status must be 200 or 201"}',
        status=422,
        request={
            "method": "POST",
            "url": "http://127.0.0.1:8905/shipping/book",
            "query": {"status": "2OO"},
            "json": {"orderId": "o1"},
        },
        step="ship",
        attempts=1,
    )
