"""Finding one's way in a run: from a path to its step and what that sees, and through the lists that are still open."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from mcp_workflows.definition.program import (
    Definition,
    ForEachWork,
    Json,
    ParallelWork,
    RepeatWork,
    Step,
    SwitchWork,
)
from mcp_workflows.engine.paths import COMPENSATE, ON_ERROR, around
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.scope import NOTHING, Lexical, error_view
from mcp_workflows.engine.states import StepStatus

Memo = Mapping[str, StepRecord]
_PART = re.compile(r"(?P<sep>[.:]?)(?P<name>[^.\[:]+)|\[(?P<index>\d+)\]")


class Place(NamedTuple):
    """A step of a run, and the list it stands in."""

    path: str
    step: Step
    lexical: Lexical


class Inner(NamedTuple):
    """A list inside of a step."""

    path: str
    steps: tuple[Step, ...]
    values: Mapping[str, Json] = NOTHING


def step_at(definition: Definition, path: str) -> Step | None:
    """The step of the definition that stands at ``path`` of a run; ``None`` of an item, a branch or no path at all."""
    place = place_of(definition, path, {})
    return place.step if place else None


def place_of(definition: Definition, path: str, memo: Memo) -> Place | None:
    """The step at ``path`` with what it sees. ``memo`` must hold the records of all that the path stands in."""
    steps = definition.steps
    lexical = Lexical.of(steps)
    here: Place | None = None
    pending = ""
    for part in _PART.finditer(path):
        if pending or here is not None:
            pending += part.group(0)
            inner = None if here is None else _list_at(here, pending, memo)
            if inner is not None:
                steps, lexical = inner.steps, Lexical.of(inner.steps, inner.path, _seen(here), inner.values)
                here, pending = _unnamed(inner, lexical), ""
            continue
        name = part.group("name")
        step = next((step for step in steps if step.name == name), None)
        if step is None:
            return None
        here = Place(lexical.prefix + step.name, step, lexical)
    return here if here is not None and here.path == path else None


def _seen(here: Place | None) -> Lexical | None:
    return here.lexical if here is not None else None


def _unnamed(inner: Inner, lexical: Lexical) -> Place | None:
    """The one step of a compensation's short form stands at the list's own path."""
    if len(inner.steps) == 1 and inner.steps[0].name == "":
        return Place(inner.path, inner.steps[0], lexical)
    return None


def _list_at(here: Place, suffix: str, memo: Memo) -> Inner | None:
    """The list that ``suffix`` leads to from a step."""
    path = here.path + suffix
    step, work = here.step, here.step.work
    if suffix == COMPENSATE and step.compensate is not None:
        return Inner(path, step.compensate.steps)
    if suffix.startswith(f"{ON_ERROR}."):
        arm = next((arm for arm in step.on_error if arm.name == suffix[len(ON_ERROR) + 1 :]), None)
        record = memo.get(here.path)
        error = {"error": error_view(record.error)} if record and record.error else NOTHING
        return Inner(path, arm.steps, error) if arm else None
    match work:
        case SwitchWork(arms=arms):
            return next((Inner(path, arm.steps) for arm in arms if suffix == f".{arm.name}"), None)
        case ParallelWork(branches=branches):
            return Inner(path, branches[suffix[1:]]) if suffix[1:] in branches else None
        case ForEachWork() | RepeatWork() if suffix.startswith("["):
            return Inner(path, work.steps, _loop_values(here, int(suffix[1:-1]), memo))
        case _:
            return None


def _loop_values(here: Place, index: int, memo: Memo) -> Mapping[str, Json]:
    work = here.step.work
    block = memo.get(here.path)
    decision: Mapping[str, Json] = (block.decision if block else None) or {}
    if isinstance(work, ForEachWork):
        items: list[Json] = decision.get("items", [])
        return {work.item_name: items[index] if index < len(items) else None, "index": index}
    iteration = memo.get(f"{here.path}[{index}]")
    state = iteration.decision["state"] if iteration and iteration.decision else decision.get("state")
    return {"state": state, "index": index}


# Open lists


def inner_lists(place: Place, memo: Memo) -> Iterator[Inner]:
    """The lists of a step that are not folded: in which something is open, was cut short or failed for good."""
    record = memo.get(place.path)
    if record is None:
        return
    if record.handler is not None:
        inner = _list_at(place, f"{ON_ERROR}.{record.handler}", memo)
        if inner is not None:
            yield inner
        return
    if not place.step.is_block or record.status in (StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.PENDING):
        return
    for suffix in _open_suffixes(place, record, memo):
        inner = _list_at(place, suffix, memo)
        if inner is not None:
            yield inner


def _open_suffixes(place: Place, record: StepRecord, memo: Memo) -> Iterator[str]:
    decision: Mapping[str, Json] = record.decision or {}
    match place.step.work:
        case SwitchWork() if "arm" in decision:
            yield f".{decision['arm']}"
        case ParallelWork(branches=branches):
            yield from (f".{name}" for name in branches if f"{place.path}.{name}" not in memo)
        case RepeatWork() if "iteration" in decision:
            yield f"[{decision['iteration']}]"
        case ForEachWork(concurrency=concurrency) if "items" in decision:
            open_ones = 0
            for index in range(len(decision["items"])):
                if f"{place.path}[{index}]" not in memo:
                    yield f"[{index}]"
                    open_ones += 1
                    if open_ones == concurrency:
                        return
        case _:
            return


def walk(
    steps: tuple[Step, ...], lexical: Lexical, memo: Memo, passes: Callable[[Place, StepRecord], bool]
) -> Iterator[Place]:
    """The steps of a list and of the open lists inside, outer ones first, up to the first at which ``passes`` is false."""
    for step in steps:
        path = lexical.prefix + step.name
        place = Place(path, step, lexical)
        yield place
        for inner in inner_lists(place, memo):
            yield from walk(inner.steps, Lexical.of(inner.steps, inner.path, lexical, inner.values), memo, passes)
        record = memo.get(path)
        if record is None or not passes(place, record):
            return


def frontier(definition: Definition, memo: Memo) -> Iterator[Place]:
    """Where a run stands: of each open list the first step whose outcome is not recorded."""
    for place in walk(
        definition.steps, Lexical.of(definition.steps), memo, lambda _place, record: record.status.settled
    ):
        record = memo.get(place.path)
        if record is None or not record.status.settled:
            yield place


def broken(steps: tuple[Step, ...], lexical: Lexical, memo: Memo) -> list[Place]:
    """Where a list stopped: the steps that failed for good or were cut short, blocks before what they hold."""
    found: list[Place] = []

    def passes(place: Place, record: StepRecord) -> bool:
        return record.status.settled and not _is_broken(place.step, record)

    for place in walk(steps, lexical, memo, passes):
        record = memo.get(place.path)
        if record is not None and _is_broken(place.step, record) and record.handler is None:
            found.append(place)
    return found


def _is_broken(step: Step, record: StepRecord) -> bool:
    if record.status is StepStatus.CANCELLED:
        return True
    failed = record.status in _BROKEN
    return failed and not (record.error is not None and step.goes_on_after(record.error.code))


_BROKEN = frozenset({StepStatus.FAILED, StepStatus.IN_DOUBT})


# What to load


def lists_wanted(definition: Definition, memo: Memo) -> set[str]:
    """Of a run that goes forward: the lists, and the blocks with rows for their items, of which records are needed.

    Ask again once they are in the memo, until nothing new is wanted.
    """
    return {"", *_open_in(definition.steps, Lexical.of(definition.steps), memo)}


def lists_to_undo(definition: Definition, memo: Memo) -> set[str]:
    """The same of a run that is undone: all that stands around the steps to be undone, and what undoes them now."""
    wanted = {""}
    for record in list(memo.values()):
        if record.undoable:
            wanted.update(around(record.path))
            wanted.update((record.path, record.path + COMPENSATE))
        if record.undoable and record.status is not StepStatus.COMPENSATED and COMPENSATE not in record.path:
            place = place_of(definition, record.path, memo)
            inner = _list_at(place, COMPENSATE, memo) if place else None
            if place is not None and inner is not None:
                wanted.update(_open_in(inner.steps, Lexical.of(inner.steps, inner.path, place.lexical), memo))
    return wanted


def _open_in(steps: tuple[Step, ...], lexical: Lexical, memo: Memo) -> Iterator[str]:
    for place in walk(steps, lexical, memo, lambda _place, record: record.status.settled):
        yield from (inner.path for inner in inner_lists(place, memo))
        record = memo.get(place.path)
        if record is not None and record.status not in (StepStatus.COMPLETED, StepStatus.SKIPPED):
            work = place.step.work
            if isinstance(work, ParallelWork | ForEachWork) or (isinstance(work, RepeatWork) and work.collect):
                yield place.path
