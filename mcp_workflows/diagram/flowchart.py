"""The flowchart itself: steps as nodes, blocks as frames around theirs, and arrows for the order in which they are done.

A block's arrows end and begin at its frame. What is drawn with dots is what happens when a step fails: how the failure is
handled, and what undoes the step later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mcp_workflows.definition.program import (
    ApprovalWork,
    Arm,
    Definition,
    FailWork,
    ForEachWork,
    ParallelWork,
    RepeatWork,
    ReturnWork,
    SignalWork,
    Step,
    SwitchWork,
    WorkflowWork,
)
from mcp_workflows.diagram.labels import escaped, label, name_of, work_of

_UNDONE = 4
"""Steps of one compensation that are named."""


class _Exit(NamedTuple):
    """Where the way goes on from: a node, what the arrow says, and whether it is the way of a failure."""

    node: str
    says: str = ""
    failed: bool = False


def flowchart(definition: Definition) -> str:
    """The source of a Mermaid ``flowchart``. The same definition gives the same text, and expressions are not evaluated."""
    return _Drawing().draw(definition)


class _Drawing:
    """Lines of one flowchart as they come about; nodes are numbered in the order of the definition."""

    def __init__(self) -> None:
        self._lines = ["flowchart TD"]
        self._depth = 1
        self._nodes = 0

    def draw(self, definition: Definition) -> str:
        begin = self._node("([", label(definition.name), "])")
        exits = self._list(definition.steps, [_Exit(begin)])
        if exits:
            self._arrows(exits, self._node("([", label("completed"), "])"))
        return "\n".join(self._lines) + "\n"

    def _list(self, steps: Sequence[Step], exits: list[_Exit]) -> list[_Exit]:
        for step in steps:
            exits = self._step(step, exits)
        return exits

    def _step(self, step: Step, exits: list[_Exit]) -> list[_Exit]:
        passed: list[_Exit] = []
        if step.when is not None:
            asked = self._node("{", label(step.when.source), "}")
            self._arrows(exits, asked)
            exits, passed = [_Exit(asked, "yes")], [_Exit(asked, "no")]
        match step.work:
            case SwitchWork(arms=arms):
                node = self._node("{", label(name_of(step), work_of(step)), "}")
                self._arrows(exits, node)
                ends = self._arms(node, arms)
            case ParallelWork() | ForEachWork() | RepeatWork():
                node = self._block(step)
                self._arrows(exits, node)
                ends = [_Exit(node)]
            case _:
                node = self._leaf(step)
                self._arrows(exits, node)
                ends = [] if isinstance(step.work, ReturnWork | FailWork) else [_Exit(node)]
        self._undoing(step, node)
        return [*ends, *self._failures(step, node), *passed]

    def _leaf(self, step: Step) -> str:
        text = label(name_of(step), work_of(step))
        match step.work:
            case ApprovalWork() | SignalWork():
                return self._node("{{", text, "}}")
            case WorkflowWork():
                return self._node("[[", text, "]]")
            case ReturnWork() | FailWork():
                return self._node("([", text, "])")
            case _:
                return self._node("[", text, "]")

    def _arms(self, node: str, arms: Sequence[Arm]) -> list[_Exit]:
        ends: list[_Exit] = []
        for arm in arms:
            ends += self._list(arm.steps, [_Exit(node, _says(arm) or "else")])
        if all(arm.when is not None or arm.case is not None for arm in arms):
            ends.append(_Exit(node, "else"))
        return ends

    def _block(self, step: Step) -> str:
        match step.work:
            case ParallelWork(branches=branches):
                frame = self._open(name_of(step), "all at the same time")
                for name, steps in branches.items():
                    self._open(name)
                    self._inside(steps)
                    self._close()
            case _:
                frame = self._open(name_of(step), work_of(step))
                self._inside(step.lists[0])
        self._close()
        return frame

    def _inside(self, steps: Sequence[Step]) -> None:
        """What comes after the last of them is said by the frame's arrows; a choice at the end needs a place to lead to."""
        exits = self._list(steps, [])
        if not steps or any(one.says for one in exits):
            self._arrows(exits, self._node("((", '" "', "))"))

    def _failures(self, step: Step, node: str) -> list[_Exit]:
        if step.continue_on_error:
            return [_Exit(node, "fails", failed=True)]
        ends: list[_Exit] = []
        for arm in step.on_error:
            said = _says(arm)
            ends += self._list(arm.steps, [_Exit(node, f"fails, {said}" if said else "fails", failed=True)])
        return ends

    def _undoing(self, step: Step, node: str) -> None:
        if step.compensate is None:
            return
        undone = step.compensate.steps
        named = [work_of(one) if not one.name else f"{name_of(one)}: {work_of(one)}" for one in undone[:_UNDONE]]
        more = f"and {len(undone) - _UNDONE} more" if len(undone) > _UNDONE else ""
        self._arrows([_Exit(node, "undone by", failed=True)], self._node(">", label(*named, more), "]"))

    def _node(self, begin: str, text: str, end: str) -> str:
        self._nodes += 1
        name = f"s{self._nodes}"
        self._line(f"{name}{begin}{text}{end}")
        return name

    def _open(self, *lines: str) -> str:
        self._nodes += 1
        name = f"s{self._nodes}"
        self._line(f"subgraph {name}[{label(*lines)}]")
        self._depth += 1
        return name

    def _close(self) -> None:
        self._depth -= 1
        self._line("end")

    def _arrows(self, exits: Sequence[_Exit], to: str) -> None:
        for one in exits:
            arrow = "-.->" if one.failed else "-->"
            says = f'|"{escaped(one.says)}"|' if one.says else ""
            self._line(f"{one.node} {arrow}{says} {to}")

    def _line(self, text: str) -> None:
        self._lines.append(f"{'  ' * self._depth}{text}")


def _says(arm: Arm) -> str:
    """When it is taken; nothing of one that is taken if no other is."""
    return arm.case if arm.case is not None else "" if arm.when is None else arm.when.source
