"""The ids of a file: collected before anything is compiled, so that a name can be told from a later or a foreign one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mcp_workflows.definition.model import Step
from mcp_workflows.definition.nested import (
    NestedList,
    name_of,
    nested_lists,
    why_no_output,
    why_no_output_though_completed,
)
from mcp_workflows.definition.scope import DEFAULT_ITEM, Holder, StepName
from mcp_workflows.definition.text.document import Document, Path

DECISION = ("decision", "by", "at", "note", "form", "via")
"""What the answer to an approval has."""


@dataclass(slots=True)
class Collected:
    """What the steps of a file are called, and where the items of its loops are known."""

    steps: dict[str, StepName] = field(default_factory=dict[str, StepName])
    items: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


def collect_names(steps: list[Step], document: Document) -> Collected:
    """Every id of the file, and every item's name. An id that is there already is reported."""
    found = Collected()
    for step, path, holders in _all(steps, ("steps",), (), document):
        if step.id is not None:
            _add(step, path, holders, document, found.steps)
        if step.for_each is not None:
            known = found.items.setdefault(step.for_each.item_name or DEFAULT_ITEM, [])
            known.append(f'for_each "{step.id}"' if step.id else f"the for_each at line {_line(document, path)}")
    return found


def _all(
    steps: list[Step], siblings: Path, holders: tuple[Holder, ...], document: Document
) -> Iterator[tuple[Step, Path, tuple[Holder, ...]]]:
    """Every step, where it stands, and what it stands in, outermost first."""
    for index, step in enumerate(steps):
        path = (*siblings, index)
        yield step, path, holders
        for nested in nested_lists(step, path):
            yield from _all(nested.steps, nested.path, (*holders, _holder(step, path, nested, document)), document)


def _holder(step: Step, path: Path, nested: NestedList, document: Document) -> Holder:
    index = path[-1]
    assert isinstance(index, int)
    return Holder(
        nested.holder, name_of(step, index), step.id, _line(document, path), path[:-1], index, nested.part
    )  # fmt: skip


def _line(document: Document, path: Path) -> int:
    return document.line(document.nearest(path))


def _add(step: Step, path: Path, holders: tuple[Holder, ...], document: Document, found: dict[str, StepName]) -> None:
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
        _line(document, path),
        holders=holders,
        no_output=why_no_output(step, path, document),
        no_output_though_completed=why_no_output_though_completed(step, path, document),
        parts=_parts_of_output(step),
        collects_errors=step.for_each.on_item_error == "collect" if step.for_each is not None else None,
    )


def _parts_of_output(step: Step) -> tuple[str, ...]:
    """What the step's output has, where that is known."""
    if "output" in step.model_fields_set or isinstance(step.on_error, list):
        return ()
    return DECISION if step.approval is not None else tuple(step.parallel or ())
