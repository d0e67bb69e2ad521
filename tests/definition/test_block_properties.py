"""Steps in steps at random: what may be read where, and what is left of a definition that was stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_workflows.definition.loader import load_text
from mcp_workflows.definition.program import Definition, ForEachWork, ParallelWork, RepeatWork, Step, SwitchWork
from mcp_workflows.errors import DefinitionInvalid, Problem

KINDS = ("switch", "cases", "parallel", "for_each", "repeat", "on_error", "compensate")
LISTS = {"switch": 2, "cases": 2, "parallel": 2}


@dataclass(slots=True)
class Node:
    """A step of a random definition: the kind of what it holds, if it holds anything, and its lists."""

    kind: str
    lists: list[list[Node]]
    id: str = ""
    around: tuple[tuple[int, int], ...] = ()
    """Every list that it stands in, outermost first, and how far that has come."""
    reads: list[str] = field(default_factory=list[str])


def nodes(depth: int, undoing: bool = False) -> st.SearchStrategy[Node]:
    leaf = st.builds(Node, st.just("leaf"), st.just([]))
    if depth == 0:
        return leaf
    kinds = [kind for kind in KINDS if not (undoing and kind == "compensate")]
    return leaf | st.sampled_from(kinds).flatmap(
        lambda kind: st.builds(
            Node,
            st.just(kind),
            st.lists(
                st.lists(nodes(depth - 1, undoing or kind == "compensate"), min_size=1, max_size=3),
                min_size=LISTS.get(kind, 1),
                max_size=LISTS.get(kind, 1),
            ),
        )
    )


def number(steps: list[Node], around: tuple[tuple[int, int], ...], counts: dict[str, int]) -> Iterator[Node]:
    counts["lists"] += 1
    here = counts["lists"]
    for index, node in enumerate(steps):
        counts["steps"] += 1
        node.id = f"s{counts['steps']}"
        node.around = (*around, (here, index))
        yield node
        for inner in node.lists:
            # What undoes a step sees the step itself, as if it came after it.
            outer = (*around, (here, index + 1)) if node.kind == "compensate" else node.around
            yield from number(inner, outer, counts)


def may_read(reader: Node, read: Node) -> bool:
    """The rule itself: an earlier sibling, or an earlier sibling of a list around."""
    siblings, place = read.around[-1]
    return any(siblings == outer and place < index for outer, index in reader.around)


def written(node: Node, depth: int = 0) -> dict[str, Any]:
    lists = [[written(inner, depth + 1) for inner in steps] for steps in node.lists]
    values = {f"r{place}": f"${{steps.{name}.status}}" for place, name in enumerate(node.reads)}
    held: dict[str, Any] = {}
    match node.kind:
        case "switch":
            held = {"switch": [{"when": "${true}", "steps": lists[0]}, {"else": lists[1]}]}
        case "cases":
            held = {"switch": {"value": "${run.id}", "cases": {"b c": lists[0], "a": {"steps": lists[1]}}}}
        case "parallel":
            held = {"parallel": {"right": lists[0], "left": lists[1]}}
        case "for_each":
            held = {"for_each": {"items": [1], "as": f"item{depth}", "steps": lists[0]}}
        case "repeat":
            held = {"repeat": {"max_iterations": 2, "steps": lists[0]}}
        case "on_error":
            held = {"set": values, "on_error": [{"else": lists[0]}]}
        case "compensate":
            held = {"set": values, "compensate": lists[0]}
        case _:
            held = {"set": values}
    return {"id": node.id, **held}


@st.composite
def definitions(draw: st.DrawFn) -> tuple[list[Node], list[Node]]:
    steps = draw(st.lists(nodes(3), min_size=1, max_size=4))
    everything = list(number(steps, (), {"lists": 0, "steps": 0}))
    for node in everything:
        if node.kind in ("leaf", "on_error", "compensate"):
            node.reads = draw(st.lists(st.sampled_from([one.id for one in everything]), max_size=2))
    return steps, everything


def text_of(steps: list[Node]) -> str:
    return json.dumps({"name": "a", "steps": [written(node) for node in steps]}, indent=1)


def shape(steps: tuple[Step, ...]) -> list[Any]:
    """Names, as paths are made of them."""
    return [(step.name, step.kind, lists_of(step)) for step in steps]


def lists_of(step: Step) -> dict[str, Any]:
    found: dict[str, Any] = {f"on_error.{arm.name}": shape(arm.steps) for arm in step.on_error}
    if step.compensate is not None:
        found["compensate"] = shape(step.compensate.steps)
    match step.work:
        case SwitchWork(arms=arms):
            found |= {arm.name: (arm.case, shape(arm.steps)) for arm in arms}
        case ParallelWork(branches=branches):
            found |= {name: shape(inner) for name, inner in branches.items()}
        case ForEachWork(steps=inner) | RepeatWork(steps=inner):
            found["[]"] = shape(inner)
        case _:
            pass
    return found


def problems_of(text: str) -> tuple[Problem, ...]:
    try:
        load_text(text, "a.json")
    except DefinitionInvalid as invalid:
        return tuple(invalid.problems)
    return ()


@settings(max_examples=60, deadline=None)
@given(definitions())
def test_a_step_reads_what_is_done_in_the_lists_around_it_and_nothing_else(
    given: tuple[list[Node], list[Node]],
) -> None:
    steps, everything = given
    by_id = {node.id: node for node in everything}
    wrong = [
        (node.id, name) for node in everything for name in node.reads if not may_read(node, by_id[name])
    ]  # fmt: skip
    text = text_of(steps)
    found = problems_of(text)
    assert len(found) == len(wrong)
    lines = text.split("\n")
    for problem in found:
        assert problem.code == "expr"
        name = lines[problem.line - 1][problem.column - 1 :].split(".")[0]
        assert f'step "{name}" is ' in problem.message


@settings(max_examples=40, deadline=None)
@given(definitions())
def test_what_is_stored_becomes_the_same_program(given: tuple[list[Node], list[Node]]) -> None:
    steps, everything = given
    for node in everything:
        node.reads = []
    definition: Definition = load_text(text_of(steps), "a.json")
    again = load_text(definition.content, "a version 1")
    assert (again.digest, again.content) == (definition.digest, definition.content)
    assert shape(again.steps) == shape(definition.steps)
