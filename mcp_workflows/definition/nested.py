"""The lists of steps that a step holds, where they stand in the file, and what may keep a step from having an output.

All of it is asked of the form, before anything is compiled: a name is checked against steps that stand elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mcp_workflows.definition import model
from mcp_workflows.definition.model.step import StepsOrCase
from mcp_workflows.definition.text.document import Document, Path

_NUMBERED = re.compile(r"else|(?:when|case)\d+")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOTHING = "may have no output, for "


class NestedList(NamedTuple):
    """A list of steps inside a step. ``holder`` is ``switch``, ``on_error`` …, ``part`` the branch or the arm."""

    path: Path
    steps: list[model.Step]
    holder: str
    part: str = ""
    has_output: bool = False
    """The arm says what it gives, whatever its steps do."""


def nested_lists(step: model.Work, path: Path) -> Iterator[NestedList]:
    """What the step at ``path`` holds, in the order of the compiled ``Step.lists``; then what its compensation holds."""
    yield from _of_block(step, path)
    if not isinstance(step, model.Step):
        return
    if isinstance(step.on_error, list):
        yield from _of_arms(step.on_error, (*path, "on_error"), "on_error")
    undo = (*path, "compensate")
    if isinstance(step.compensate, list):
        yield NestedList(undo, step.compensate, "compensate")
    elif step.compensate is not None:
        yield from (inner._replace(holder="compensate") for inner in _of_block(step.compensate, undo))


def _of_block(step: model.Work, path: Path) -> Iterator[NestedList]:
    if isinstance(step.switch, list):
        yield from _of_arms(step.switch, (*path, "switch"), "switch")
    elif step.switch is not None:
        yield from _of_cases(step.switch, (*path, "switch"))
    for name, steps in sorted((step.parallel or {}).items()):
        yield NestedList((*path, "parallel", name), steps, "parallel", name)
    if step.for_each is not None:
        yield NestedList((*path, "for_each", "steps"), step.for_each.steps, "for_each")
    if step.repeat is not None:
        yield NestedList((*path, "repeat", "steps"), step.repeat.steps, "repeat")


def _of_arms(arms: list[model.Arm], path: Path, holder: str) -> Iterator[NestedList]:
    for index, arm in enumerate(arms):
        key, steps = ("else", arm.else_steps) if arm.else_steps is not None else ("steps", arm.steps or [])
        name = "else" if key == "else" else f"when{index + 1}"
        yield NestedList((*path, index, key), steps, holder, name, "output" in arm.model_fields_set)


def _of_cases(switch: model.Cases, path: Path) -> Iterator[NestedList]:
    for name, text in case_names(switch):
        yield _of_case(switch.cases[text], (*path, "cases", text), name)
    if switch.else_case is not None:
        yield _of_case(switch.else_case, (*path, "else"), "else")


def _of_case(case: StepsOrCase, path: Path, name: str) -> NestedList:
    if isinstance(case, list):
        return NestedList(path, case, "switch", name)
    return NestedList((*path, "steps"), case.steps or [], "switch", name, "output" in case.model_fields_set)


def case_names(switch: model.Cases) -> list[tuple[str, str]]:
    """The name of each case in paths, and its text. They follow the texts and not the file, whose order is no part of it."""
    return [
        (text if _IDENTIFIER.fullmatch(text) and not _NUMBERED.fullmatch(text) else f"case{number}", text)
        for number, text in enumerate(sorted(switch.cases), 1)
    ]


def name_of(step: model.Work, index: int) -> str:
    """The last part of the step's path: its id, else kind and position."""
    return getattr(step, "id", None) or f"{(step.kinds or ['step'])[0]}#{index + 1}"


def ends_the_run(step: model.Step) -> bool:
    """Nothing after the step is ever reached."""
    if step.when is not None or step.on_error is not None:
        return False
    if step.kinds in (["return"], ["fail"]):
        return True
    if step.for_each is not None:
        return False  # there may be no items
    lists = [_ends(each.steps) for each in _of_block(step, ())]
    return _has_else(step) and all(lists) if step.switch is not None else any(lists)


def _ends(steps: list[model.Step]) -> bool:
    return any(ends_the_run(step) for step in steps)


def _has_else(step: model.Work) -> bool:
    if isinstance(step.switch, list):
        return step.switch[-1].else_steps is not None
    return step.switch is not None and step.switch.else_case is not None


def why_no_output(step: model.Step, path: Path, document: Document) -> str | None:
    """Why the step at ``path`` may have no output, to follow its name; ``None`` if it has one for sure."""
    if step.when is not None:
        return f"may be skipped (when, line {_line_of(document, path, 'when')})"
    if step.switch is not None and not _has_else(step):
        return f"may be skipped (switch without else, line {_line_of(document, path, 'switch')})"
    if step.on_error == "continue":
        return f"may fail (on_error, line {_line_of(document, path, 'on_error')})"
    if step.signal is not None and step.signal.on_timeout == "continue":
        return f"may not come (on_timeout, line {_line_of(document, (*path, 'signal'), 'on_timeout')})"
    return why_no_output_though_completed(step, path, document)


def why_no_output_though_completed(step: model.Step, path: Path, document: Document) -> str | None:
    """As ``why_no_output``, of a step that was neither skipped nor passed over."""
    if isinstance(step.on_error, list):
        for arm in _of_arms(step.on_error, (*path, "on_error"), "on_error"):
            why = _of_list(arm, document)
            if why is not None:
                return why
    return None if "output" in step.model_fields_set else why_no_result(step, path, document)


def why_no_result(step: model.Work, path: Path, document: Document) -> str | None:
    """Why a block may have no output of its own, which its ``output`` sees as ``result``."""
    if step.repeat is not None and step.repeat.model_fields_set & {"state", "collect"}:
        return None
    if step.switch is None and step.repeat is None:
        return None  # a list or a map, whatever its elements are
    reasons = (_of_list(each, document) for each in _of_block(step, path))
    return next((why for why in reasons if why is not None), None)


def _of_list(nested: NestedList, document: Document) -> str | None:
    steps = nested.steps
    if nested.has_output or not steps or _ends(steps):
        return None
    why = why_no_output(steps[-1], (*nested.path, len(steps) - 1), document)
    if why is None or why.startswith(_NOTHING):
        return why
    return f'{_NOTHING}"{name_of(steps[-1], len(steps) - 1)}" {why}'


def _line_of(document: Document, path: Path, key: str) -> int:
    node = document.key((*path, key))
    return document.line(node) if node is not None else 1
