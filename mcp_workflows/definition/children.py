"""What is to be checked where all files are known: which workflows start which, and that it has an end.

A file that is broken does not take those down with it that start its workflow, as long as its last good version is served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from mcp_workflows.definition.phrases import did_you_mean
from mcp_workflows.definition.program import Definition
from mcp_workflows.errors import Problem

MAX_CHILD_DEPTH = 16
"""How deep workflows start one another, the first not counted."""

Place = tuple[int, int]
"""Line and column."""


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a step names a workflow to start, and what it gives it."""

    name: str
    place: Place
    given: Mapping[str, Place] | None = None
    """The input's keys; ``None`` where an expression gives the input."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A definition that is good for itself, and the workflows it names."""

    definition: Definition
    mentions: tuple[Mention, ...]

    def problem(self, place: Place, message: str) -> Problem:
        return Problem(self.definition.source, *place, "workflow", message)


def checked_children(
    parents: Mapping[str, Parent], broken: Mapping[str, str], last: Mapping[str, Definition]
) -> tuple[dict[str, Definition], list[Problem]]:
    """The definitions whose children are there and have an end, and what is wrong with the others.

    ``broken`` are the files that have problems, by the name of their workflow; ``last`` what was served of all files.
    """
    good, lost = dict(parents), dict(broken)
    problems: list[Problem] = []
    while True:
        kept = {name: one for name, one in last.items() if name not in good and one.source in lost.values()}
        known = {**kept, **{name: parent.definition for name, parent in good.items()}}
        found = [problem for parent in good.values() for problem in _problems(parent, known, lost)]
        found = found or list(_too_deep(good, known))  # how deep it goes is a question only where it has an end
        if not found:
            return {name: _with_children(parent.definition, known) for name, parent in good.items()}, problems
        problems += found
        files = {problem.file for problem in found}
        for name in [name for name, parent in good.items() if parent.definition.source in files]:
            lost[name] = good.pop(name).definition.source


def _problems(parent: Parent, known: Mapping[str, Definition], broken: Mapping[str, str]) -> Iterator[Problem]:
    own = parent.definition.name
    for mention in parent.mentions:
        child = known.get(mention.name)
        if child is None:
            yield parent.problem(mention.place, _not_loaded(mention.name, known, broken))
            continue
        way_back = _way(mention.name, own, known)
        if way_back is not None:
            yield parent.problem(mention.place, f"child depth: {' -> '.join([own, *way_back])} has no end")
        yield from _input(parent, mention, child)


def _too_deep(good: Mapping[str, Parent], known: Mapping[str, Definition]) -> Iterator[Problem]:
    deep = set(known)
    for _ in range(MAX_CHILD_DEPTH):  # in the end, those that start a chain of that many others
        deep = {name for name in deep if any(child in deep for child in known[name].children)}
    for own, parent in good.items():
        for mention in parent.mentions:
            if mention.name in deep:
                message = f"child depth: {own} -> {mention.name} -> … is more than {MAX_CHILD_DEPTH} deep"
                yield parent.problem(mention.place, message)


def _not_loaded(name: str, known: Mapping[str, Definition], broken: Mapping[str, str]) -> str:
    if name in broken:
        return f'"{name}" is not loaded: {broken[name]} has problems'
    near = did_you_mean(name, [*known, *broken])
    return f'"{name}" is not loaded.{near}'.removesuffix("." if not near else "")


def _input(parent: Parent, mention: Mention, child: Definition) -> Iterator[Problem]:
    """What the child would refuse whatever the values are."""
    if mention.given is None:
        return
    schema = child.input_schema
    properties = cast("dict[str, Any]", schema["properties"])
    filled = {name for name, rules in properties.items() if isinstance(rules, dict) and "default" in rules}
    for name in cast("list[str]", schema.get("required", [])):
        if name not in mention.given and name not in filled:
            yield parent.problem(mention.place, f'"{child.name}" needs the input "{name}"')
    if schema.get("additionalProperties") is False and "patternProperties" not in schema:
        for name, place in mention.given.items():
            if name not in properties:
                near = did_you_mean(name, properties)
                message = f'"{child.name}" takes no input "{name}".{near}'.removesuffix("." if not near else "")
                yield parent.problem(place, message)


def _way(start: str, goal: str, known: Mapping[str, Definition]) -> list[str] | None:
    """The shortest way from one workflow to another, by way of what each starts."""
    before: dict[str, str | None] = {start: None}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        if name == goal:
            way: list[str] = []
            at: str | None = name
            while at is not None:
                way.append(at)
                at = before[at]
            return way[::-1]
        for child in known[name].children if name in known else ():
            if child not in before:
                before[child] = name
                queue.append(child)
    return None


def _with_children(definition: Definition, known: Mapping[str, Definition]) -> Definition:
    """What a caller of the workflow has to expect of it, its children's doing included."""
    seen = {definition.name}
    queue = deque(definition.children)
    while queue:
        name = queue.popleft()
        if name not in seen and name in known:
            seen.add(name)
            queue.extend(known[name].children)
    family = [definition, *(known[name] for name in seen - {definition.name})]
    return replace(
        definition,
        asks_person=any(one.asks_person for one in family),
        destructive=definition.destructive
        or (definition.mcp.destructive is None and any(one.destructive for one in family)),
    )
