"""Steps, what undoes them, and what they inherit: from the model into the program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mcp_workflows.definition import model
from mcp_workflows.definition.compile_http import HTTP_RESULT, CompiledService, compile_http
from mcp_workflows.definition.expressions import Expression, Template
from mcp_workflows.definition.model.step import KINDS, LATER_KINDS
from mcp_workflows.definition.phrases import listed
from mcp_workflows.definition.program import (
    Backoff,
    Compensation,
    FailWork,
    HttpWork,
    Retry,
    ReturnWork,
    SetWork,
    Step,
    WaitWork,
    Work,
)
from mcp_workflows.definition.scope import Names, Scope
from mcp_workflows.definition.site import Reads, Site, given_by
from mcp_workflows.definition.text.document import Document
from mcp_workflows.definition.text.nodes import Map

HTTP_TIMEOUT = 30.0
HTTP_RETRY = Retry(max_attempts=5)
NO_RETRY = Retry(max_attempts=1)
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
        here = replace(scope, positions={**scope.positions, path: index}, own=step.id)
        name = step.id or f"{(step.kinds or ['step'])[0]}#{index + 1}"
        site = Site(around.document, (*path, index), here, around.reads, name)
        if isinstance(site.document.node(site.path), Map):
            program = _step(step, name, site, around)
            compiled += [program] if program is not None else []
    return tuple(compiled)


def _step(step: model.Step, name: str, site: Site, around: Surroundings) -> Step | None:
    kind = the_kind(site)
    when = site.at("when").condition("when") if step.when is not None else None
    if when is not None:
        site = site.within(replace(site.scope, given=given_by(when)))
    work = _work(step, kind, site, around) if kind is not None else None
    output = _output(step, kind, site)
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
        retry=_retry(step.retry, kind, step.at_most_once, around),
        timeout=_timeout(step.timeout, work, around),
        continue_on_error=step.on_error == "continue",
        compensate=compensate,
        at_most_once=step.at_most_once,
    )
    return replace(program, reads_now=_reads_now(program))


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


def _work(step: model.Work, kind: str, site: Site, around: Surroundings) -> Work | None:
    match kind:
        case "http":
            return compile_http(step.http, site.under("http"), around.services) if step.http is not None else None
        case "set":
            return SetWork(site.at("set").shape("set")) if step.set_values is not None else None
        case "wait":
            return _wait(step, site)
        case "return":
            return ReturnWork(site.at("return").shape("return", needs_value=True))
        case _:
            return _fail(step, site.at("fail"))


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
    parts = HTTP_RESULT if kind == "http" else ()
    here = site.within(replace(site.scope, result_parts=parts)).at("output", "result")
    return here.shape("output", needs_value=True)


def _retry(own: model.Retry | None, kind: str, at_most_once: bool, around: Surroundings) -> Retry:
    retry = HTTP_RETRY if kind == "http" else NO_RETRY
    if kind == "http" and around.defaults.retry is not None:
        retry = _merged(retry, around.defaults.retry)
    if own is not None:
        retry = _merged(retry, own)
    return replace(retry, max_attempts=1) if at_most_once else retry


def _merged(retry: Retry, own: model.Retry) -> Retry:
    """``own`` over ``retry``, key by key."""
    return Retry(
        max_attempts=own.max_attempts if own.max_attempts is not None else retry.max_attempts,
        backoff=Backoff(own.backoff) if own.backoff is not None else retry.backoff,
        delay=own.delay if own.delay is not None else retry.delay,
        max_delay=own.max_delay if own.max_delay is not None else retry.max_delay,
        jitter=own.jitter if own.jitter is not None else retry.jitter,
        conditions=tuple(own.conditions) if own.conditions is not None else retry.conditions,
        give_up_after=own.give_up_after if own.give_up_after is not None else retry.give_up_after,
    )


def _timeout(own: float | None, work: Work, around: Surroundings) -> float | None:
    """Of http: the step's, else the service's, else the file's, else 30 s. Other kinds do nothing that could last."""
    if not isinstance(work, HttpWork):
        return own
    service = around.services.get(work.service) if work.service is not None else None
    return own or (service.timeout if service else None) or around.defaults.timeout or HTTP_TIMEOUT


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
    work = _undoing(given, kind, here, around)
    if kind is None or work is None:
        return None
    undo = Step(
        name="",
        kind=kind,
        work=work,
        when=when,
        retry=_retry(given.retry, kind, False, around),
        timeout=_timeout(given.timeout, work, around),
    )
    return Compensation((replace(undo, reads_now=_reads_now(undo)),), given.in_doubt)


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
        positions={**site.scope.positions, siblings: index + 1},
        own=None,
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
    for index, step in enumerate(given):
        inside = site.under(index)
        if step.compensate is not None:
            inside.refuse("compensate", "what undoes a step is not undone itself", key="compensate")
        for kind in _ENDS_THE_RUN & set(step.kinds):
            inside.refuse("compensate", f'"{kind}" may not stand in compensate: the run is ending already', key=kind)
    return compile_steps(given, site.path, site.scope, around)


def _reads_now(step: Step) -> bool:
    return any("run.now" in part.names for part in _parts(step))


def _parts(step: Step) -> Iterator[Template | Expression]:
    for part in (step.when, step.output, *_work_parts(step.work)):
        if isinstance(part, Template | Expression):
            yield part


def _work_parts(work: Work) -> list[object]:
    match work:
        case HttpWork():
            headers = [value for _, value in work.headers]
            auth = work.auth.parts if work.auth is not None else ()
            return [work.url, work.query, work.body, work.success, work.idempotency_key, *headers, *auth]
        case SetWork():
            return [work.values]
        case WaitWork():
            return [work.until]
        case ReturnWork():
            return [work.value]
        case FailWork():
            return [work.message, work.details]
