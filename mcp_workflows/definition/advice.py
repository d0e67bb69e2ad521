"""Warnings: what is valid and probably not meant. ``validate`` shows them, ``--strict`` makes them fatal."""

from __future__ import annotations

from collections.abc import Iterator

from mcp_workflows.definition.compiler import Compiled
from mcp_workflows.definition.program import SAFE_METHODS, HttpWork, SetWork, Step
from mcp_workflows.definition.text.document import Document, Path
from mcp_workflows.definition.text.nodes import Map, Node, Seq
from mcp_workflows.errors import Problem

SHORTEST_DESCRIPTION = 20
_ENDS_THE_RUN = frozenset({"return", "fail"})


def advice(compiled: Compiled, document: Document) -> tuple[Problem, ...]:
    """All warnings of a definition, in the order of the file."""
    found = [
        *_description(compiled, document),
        *_enums(document),
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


def _steps(compiled: Compiled, document: Document) -> Iterator[Problem]:
    definition = compiled.definition
    ended: Step | None = None
    for index, step in enumerate(definition.steps):
        path: Path = ("steps", index)
        place = document.nearest(path)
        if ended is not None:
            yield document.problem(place, "step", f'is never reached: "{ended.name}" ends the run')
            return
        if step.kind in _ENDS_THE_RUN and step.when is None:
            ended = step
        last = index == len(definition.steps) - 1
        if definition.on_failure == "compensate" and step.has_effect and step.compensate is None and not last:
            message = f'"{step.name}" changes something and has no compensate: it stays, if a later step fails'
            yield document.problem(place, "compensate", message)
        retry = document.key((*path, "retry"))
        if step.at_most_once and retry is not None:
            yield document.problem(retry, "at_most_once", "retry has no effect: the step is attempted once")


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
    undoing = [inner for step in steps if step.compensate is not None for inner in step.compensate.steps]
    return {step.work.service for step in (*steps, *undoing) if isinstance(step.work, HttpWork)}


def _unread_outputs(compiled: Compiled, document: Document) -> Iterator[Problem]:
    """Of steps that are there for their output only: an effect is reason enough for a step, and so is an ``id`` for a trace."""
    steps = compiled.definition.steps
    for index, step in enumerate(steps):
        is_result = index == len(steps) - 1 and compiled.definition.output is None
        if is_result or step.id in compiled.reads.outputs:
            continue
        computed = isinstance(step.work, SetWork) or step.output is not None
        looked_up = isinstance(step.work, HttpWork) and step.work.method in SAFE_METHODS and step.id is not None
        if computed or looked_up:
            place = document.key(("steps", index, "id")) or document.nearest(("steps", index))
            yield document.problem(place, "unused", f'nothing reads the output of step "{step.name}"')
