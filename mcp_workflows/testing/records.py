"""The records of a simulated run, kept and read back as a store does it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.paths import parent_of
from mcp_workflows.engine.places import lists_to_undo, lists_wanted
from mcp_workflows.engine.records import RunRecord, StepRecord
from mcp_workflows.engine.states import RunStatus


class Records:
    """Rows by path, and by the list that they stand in."""

    def __init__(self) -> None:
        self.all: dict[str, StepRecord] = {}
        self._lists: defaultdict[str, dict[str, StepRecord]] = defaultdict(dict)

    def keep(self, steps: Iterable[StepRecord]) -> None:
        for step in steps:
            self.all[step.path] = self._lists[parent_of(step.path)][step.path] = step

    def needed(self, definition: Definition, run: RunRecord) -> Mapping[str, StepRecord]:
        """What a node loads for a machine, and no more: a machine that lacked something would be found out here."""
        undoing = run.status is RunStatus.COMPENSATING or run.compensation == "incomplete"
        wanted = lists_to_undo if undoing else lists_wanted
        memo = {path: step for path, step in self.all.items() if step.undoable} if undoing else {}
        loaded: set[str] = set()
        while more := wanted(definition, memo) - loaded:
            loaded |= more
            for each in more:
                memo |= self._lists.get(each, {})
        return memo
