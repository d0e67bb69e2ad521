"""What people and other systems do to a run in a test: signals, decisions, corrections, a cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcp_workflows.definition.input_schema import fitted, validate_input
from mcp_workflows.definition.program import ApprovalWork, Json, SignalWork
from mcp_workflows.engine.corrections import composed, corrected
from mcp_workflows.engine.paths import COMPENSATE
from mcp_workflows.engine.records import MessageKind, StepRecord
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.errors import InputRefused
from mcp_workflows.steps.correction import refuse_correction
from mcp_workflows.testing.model import Cancel, Resume, Signal
from mcp_workflows.testing.outline import Key
from mcp_workflows.testing.result import TestBroken
from mcp_workflows.testing.simulation import Moment, Planned

_FAILED = frozenset({StepStatus.FAILED, StepStatus.IN_DOUBT})


def signal(given: Signal) -> Planned:
    """A signal, once the run waits for one of this name."""

    def waiting(moment: Moment) -> StepRecord | None:
        for record in _waiting(moment):
            work = moment.outline.step_at(record.path).work
            if isinstance(work, SignalWork) and work.name == given.name:
                return record
        return None

    def message(moment: Moment) -> tuple[MessageKind, Mapping[str, Json]]:
        works = [step.work for step in moment.outline.steps.values()]
        schemas = [work.schema for work in works if isinstance(work, SignalWork) and work.name == given.name]
        return "signal", {"name": given.name, "data": _signal_data(given, schemas)}

    return Planned(lambda moment: waiting(moment) is not None, message, given.by, given.at)


def _signal_data(given: Signal, schemas: Sequence[Mapping[str, Json] | None]) -> Json:
    """The data as the first schema that fits makes it; a step without a schema takes anything."""
    refusal: InputRefused | None = None
    for schema in schemas if None not in schemas else [None]:
        if schema is None:
            return given.data
        try:
            return fitted(schema, {} if given.data is None else given.data)
        except InputRefused as refused:
            refusal = refusal or refused
    raise TestBroken(f'the data of signal "{given.name}" would be refused: {refusal}')


def decision(given: Signal, key: Key) -> Planned:
    """The answer to an approval, once the run waits for it."""

    def waiting(moment: Moment) -> StepRecord | None:
        return next((record for record in _waiting(moment) if key.matches(record.path)), None)

    def message(moment: Moment) -> tuple[MessageKind, Mapping[str, Json]]:
        record = waiting(moment)
        if record is None:
            raise TestBroken(f'the run does not wait for "{given.step}" at that time; a decision is not kept for later')
        work = moment.outline.step_at(record.path).work
        assert isinstance(work, ApprovalWork), "checked when the test was read"
        _check_approver(given, record)
        body: dict[str, Any] = {"path": record.path, "generation": record.generation, "decision": given.decision}
        extra = {"note": given.note, "form": _form(given, work)}
        return "answer", body | {name: value for name, value in extra.items() if value is not None} | {"via": "test"}

    return Planned(lambda moment: waiting(moment) is not None, message, given.by, given.at)


def _check_approver(given: Signal, record: StepRecord) -> None:
    decided: Mapping[str, Any] = record.decision or {}
    approvers: list[str] | None = decided.get("approvers")
    if approvers is not None and given.by not in approvers:
        raise TestBroken(f'"{given.by}" may not decide "{given.step}": its approvers are {", ".join(approvers)}')


def _form(given: Signal, work: ApprovalWork) -> Json:
    """The form with its defaults. It need not be filled in to say no."""
    if work.form is None:
        if given.form is not None:
            raise TestBroken(f'"{given.step}" has no form')
        return None
    if given.form is None and given.decision == "rejected":
        return None
    try:
        return fitted(work.form, given.form or {})
    except InputRefused as refused:
        raise TestBroken(f'the form of "{given.step}" would be refused: {refused}') from None


def cancel(given: Cancel) -> Planned:
    """A cancel, as soon as the run waits or is paused."""

    def fits(moment: Moment) -> bool:
        return moment.record.status in (RunStatus.WAITING, RunStatus.PAUSED) and not moment.in_flight

    return Planned(fits, lambda _: ("cancel", {"compensate": given.compensate}), at=given.at)


def resume(given: Resume) -> Planned:
    """What a person does with a run that stands still."""

    def message(moment: Moment) -> tuple[MessageKind, Mapping[str, Json]]:
        if not _stands(moment):
            raise TestBroken(f"the run is {moment.record.status} at that time: there is nothing to resume")
        failed = _failed_step(moment)
        _check_resume(given, moment, failed)
        body = given.model_dump(include=given.model_fields_set - {"at"})
        if failed is not None:
            body |= {"path": failed.path, "generation": failed.generation}
        return "resume", body

    return Planned(_stands, message, at=given.at)


def _waiting(moment: Moment) -> list[StepRecord]:
    """The signals and approvals that the run waits for."""
    return [moment.steps[path] for path in moment.record.waiting_for]


def _stands(moment: Moment) -> bool:
    record = moment.record
    return record.status is RunStatus.PAUSED or (
        record.status is RunStatus.FAILED and record.compensation in ("none", "incomplete")
    )


def _failed_step(moment: Moment) -> StepRecord | None:
    if moment.record.compensation == "incomplete":
        undoing = (record for path, record in moment.steps.items() if COMPENSATE in path)
        return next((record for record in undoing if record.status in _FAILED), None)
    error = moment.record.error
    return moment.steps.get(error.step) if error is not None and error.step is not None else None


def _check_resume(given: Resume, moment: Moment, failed: StepRecord | None) -> None:
    """What a server would refuse, a test cannot rely on."""
    definition = moment.outline.definition
    if given.input is not None:
        merged = corrected(moment.input, composed(moment.record.corrections, given.input))
        try:
            validate_input(definition, merged)
        except InputRefused as refused:
            raise TestBroken(f"the input of resume would be refused: {refused}") from None
    settles = "output" in given.model_fields_set or given.skip or given.again
    if failed is None:
        if settles or given.request is not None:
            raise TestBroken("no step of the run failed, so there is nothing to correct but input")
        return
    step = moment.outline.step_at(failed.path)
    if given.request is not None and (wrong := refuse_correction(step.work, given.request)):
        raise TestBroken(f"the request of resume would be refused: {wrong}")
    if given.skip and step.needed_by:
        raise TestBroken(f"{failed.path} cannot be skipped, its output is read at {', '.join(step.needed_by)}")
    cut_off = step.at_most_once and failed.in_doubt
    if given.again and not cut_off:
        raise TestBroken("again is only for a step that must run at most once and was cut off")
    if cut_off and not settles:
        raise TestBroken(
            f"{failed.path} must run at most once and it is unknown whether it took place: resume with output or again"
        )
