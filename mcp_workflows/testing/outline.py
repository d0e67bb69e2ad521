"""The steps of a definition by path, and what names them in a test: a path, a path with ``[*]``, or an id alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from mcp_workflows.definition.phrases import did_you_mean, listed
from mcp_workflows.definition.program import (
    Definition,
    ForEachWork,
    ParallelWork,
    RepeatWork,
    Step,
    SwitchWork,
    WorkflowWork,
)
from mcp_workflows.engine.paths import COMPENSATE, ON_ERROR, step_in

_INDEX = re.compile(r"\[\d+\]")


class UnknownStep(ValueError):
    """A key of a test names no step, or more than one."""


@dataclass(frozen=True, slots=True)
class Key:
    """What names steps of a run."""

    text: str
    pattern: str
    """The path in the definition, every index as ``[*]``."""
    matcher: re.Pattern[str]
    exactness: int
    """How many indexes it fixes: the key that fixes most is the one that counts."""

    def matches(self, path: str) -> bool:
        return self.matcher.fullmatch(path) is not None


@dataclass(frozen=True)
class Outline:
    """A definition's steps, each under its path with ``[*]`` for every index."""

    definition: Definition

    @cached_property
    def steps(self) -> Mapping[str, Step]:
        return dict(_walk(self.definition.steps, ""))

    def is_list(self, text: str) -> bool:
        """Whether it is the path of a branch, an arm, an item or an iteration."""
        pattern = _INDEX.sub("[*]", text)
        return any(path.startswith(f"{pattern}.") for path in self.steps) and pattern not in self.steps

    def step_at(self, path: str) -> Step:
        """The step whose path in a run this is."""
        return self.steps[_INDEX.sub("[*]", path)]

    def key(self, text: str) -> Key:
        """Raises ``UnknownStep``, with a sentence for the author."""
        pattern = _INDEX.sub("[*]", text)
        found = [pattern] if pattern in self.steps else [one for one in self.steps if one.endswith(f".{pattern}")]
        if not found:
            known = [*self.steps, *(step.id for step in self.steps.values() if step.id)]
            hint = did_you_mean(text, known)
            raise UnknownStep(f'"{text}" is no step of {self.definition.name}{"." if hint else ""}{hint}')
        if len(found) > 1:
            raise UnknownStep(f'"{text}" may be {listed(found, "or")}; write the path')
        before = found[0].removesuffix(pattern)
        matcher = re.compile(_matching(before) + _matching(text))
        return Key(text, found[0], matcher, len(_INDEX.findall(text)))


def _matching(text: str) -> str:
    return re.escape(text).replace(re.escape("[*]"), r"\[\d+\]")


def _walk(steps: tuple[Step, ...], place: str) -> Iterator[tuple[str, Step]]:
    for step in steps:
        path = step_in(place, step.name) if step.name else place
        yield path, step
        for inner_place, inner in _lists_of(step, path):
            yield from _walk(inner, inner_place)


def _lists_of(step: Step, path: str) -> Iterator[tuple[str, tuple[Step, ...]]]:
    match step.work:
        case SwitchWork(arms=arms):
            yield from ((f"{path}.{arm.name}", arm.steps) for arm in arms)
        case ParallelWork(branches=branches):
            yield from ((f"{path}.{name}", inner) for name, inner in branches.items())
        case ForEachWork(steps=inner) | RepeatWork(steps=inner):
            yield f"{path}[*]", inner
        case _:
            pass
    yield from ((f"{path}{ON_ERROR}.{arm.name}", arm.steps) for arm in step.on_error)
    if step.compensate is not None:
        yield path + COMPENSATE, step.compensate.steps
    elif step.name and isinstance(step.work, WorkflowWork) and not step.work.detach:
        yield path + COMPENSATE, (replace(step, name=""),)  # a child undoes itself: a test may say how that ends
