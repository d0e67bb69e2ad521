"""The ids of a file: collected before anything is compiled, so that a name can be told from a later or a foreign one."""

from __future__ import annotations

from mcp_workflows.definition.model import Step
from mcp_workflows.definition.scope import StepName
from mcp_workflows.definition.text.document import Document, Path
from mcp_workflows.definition.text.nodes import Map


def collect_steps(steps: list[Step], document: Document, siblings: Path = ("steps",)) -> dict[str, StepName]:
    """Every id of the file. An id that is there already is reported."""
    found: dict[str, StepName] = {}
    _collect(steps, document, siblings, None, found)
    return found


def _collect(
    steps: list[Step], document: Document, siblings: Path, undoes: str | None, found: dict[str, StepName]
) -> None:
    for index, step in enumerate(steps):
        path = (*siblings, index)
        if step.id is not None:
            _add(step, document, path, undoes, found)
        if isinstance(step.compensate, list):
            own = step.id or f"{''.join(step.kinds)}#{index + 1}"
            _collect(step.compensate, document, (*path, "compensate"), own, found)


def _add(step: Step, document: Document, path: Path, undoes: str | None, found: dict[str, StepName]) -> None:
    node = document.nearest(path)
    assert step.id is not None
    if step.id in found:
        line = found[step.id].line
        message = f'"{step.id}" is already the id of the step at line {line}; ids are unique in a file'
        document.refuse(document.nearest((*path, "id")), "id", message)
        return
    index = path[-1]
    assert isinstance(index, int)
    found[step.id] = StepName(
        step.id,
        path[:-1],
        index,
        document.line(node),
        when_line=_line_of(document, path, "when") if step.when is not None else None,
        continue_line=_line_of(document, path, "on_error") if step.on_error is not None else None,
        undoes=undoes,
    )


def _line_of(document: Document, path: Path, key: str) -> int:
    step = document.node(path)
    if isinstance(step, Map) and key in step.entries:
        return document.line(step.entries[key].key)
    return 1
