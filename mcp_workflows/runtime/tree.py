"""A run's steps as people see them: each below what it stands in, and of long loops only what is worth a look.

What undoes a step happens long after it, in an order of its own, so it stands at the top and not below the step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mcp_workflows.engine.paths import COMPENSATE, parent_of
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import StepStatus

SHOWN_WHOLE: Final = 8
"""Items of a loop that are shown without leaving any out."""
_FIRST: Final = 3
_LAST: Final = 2
_TROUBLED: Final = 10

_NO_STEPS: Final = frozenset({"branch", "item", "iteration"})
_TROUBLE: Final = frozenset({StepStatus.FAILED, StepStatus.IN_DOUBT})


@dataclass(slots=True)
class Branch:
    """One step, or one list of steps, with what is in it, in order of time; the items of a loop in their order."""

    path: str
    name: str
    """What it adds to the name of what it stands in: ``charge``, ``[3]``, ``on_error.when1``."""
    row: StepRecord | None = None
    """``None`` of a list that has no record of its own, or none yet."""
    inner: list[Branch] = field(default_factory=list["Branch"])
    left_out: Counter[StepStatus] = field(default_factory=Counter[StepStatus])
    """Items that were left out at the end of ``inner``, by how they stand."""

    @property
    def is_item(self) -> bool:
        """One round of a loop."""
        return self.path.endswith("]")

    @property
    def status(self) -> StepStatus:
        """Its own, or what those in it say together."""
        if self.row is not None:
            return self.row.status
        statuses = {branch.status for branch in self.inner}
        for telling in (StepStatus.IN_DOUBT, StepStatus.FAILED, StepStatus.CANCELLED):
            if telling in statuses:
                return telling
        unsettled = [status for status in statuses if not status.settled]
        return StepStatus.RUNNING if unsettled else StepStatus.COMPLETED

    @property
    def begun_at(self) -> datetime | None:
        """The first of all that happened in it."""
        own = [self.row.started_at or self.row.finished_at] if self.row is not None else []
        return min(filter(None, [*own, *(branch.begun_at for branch in self.inner)]), default=None)

    @property
    def in_trouble(self) -> bool:
        """Something in it failed for good, or goes on."""
        return self.status in _TROUBLE or not self.status.settled


def tree(rows: Sequence[StepRecord]) -> list[Branch]:
    """The branches at the top, in order of time."""
    branches: dict[str, Branch] = {}
    top: list[Branch] = []
    for row in rows:
        _branch(row.path, branches, top).row = row
    return [_tidied(branch) for branch in _ordered(top)]


def steps_in(branches: Sequence[Branch]) -> Iterator[StepRecord]:
    """The records that a tree shows."""
    for branch in branches:
        if branch.row is not None:
            yield branch.row
        yield from steps_in(branch.inner)


def is_step(row: StepRecord) -> bool:
    """It is a step, and not a list of steps that has ended."""
    return row.kind not in _NO_STEPS


def _branch(path: str, branches: dict[str, Branch], top: list[Branch]) -> Branch:
    found = branches.get(path)
    if found is not None:
        return found
    above = parent_of(path)
    if path.endswith(COMPENSATE) or not above:
        undone = path.removesuffix(COMPENSATE)
        found = Branch(path, path if undone == path else f"undo {undone}")
        top.append(found)
    else:
        found = Branch(path, path[len(above) :].lstrip(".:"))
        _branch(above, branches, top).inner.append(found)
    branches[path] = found
    return found


def _ordered(branches: list[Branch]) -> list[Branch]:
    """Items in their order, then the others in order of time."""
    items, others = _parted(branches)
    items.sort(key=lambda item: int(item.name[1:-1]))
    timed = [(branch.begun_at, branch) for branch in others]
    latest = max((at for at, _ in timed if at is not None), default=None)
    if latest is not None:
        others = [branch for _, branch in sorted(timed, key=lambda pair: pair[0] or latest)]
    return items + others


def _parted(branches: list[Branch]) -> tuple[list[Branch], list[Branch]]:
    items = [branch for branch in branches if branch.is_item]
    return items, [branch for branch in branches if not branch.is_item]


def _tidied(branch: Branch) -> Branch:
    """Long loops cut, and lists of one step drawn together with it."""
    items, others = _parted(_ordered(branch.inner))
    if len(items) > SHOWN_WHOLE:
        items, branch.left_out = _cut(items)
    branch.inner = [_tidied(one) for one in items + others]
    if len(branch.inner) == 1 and not branch.left_out and _says_nothing_more(branch, branch.inner[0]):
        only = branch.inner[0]
        joint = "" if only.is_item else "."
        return Branch(only.path, f"{branch.name}{joint}{only.name}", only.row, only.inner, only.left_out)
    return branch


def _says_nothing_more(branch: Branch, only: Branch) -> bool:
    """The list is told by the one step in it: they ended alike, whether or not the step was undone since."""
    row = branch.row
    if row is None:
        return True
    done = row.status is StepStatus.COMPLETED and only.status.has_output
    return not is_step(row) and (row.status is only.status or done)


def _cut(items: list[Branch]) -> tuple[list[Branch], Counter[StepStatus]]:
    """The first, the last, and those in trouble."""
    middle = items[_FIRST:-_LAST]
    troubled = [item for item in middle if item.in_trouble][:_TROUBLED]
    shown = {id(item) for item in troubled}
    left_out = Counter(item.status for item in middle if id(item) not in shown)
    return [*items[:_FIRST], *troubled, *items[-_LAST:]], left_out
