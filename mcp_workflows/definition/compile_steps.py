"""Steps, what undoes them, and what they inherit: from the model into the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mcp_workflows.definition import model
from mcp_workflows.definition.compile_attempts import check_attempts, retry_of, timeout_of
from mcp_workflows.definition.compile_blocks import Nest, compile_arms, compile_block
from mcp_workflows.definition.compile_calls import compile_jq, compile_mcp_tool, compile_python, compile_workflow
from mcp_workflows.definition.compile_http import compile_http
from mcp_workflows.definition.compile_long_http import CALLBACK_RESULT, HTTP_RESULT
from mcp_workflows.definition.compile_people import compile_approval, compile_signal
from mcp_workflows.definition.compile_services import CompiledService
from mcp_workflows.definition.expressions import Template
from mcp_workflows.definition.model.step import BLOCKS, KINDS, LATER_KINDS
from mcp_workflows.definition.names import DECISION
from mcp_workflows.definition.nested import name_of, why_no_result
from mcp_workflows.definition.phrases import listed
from mcp_workflows.definition.program import (
    Arm,
    Compensation,
    FailWork,
    ReturnWork,
    SetWork,
    Step,
    WaitWork,
    Work,
)
from mcp_workflows.definition.scope import Names, Position, Scope
from mcp_workflows.definition.site import Reads, Site, given_by
from mcp_workflows.definition.text.document import Document
from mcp_workflows.definition.text.nodes import Map
from mcp_workflows.definition.work_parts import reads_now

MAX_NESTING = 32
"""Lists within lists, the root not counted."""
_ENDS_THE_RUN = frozenset({"return", "fail"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all steps of a file share."""

    document: Document
    names: Names
    services: Mapping[str, CompiledService]
    defaults: model.Defaults
    reads: Reads


def compile_steps(
    steps: list[model.Step], path: tuple[str | int, ...], scope: Scope, around: Surroundings
) -> tuple[Step, ...]:
    """The steps of one list; those that were refused are left out."""
    compiled: list[Step] = []
    for index, step in enumerate(steps):
        here = replace(scope, positions={**scope.positions, path: Position(index, index)}, own=step.id)
        name = name_of(step, index)
        site = Site(around.document, (*path, index), here, around.reads, name)
        if isinstance(site.document.node(site.path), Map):
            program = _step(step, name, site, around)
            compiled += [program] if program is not None else []
    return tuple(compiled)


def _step(step: model.Step, name: str, site: Site, around: Surroundings) -> Step | None:
    kind = the_kind(site)
    when = site.at("when").condition("when") if step.when is not None else None
    if when is not None:
        site = site.within(replace(site.scope, given=site.scope.given | given_by(when)))
    _refuse_where_it_stands(step, kind, site)
    check_attempts(step, kind, site)
    work = _work(step, kind, site, around) if kind is not None else None
    output = _output(step, kind, site)
    on_error = _on_error(step, kind, site, around)
    compensate = _compensation(step, name, site, around)
    if kind is None or work is None:
        return None
    program = Step(
        name=name,
        kind=kind,
        work=work,
        id=step.id,
        title=step.title,
        when=when,
        output=output,
        retry=retry_of(step.retry, kind, step.at_most_once, around.defaults),
        timeout=timeout_of(step.timeout, work, around.services, around.defaults, site),
        continue_on_error=step.on_error == "continue",
        on_error=on_error,
        compensate=compensate,
        at_most_once=step.at_most_once,
    )
    return replace(program, reads_now=reads_now(program))


def the_kind(site: Site) -> str | None:
    """The one kind of the step here. Any other number of kinds is reported."""
    node = site.node
    keys = node.entries if isinstance(node, Map) else {}
    found = [key for key in keys if key in KINDS or key in LATER_KINDS]
    if len(found) == 1:
        return found[0] if found[0] in KINDS else None
    if found:
        quoted = listed(f'"{kind}"' for kind in found)
        site.refuse("kind", f"a step has exactly one kind; found {quoted}", key=found[-1])
    elif all(key in _STEP_KEYS for key in keys):  # else the key that is unknown was meant to be the kind
        site.document.refuse(node, "kind", f"a step has exactly one kind ({listed(KINDS, 'or')}); found none")
    return None


_STEP_KEYS = frozenset(
    {field.alias or name for part in (model.Step, model.Compensation) for name, field in part.model_fields.items()}
)


def _refuse_where_it_stands(step: model.Step, kind: str | None, site: Site) -> None:
    if site.scope.compensating:
        if step.compensate is not None:
            site.refuse("compensate", "what undoes a step is not undone itself", key="compensate")
        if kind in _ENDS_THE_RUN:
            site.refuse("compensate", f'"{kind}" may not stand in compensate: the run is ending already', key=kind)


def _nest(around: Surroundings) -> Nest:
    """Compiles lists inside of steps, to a depth that ends."""

    def nest(steps: list[model.Step], site: Site) -> tuple[Step, ...]:
        if len(site.scope.positions) > MAX_NESTING:
            site.refuse(
                "block", f"steps are nested deeper than {MAX_NESTING} lists; a child workflow can hold the rest"
            )
            return ()
        return compile_steps(steps, site.path, site.scope, around)

    return nest


def _on_error(step: model.Step, kind: str | None, site: Site, around: Surroundings) -> tuple[Arm, ...]:
    if not isinstance(step.on_error, list):
        return ()
    if kind in _ENDS_THE_RUN:
        site.refuse("on_error", f'"{kind}" ends the run, whatever stands here', key="on_error")
    handling = site.within(replace(site.scope, roots=site.scope.roots | {"error"}))
    return compile_arms(step.on_error, handling.under("on_error"), _nest(around), of="on_error")


