"""From a document to a ``Definition``: the form, the names, the expressions, and what they may name.

Nothing stops at the first fault: every part is compiled as far as it goes, and at the end the document holds all that
is wrong with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from mcp_workflows.definition import model
from mcp_workflows.definition.children import Mention, Place
from mcp_workflows.definition.compile_services import CompiledService, compile_service
from mcp_workflows.definition.compile_steps import Surroundings, compile_steps
from mcp_workflows.definition.expressions import Template
from mcp_workflows.definition.input_schema import check_schema, published
from mcp_workflows.definition.names import collect_names
from mcp_workflows.definition.needs import with_needs
from mcp_workflows.definition.program import (
    SAFE_METHODS,
    ApprovalWork,
    Definition,
    HttpWork,
    Json,
    McpOptions,
    McpToolWork,
    PythonWork,
    SignalWork,
    Step,
    WorkflowWork,
)
from mcp_workflows.definition.refusals import checked_form
from mcp_workflows.definition.scope import Names, Scope
from mcp_workflows.definition.site import Reads, Site
from mcp_workflows.definition.text.document import Document
from mcp_workflows.definition.text.nodes import Map, Node, Scalar, Seq, to_json
from mcp_workflows.definition.walk import every_step
from mcp_workflows.errors import DefinitionInvalid


@dataclass(frozen=True, slots=True)
class Compiled:
    """A definition, and what was learnt while it was compiled, which warnings are made from."""

    definition: Definition
    form: model.Workflow
    reads: Reads
    mentions: tuple[Mention, ...] = ()
    """The workflows that its steps start."""


def compile_document(document: Document) -> Compiled:
    """Raises ``DefinitionInvalid`` with every problem of the document."""
    form = checked_form(document)
    check_schema(document, ("input",))
    check_schema(document, ("output_schema",), of_arguments=False)
    schema = published(form.input)
    if document.node(("input",)) is not None and not isinstance(document.node(("input",)), Map):
        schema["additionalProperties"] = True  # it was refused: nothing is known of its properties
    names = _names(form, schema, document)
    reads = Reads()
    services = _services(form, names, document, reads)
    around = Surroundings(document, names, services, form.defaults, reads)
    scope = Scope(names, "steps")
    steps = compile_steps(form.steps, ("steps",), scope, around)
    output = _output(form, scope, document, reads)
    _check_vars(document)
    if document.problems:
        raise DefinitionInvalid(document.problems)
    return Compiled(_definition(form, schema, steps, output, document, reads), form, reads, _mentions(reads, document))


def _mentions(reads: Reads, document: Document) -> tuple[Mention, ...]:
    """Where workflows are named, for whoever knows which there are."""

    def place(node: Node) -> Place:
        return document.source.place(node.start)

    found: list[Mention] = []
    for path, name in reads.children:
        given = document.node((*path, "input"))
        keys = {key: place(entry.key) for key, entry in given.entries.items()} if isinstance(given, Map) else {}
        found.append(
            Mention(name, place(document.nearest((*path, "name"))), None if isinstance(given, Scalar) else keys)
        )
    return tuple(found)


def _names(form: model.Workflow, schema: Mapping[str, Json], document: Document) -> Names:
    secrets = document.key(("secrets",))
    collected = collect_names(form.steps, document)
    return Names(
        input_schema=schema,
        vars=_declared(document, "vars"),
        secrets=_declared(document, "secrets"),
        secrets_line=document.line(secrets) if secrets is not None else None,
        steps=collected.steps,
        items=collected.items,
    )


def _declared(document: Document, section: str) -> frozenset[str]:
    """Names as the file declares them, also those that were refused: one error for each mistake."""
    node = document.node((section,))
    if isinstance(node, Map):
        return frozenset(node.entries)
    items = node.items if isinstance(node, Seq) else ()
    return frozenset(item.value for item in items if isinstance(item, Scalar) and isinstance(item.value, str))


def _services(form: model.Workflow, names: Names, document: Document, reads: Reads) -> dict[str, CompiledService]:
    scope = Scope(names, "services", secrets=True)
    return {
        name: compile_service(service, Site(document, ("services", name), scope, reads, f"service {name}"))
        for name, service in form.services.items()
    }


def _output(form: model.Workflow, scope: Scope, document: Document, reads: Reads) -> Template | None:
    if "output" not in form.model_fields_set:
        return None
    ended = scope.after(("steps",), len(form.steps)).at("output")
    return Site(document, (), ended, reads, "output").shape("output", needs_value=True)


def _check_vars(document: Document) -> None:
    """Settings are plain values: what stands in ``${…}`` there would never be evaluated."""
    declared = document.node(("vars",))
    if isinstance(declared, Map):
        for entry in declared.entries.values():
            if isinstance(entry.value, Scalar) and isinstance(entry.value.value, str) and "${" in entry.value.value:
                document.refuse(entry.value, "expr", "vars are plain values, no expression can stand here")


def _definition(
    form: model.Workflow,
    schema: Mapping[str, Json],
    steps: tuple[Step, ...],
    output: Template | None,
    document: Document,
    reads: Reads,
) -> Definition:
    meant = _meant(document)
    read_only = all(_is_safe(step) for step in every_step(steps))
    return Definition(
        name=form.name,
        title=form.title,
        description=form.description.strip(),
        content=_json(meant, sort_keys=False),
        digest=hashlib.sha256(_json(meant, sort_keys=True).encode("ascii")).hexdigest(),
        input_schema=schema,
        output_schema=form.output_schema,
        vars=form.vars,
        secrets=tuple(form.secrets),
        steps=with_needs(steps, _readers(reads, document)),
        output=output,
        on_failure=form.on_failure,
        timeout=form.timeout,
        mcp=_mcp(form.mcp, read_only),
        read_only=read_only,
        children=tuple(sorted({name for _, name in reads.children})),
        destructive=_destructive(form.mcp, steps),
        asks_person=_asks_person(steps),
        source=document.file,
    )


def _meant(document: Document) -> dict[str, Json]:
    """The document, anchors resolved, without what has no meaning: comments and ``x-…``."""
    data = cast("dict[str, Json]", to_json(document.root))
    return {key: part for key, part in data.items() if not key.startswith("x-")}


def _json(data: Json, *, sort_keys: bool) -> str:
    """Sorted for the digest, as order makes no other content; else as written, as people read forms in that order."""
    return json.dumps(data, ensure_ascii=True, sort_keys=sort_keys, separators=(",", ":"), allow_nan=False)


def _readers(reads: Reads, document: Document) -> dict[str, tuple[str, ...]]:
    """By step, who needs its output. A stored definition stands on one line, so that only the reader's name helps."""
    lines = document.has_lines
    return {
        name: tuple(f"{reader} ({document.file}:{line})" if lines else reader for reader, line in readers.items())
        for name, readers in reads.needed.items()
    }


