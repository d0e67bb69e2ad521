"""Small definitions, and runs of them whose attempts end as a test says."""

from __future__ import annotations

from typing import Any

from mcp_workflows.definition.expressions import Template
from mcp_workflows.definition.program import (
    Compensation,
    Definition,
    HttpWork,
    Step,
)
from tests.engine.simulation import Fate, Simulation, World

UNDO = Compensation((Step("", "http", HttpWork("DELETE", Template.of("http://crm.test/undo"))),))


def definition(*steps: Step, **fields: Any) -> Definition:
    fields.setdefault("output", None)
    return Definition("sample", None, "", "", "", {}, None, {}, (), steps, **fields)


def post(name: str, **fields: Any) -> Step:
    return Step(name, "http", HttpWork("POST", Template.of("http://crm.test/x")), id=name, **fields)


def run(*steps: Step, fates: dict[str, list[Fate]] | None = None, **fields: Any) -> Simulation:
    """``fates`` are by path, one for each attempt; what is not named is done."""

    def fate(path: str, attempt: int) -> Fate:
        planned = (fates or {}).get(path, [])
        return planned[attempt - 1] if attempt <= len(planned) else Fate.DONE

    return Simulation.of(definition(*steps, **fields), World(fate))
