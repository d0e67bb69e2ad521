"""Testing definitions without services: ``*.test.yaml`` files, and the same from Python.

@pytest.mark.parametrize("case", cases("definitions"), ids=str)
def test_definition(case: Case):
    case.check()

def test_a_lost_charge_is_undone():
    result = simulate("onboard.yaml", {"email": "a@example.com"}, answers={"charge": {"error": "timeout"}, …})
    assert result.undone == ("charge", "account")
"""

from __future__ import annotations

from mcp_workflows.testing.cases import Case, Collected, Difference, Verdict, cases, collect, simulate
from mcp_workflows.testing.model import json_schema
from mcp_workflows.testing.result import Call, Result, StepResult, TestBroken

__all__ = [
    "Call",
    "Case",
    "Collected",
    "Difference",
    "Result",
    "StepResult",
    "TestBroken",
    "Verdict",
    "cases",
    "collect",
    "json_schema",
    "simulate",
]