def _is_safe(step: Step) -> bool:
    """The step changes nothing, here or elsewhere, and asks nobody to do anything."""
    match step.work:
        case HttpWork(method=method, poll=poll):
            return method in SAFE_METHODS and (poll is None or poll.method in SAFE_METHODS)
        case PythonWork() | McpToolWork() | WorkflowWork() | SignalWork() | ApprovalWork():
            return False
        case _:
            return True


def _asks_person(steps: tuple[Step, ...]) -> bool:
    return any(isinstance(step.work, ApprovalWork) and step.work.by == "person" for step in every_step(steps))


def _destructive(mcp: model.Mcp, steps: tuple[Step, ...]) -> bool:
    if mcp.destructive is not None:
        return mcp.destructive
    forward = every_step(steps, undoing=False)
    return any(isinstance(step.work, HttpWork) and step.work.method == "DELETE" for step in forward)


def _mcp(mcp: model.Mcp, read_only: bool) -> McpOptions:
    """A read-only workflow is never joined: whoever asks again wants to know how it is now."""
    options = McpOptions()
    return McpOptions(
        wait=mcp.wait if mcp.wait is not None else options.wait,
        join="off" if read_only else (mcp.join if mcp.join is not None else options.join),
        expose=mcp.expose if mcp.expose is not None else options.expose,
        destructive=mcp.destructive,
    )
