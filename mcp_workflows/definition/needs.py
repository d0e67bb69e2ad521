"""Who needs a step's output. What a block gives comes from steps in it, so whoever needs the block needs those too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcp_workflows.definition.program import (
    Arm,
    ForEachWork,
    ParallelWork,
    RepeatWork,
    Step,
    SwitchWork,
    Work,
)

Readers = Mapping[str, tuple[str, ...]]
"""By a step's id, who reads its output as if it were always there."""


def with_needs(steps: tuple[Step, ...], readers: Readers, of_last: tuple[str, ...] = ()) -> tuple[Step, ...]:
    """The steps, each with all who need it. ``of_last``: who needs what the list gives, which is its last step's output."""
    last = len(steps) - 1
    return tuple(_step(step, readers, of_last if index == last else ()) for index, step in enumerate(steps))


def _step(step: Step, readers: Readers, inherited: tuple[str, ...]) -> Step:
    own = readers.get(step.id, ()) if step.id is not None else ()
    needed = tuple(dict.fromkeys((*own, *inherited)))
    of_block = needed
    if step.output is not None:
        of_block = (f"output of {step.name}",) if "result" in step.output.names else ()
    undo = step.compensate
    return replace(
        step,
        needed_by=needed,
        work=_work(step.work, readers, of_block),
        on_error=_arms(step.on_error, readers, needed),
        compensate=replace(undo, steps=with_needs(undo.steps, readers)) if undo is not None else None,
    )


def _work(work: Work, readers: Readers, needed: tuple[str, ...]) -> Work:
    match work:
        case SwitchWork():
            return replace(work, arms=_arms(work.arms, readers, needed))
        case ParallelWork():
            branches = {name: with_needs(steps, readers, needed) for name, steps in work.branches.items()}
            return replace(work, branches=branches)
        case ForEachWork():
            return replace(work, steps=with_needs(work.steps, readers, needed if work.output is None else ()))
        case RepeatWork():
            last = work.collect is None and work.state is None
            return replace(work, steps=with_needs(work.steps, readers, needed if last else ()))
        case _:
            return work


def _arms(arms: tuple[Arm, ...], readers: Readers, needed: tuple[str, ...]) -> tuple[Arm, ...]:
    return tuple(
        replace(arm, steps=with_needs(arm.steps, readers, needed if arm.output is None else ())) for arm in arms
    )