def _work(step: model.Work, kind: str, site: Site, around: Surroundings) -> Work | None:
    match kind:
        case _ if kind in BLOCKS:
            return compile_block(step, site, _nest(around))
        case "http" | "python" | "mcp_tool" | "jq" | "workflow":
            return _call(step, site.under(kind), around)
        case "signal" | "approval":
            return _waiting_for(step, site.under(kind))
        case "set":
            return SetWork(site.at("set").shape("set")) if step.set_values is not None else None
        case "wait":
            return _wait(step, site)
        case "return":
            return ReturnWork(site.at("return").shape("return", needs_value=True))
        case _:
            return _fail(step, site.at("fail"))


def _call(step: model.Work, site: Site, around: Surroundings) -> Work | None:
    """Work that something else does; ``None`` where its form was refused."""
    if step.http is not None:
        return compile_http(step.http, site, around.services)
    if step.python is not None:
        return compile_python(step.python, site)
    if step.mcp_tool is not None:
        return compile_mcp_tool(step.mcp_tool, site, around.services)
    if step.jq is not None:
        return compile_jq(step.jq, site)
    return compile_workflow(step.workflow, site) if step.workflow is not None else None


def _waiting_for(step: model.Work, site: Site) -> Work | None:
    own = step.id if isinstance(step, model.Step) else None
    if step.signal is not None:
        return compile_signal(step.signal, site, own)
    return compile_approval(step.approval, site, own) if step.approval is not None else None


def _wait(step: model.Work, site: Site) -> WaitWork | None:
    if isinstance(step.wait, model.WaitUntil):
        until = site.at("until").shape("wait", "until", needs_value=True)
        _check_instant(until, step.wait.until, site)
        return WaitWork(until=until)
    return WaitWork(seconds=step.wait) if step.wait is not None else None


def _check_instant(until: Template, text: str, site: Site) -> None:
    node = site.under("wait", "until").node
    if until.is_literal and "${" not in text:
        try:
            naive = datetime.fromisoformat(text.strip()).tzinfo is None
        except ValueError:
            naive = True
        if naive:
            message = f'"{text[:40]}" is no instant: write 2026-11-23T02:00:00Z or an expression'
            site.document.refuse(node, "wait", message)
    kinds = {expression.result_type for expression in until.expressions}
    wrong = kinds & {"bool", "int", "double", "list", "map", "duration", "null"}
    if wrong and len(until.expressions) == 1 and text.strip().startswith("${"):
        message = f'found {wrong.pop()}, expected timestamp, in "until"'
        site.document.refuse(node, "expr", message, until.expressions[0].start)


def _fail(step: model.Work, site: Site) -> FailWork | None:
    if isinstance(step.fail, model.Fail):
        here = site.under("fail")
        details = here.shape("details") if "details" in step.fail.model_fields_set else None
        return FailWork(here.text("message"), step.fail.code or "failed", details, step.fail.on_failure)
    return FailWork(site.text("fail")) if step.fail is not None else None


def _output(step: model.Step, kind: str | None, site: Site) -> Template | None:
    if "output" not in step.model_fields_set:
        return None
    if kind in _ENDS_THE_RUN:
        site.refuse("output", f'"{kind}" ends the run and has no output', key="output")
    parts = DECISION if step.approval is not None else tuple(step.parallel or ())
    if step.http is not None:
        parts = CALLBACK_RESULT if step.http.callback is not None else HTTP_RESULT
    why = why_no_result(step, site.path, site.document)
    here = site.within(replace(site.scope, result_parts=parts, no_result=why)).at("output", "result")
    return here.shape("output", needs_value=True)


def _compensation(step: model.Step, name: str, site: Site, around: Surroundings) -> Compensation | None:
    given = step.compensate
    if given is None:
        return None
    here = replace(site, scope=_undoing_scope(step, site), reader=f"compensate of {name}").under("compensate")
    if isinstance(given, list):
        return Compensation(_compensating_steps(given, here, around))
    work_site = here.at("compensate")
    kind = the_kind(work_site) if isinstance(work_site.node, Map) else None
    when = here.at("when").condition("when") if given.when is not None else None
    check_attempts(given, kind, here)
    work = _undoing(given, kind, here, around)
    if kind is None or work is None:
        return None
    undo = Step(
        name="",
        kind=kind,
        work=work,
        when=when,
        retry=retry_of(given.retry, kind, False, around.defaults),
        timeout=timeout_of(given.timeout, work, around.services, around.defaults, here),
    )
    return Compensation((replace(undo, reads_now=reads_now(undo)),), given.in_doubt)


def _undoing_scope(step: model.Step, site: Site) -> Scope:
    """What a compensation sees: what its step saw, the step itself, and the run's error."""
    line = None
    if isinstance(step.compensate, model.Compensation) and step.compensate.in_doubt:
        line = site.document.line(site.document.key((*site.path, "compensate", "in_doubt")) or site.node)
    siblings, index = site.path[:-1], site.path[-1]
    assert isinstance(index, int)
    return replace(
        site.scope,
        roots=site.scope.roots | {"error", "idempotency_key"},
        positions={**site.scope.positions, siblings: Position(index + 1)},
        own=None,
        compensating=True,
        undoing=step.id,
        in_doubt_line=line,
    )


def _undoing(given: model.Work, kind: str | None, site: Site, around: Surroundings) -> Work | None:
    if kind is None:
        return None
    if kind in _ENDS_THE_RUN:
        site.refuse("compensate", f'"{kind}" may not stand in compensate: the run is ending already', key=kind)
    return _work(given, kind, site, around)


def _compensating_steps(given: list[model.Step], site: Site, around: Surroundings) -> tuple[Step, ...]:
    return _nest(around)(given, site)
