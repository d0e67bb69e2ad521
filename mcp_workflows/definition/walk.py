"""Every step of a definition, however deep it stands."""

from __future__ import annotations

from collections.abc import Iterator

from mcp_workflows.definition.program import Definition, Step


def walk(definition: Definition) -> Iterator[Step]:
    """Every step, blocks before what they hold: arms, branches, items, iterations, ``on_error`` and ``compensate`` too."""
    return every_step(definition.steps)


def undoing_steps(definition: Definition) -> Iterator[Step]:
    """Every step of a ``compensate``, some of them more than once."""
    for step in walk(definition):
        if step.compensate is not None:
            yield from every_step(step.compensate.steps)


def every_step(steps: tuple[Step, ...], *, undoing: bool = True) -> Iterator[Step]:
    """Every step of a list. Without ``undoing``, those of ``compensate`` are left out."""
    for step in steps:
        yield step
        for held in step.lists:
            yield from every_step(held, undoing=undoing)
        if undoing and step.compensate is not None:
            yield from every_step(step.compensate.steps)
