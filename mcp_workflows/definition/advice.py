"""Warnings: what is valid and probably not meant. ``validate`` shows them, ``--strict`` makes them fatal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mcp_workflows.definition import model
from mcp_workflows.definition.compiler import Compiled
from mcp_workflows.definition.nested import NestedList, ends_the_run, nested_lists
from mcp_workflows.definition.program import (
    SAFE_METHODS,
    ForEachWork,
    HttpWork,
    JqWork,
    McpToolWork,
    RepeatWork,
    SetWork,
    Step,
)
from mcp_workflows.definition.text.document import Document, Path
from mcp_workflows.definition.text.nodes import Map, Node, Scalar, Seq
from mcp_workflows.definition.walk import every_step
from mcp_workflows.errors import Problem

SHORTEST_DESCRIPTION = 20
_OTHERS = re.compile(r"\{\{-?\s*(?:inputs?|steps|vars|secrets|env|workflow|run|item)\.[^{}\n]{0,60}\}\}")


def advice(compiled: Compiled, document: Document) -> tuple[Problem, ...]:
    """All warnings of a definition, in the order of the file."""
    found = [
        *_description(compiled, document),
        *_enums(document),
        *_texts(document),
        *_steps(compiled, document),
        *_absent(compiled, document),
        *_unused(compiled, document),
    ]
    return tuple(sorted(set(found)))


def _description(compiled: Compiled, document: Document) -> Iterator[Problem]:
    length = len(compiled.definition.description)
    if length < SHORTEST_DESCRIPTION:
        node = document.key(("description",)) or document.nearest(("name",))
        message = f"a description of {length} characters does not tell an agent when to call this"
        yield document.problem(node, "description", message)


def _texts(document: Document) -> Iterator[Problem]:
    """Expressions as templates of other tools have them, which would be sent as they stand."""
    for part in ("services", "steps", "output"):
        for node in _scalars(document.node((part,))):
            if isinstance(node.value, str) and (found := _OTHERS.search(node.value)):
                message = f'"{found[0]}" is plain text here: an expression stands in ${{…}}'
                yield document.problem(node, "expr", message, found.start())


def _scalars(node: Node | None) -> Iterator[Scalar]:
    match node:
        case Map():
            for entry in node.entries.values():
                yield from _scalars(entry.value)
        case Seq():
            for item in node.items:
                yield from _scalars(item)
        case Scalar():
            yield node
        case None:
            pass


def _enums(document: Document) -> Iterator[Problem]:
    schema = document.node(("input", "properties"))
    if isinstance(schema, Map):
        for name, entry in schema.entries.items():
            for node in _schemas(entry.value):
                if "enum" in node.entries and "type" not in node.entries:
                    yield document.problem(node.entries["enum"].key, "input", f'"{name}": an enum without type')


def _schemas(node: Node) -> Iterator[Map]:
    if isinstance(node, Map):
        yield node
        for entry in node.entries.values():
            yield from _schemas(entry.value)
    elif isinstance(node, Seq):
        for item in node.items:
            yield from _schemas(item)


class _Around(NamedTuple):
    """What a list of steps stands in."""

    follows: bool
    """Something may come after it, or goes on beside it, and fail."""
    contained: bool
    """What fails in it fails nothing else."""
    undone: bool
    """A step around it has a compensation, which undoes what is in it too."""
    is_output: bool
    """Somebody takes what it gives, which is the output of its last step."""


class _Listed(NamedTuple):
    """A step with its place; the rest as in ``_Around``."""

    form: model.Step
    step: Step
    path: Path
    follows: bool
    undone: bool
    is_output: bool


def _listed(compiled: Compiled) -> Iterator[_Listed]:
    definition = compiled.definition
    around = _Around(follows=False, contained=False, undone=False, is_output=definition.output is None)
    yield from _of_list(compiled, compiled.form.steps, definition.steps, ("steps",), around)


def _of_list(
    compiled: Compiled, forms: list[model.Step], steps: tuple[Step, ...], path: Path, around: _Around
) -> Iterator[_Listed]:
    for index, (form, step) in enumerate(zip(forms, steps, strict=True)):
        last = index == len(steps) - 1
        follows = around.follows or not (last or around.contained)
        here = _Listed(form, step, (*path, index), follows, around.undone, around.is_output and last)
        yield here
        for nested, held in zip(nested_lists(form, here.path), step.lists, strict=False):  # without what compensates
            yield from _of_list(compiled, nested.steps, held, nested.path, _inside(compiled, here, nested))


def _inside(compiled: Compiled, outer: _Listed, nested: NestedList) -> _Around:
    step = outer.step
    contained = isinstance(step.work, ForEachWork) and step.work.collect_errors and nested.holder == "for_each"
    beside = nested.holder in ("parallel", "for_each", "repeat") and not contained
    taken = outer.is_output or step.id in compiled.reads.outputs
    if nested.holder != "on_error" and step.output is not None:
        taken = "result" in step.output.names
    match step.work:
        case ForEachWork(output=output) if nested.holder == "for_each":
            taken = taken and output is None
        case RepeatWork(collect=collect, state=state) if nested.holder == "repeat":
            taken = taken and collect is None and state is None
        case _:
            pass
    undone = outer.undone or step.compensate is not None
    return _Around(outer.follows or beside, contained, undone, taken and not nested.has_output)


def _steps(compiled: Compiled, document: Document) -> Iterator[Problem]:
    definition = compiled.definition
    for siblings, listed in _by_list(compiled).items():
        ending = next((at for at, one in enumerate(listed) if ends_the_run(one.form)), None)
        if ending is not None and ending + 1 < len(listed):
            place = document.nearest((*siblings, ending + 1))
            yield document.problem(place, "step", f'is never reached: "{listed[ending].step.name}" ends the run')
        for one in listed[: len(listed) if ending is None else ending + 1]:
            step = one.step
            changes = isinstance(step.work, HttpWork) and step.has_effect
            wanted = not step.continue_on_error  # what the run can do without, such as a notice, may also stay
            stays = changes and wanted and step.compensate is None and not one.undone and one.follows
            if definition.on_failure == "compensate" and stays:
                message = f'"{step.name}" changes something and has no compensate: it stays, if a later step fails'
                yield document.problem(document.nearest(one.path), "compensate", message)
            retry = document.key((*one.path, "retry"))
            if step.at_most_once and retry is not None:
                yield document.problem(retry, "at_most_once", "retry has no effect: the step is attempted once")


def _by_list(compiled: Compiled) -> dict[Path, list[_Listed]]:
    found: dict[Path, list[_Listed]] = {}
    for one in _listed(compiled):
        found.setdefault(one.path[:-1], []).append(one)
    return found


def _absent(compiled: Compiled, document: Document) -> Iterator[Problem]:
    for node, offset, name in compiled.reads.unsure:
        message = f'the argument "{name}" may be absent, and then this fails: write input.?{name}, or give it a default'
        yield document.problem(node, "input", message, offset)


def _unused(compiled: Compiled, document: Document) -> Iterator[Problem]:
    reads = compiled.reads
    if "vars" not in reads.everything:
        for name in compiled.form.vars:
            if name not in reads.vars:
                yield _nothing_reads(document, ("vars", name), f'the variable "{name}"')
    for index, name in enumerate(compiled.form.secrets):
        if name not in reads.secrets:
            yield document.problem(document.nearest(("secrets", index)), "unused", f'nothing reads the secret "{name}"')
    used = _services_used(compiled.definition.steps)
    for name in compiled.form.services:
        if name not in used:
            yield _nothing_reads(document, ("services", name), f'the service "{name}"')
    yield from _unread_outputs(compiled, document)


def _nothing_reads(document: Document, path: Path, what: str) -> Problem:
    return document.problem(document.key(path) or document.nearest(path), "unused", f"nothing reads {what}")


def _services_used(steps: tuple[Step, ...]) -> set[str | None]:
    return {step.work.service for step in every_step(steps) if isinstance(step.work, HttpWork | McpToolWork)}


def _unread_outputs(compiled: Compiled, document: Document) -> Iterator[Problem]:
    """Of steps that are there for their output only: an effect is reason enough for a step, and so is an ``id`` for a trace."""
    for one in _listed(compiled):
        step = one.step
        if one.is_output or step.id in compiled.reads.outputs:
            continue
        computed = isinstance(step.work, SetWork | JqWork) or (step.output is not None)
        looked_up = isinstance(step.work, HttpWork) and step.work.method in SAFE_METHODS and step.id is not None
        if computed or looked_up:
            place = document.key((*one.path, "id")) or document.nearest(one.path)
            yield document.problem(place, "unused", f'nothing reads the output of step "{step.name}"')
