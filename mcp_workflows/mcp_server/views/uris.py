"""The addresses of resources: ``workflow://{name}``, ``run://{run_id}`` and ``run://{run_id}/result``."""

from __future__ import annotations

import re
from dataclasses import dataclass

WORKFLOW_TEMPLATE = "workflow://{name}"
RUN_TEMPLATE = "run://{run_id}"
RESULT_TEMPLATE = "run://{run_id}/result"

_WORKFLOW = re.compile(r"workflow://([a-z][a-z0-9_]{0,47})/?")
_RUN = re.compile(r"run://(r_[0-9a-z]{1,26})(?:/(result)?)?")


@dataclass(frozen=True, slots=True)
class WorkflowAddress:
    """A workflow as it is served now."""

    name: str


@dataclass(frozen=True, slots=True)
class RunAddress:
    """A run's trace, or its result alone. ``run_id`` may be cut short, as everywhere."""

    run_id: str
    result: bool = False


def read_uri(uri: str) -> WorkflowAddress | RunAddress | None:
    """What the URI addresses, if it is one of ours."""
    if (workflow := _WORKFLOW.fullmatch(uri)) is not None:
        return WorkflowAddress(workflow[1])
    if (run := _RUN.fullmatch(uri)) is not None:
        return RunAddress(run[1], result=run[2] is not None)
    return None


def workflow_uri(name: str) -> str:
    return WORKFLOW_TEMPLATE.format(name=name)


def run_uri(run_id: str) -> str:
    return RUN_TEMPLATE.format(run_id=run_id)


def result_uri(run_id: str) -> str:
    return RESULT_TEMPLATE.format(run_id=run_id)
