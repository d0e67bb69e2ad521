"""What ``resume`` may do to a run: which step it is made for, and what of it may be corrected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mcp_workflows.definition.input_schema import check_json, validate_input
from mcp_workflows.definition.program import ApprovalWork, Definition, Json, Step
from mcp_workflows.engine.corrections import composed, corrected
from mcp_workflows.engine.frames.child import CHILD_FAILED
from mcp_workflows.engine.frames.people import DECIDES, REJECTED
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.places import broken, step_at
from mcp_workflows.engine.records import Run, RunRecord, StepRecord
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.engine.undo_plan import plan
from mcp_workflows.errors import InputRefused, RunRefused
from mcp_workflows.steps import CORRECTABLE, refuse_correction


def once_in_doubt(definition: Definition, record: RunRecord) -> bool:
    """Whether the run stopped at a step that must run at most once, and nobody knows whether it did."""
    error = record.error
    step = step_at(definition, error.step) if error is not None and error.in_doubt and error.step else None
    return step is not None and step.at_most_once


def resume_body(
    run: Run, definition: Definition, rows: Mapping[str, StepRecord], correction: Mapping[str, Any], *, person: bool
) -> dict[str, Json]:
    """The message that resumes the run: the correction, and the step and generation it was made for, or the run's ``seq``.

    ``person``: it is known that a person asks for it. Only then may it stand for an approval that a person must give.

    By these the run knows a message that comes late, when the step has long been tried again, or two at once. ``rows``
    are those that the run's machine has once it is claimed. Raises ``RunRefused`` and ``InputRefused``: it cannot be
    resumed like that, and nothing was changed.
    """
    if not resumable(run.record):
        raise RunRefused(_why_not(run))
    check_json(dict(correction))
    given = _given(run, correction)
    if correction.get("input") is not None:
        _check_input(run, definition, correction["input"])
    failed = _failed(run, definition, rows)
    step = None if failed is None else step_at(definition, failed.path)
    if failed is None and given:
        raise RunRefused(f"{run.run_id} was not resumed: no step of it failed, so there is no {given} to correct.")
    if failed is not None and step is not None:
        if not person and given in ("output", "skip"):
            _check_person(run, failed, step, given)
        _check_step(run, failed, step, given)
        _check_request(run, failed.path, step, correction.get("request"))
    named = {"seq": run.record.seq} if failed is None else {"path": failed.path, "generation": failed.generation}
    return {**named, **correction}


def left_to_person(error: StepError | None) -> bool:
    """Whether it failed for want of an approval, its own or a child's: a rejection, or the silence of whoever must decide."""
    code, details = (error.code, error.details) if error is not None else (None, None)
    while isinstance(details, Mapping):
        given = cast("Mapping[str, Json]", details)
        if given.get(DECIDES) == "person":
            return True
        if code != CHILD_FAILED:
            break
        code, details = given.get("code"), given.get("details")
    return code == REJECTED


def correctable(request: Json) -> dict[str, Json]:
    """Of a failed step's request, as its error shows it, the parts that ``resume`` may correct."""
    if not isinstance(request, Mapping):
        return {}
    shown = cast("Mapping[str, Json]", request)
    return {part: shown[part] for part in CORRECTABLE if part in shown}


def resumable(record: RunRecord) -> bool:
    """Whether the run stands still with something left to do: its own work, or its undoing."""
    left = record.status is RunStatus.FAILED and record.compensation in ("none", "incomplete")
    return left or record.status is RunStatus.PAUSED


def _given(run: Run, correction: Mapping[str, Any]) -> str | None:
    """What is corrected of the step. At most one of these makes sense."""
    given = [key for key in ("request", "skip", "again") if correction.get(key)]
    given += ["output"] if "output" in correction else []  # null is an output too
    if len(given) > 1:
        raise RunRefused(f"{run.run_id} was not resumed: give only one of {', '.join(given)}.")
    return given[0] if given else None


def _check_input(run: Run, definition: Definition, patch: Json) -> None:
    merged = corrected(run.input, composed(run.record.corrections, patch))
    try:
        validate_input(definition, merged)
    except InputRefused as refused:
        raise InputRefused(f"Input refused, {run.run_id} was not resumed. {refused}") from None


def _failed(run: Run, definition: Definition, rows: Mapping[str, StepRecord]) -> StepRecord | None:
    """The step that a correction is for: the one whose failure the run stopped at, of undoing the one that undoes."""
    if run.record.compensation == "incomplete":
        for undo in plan(definition, rows).todo:
            steps = undo.compensation.steps if undo.compensation else ()
            for place in broken(steps, undo.lexical({}), rows):
                if not place.step.is_block:
                    return rows[place.path]
        return None
    path = run.record.error.step if run.record.error else None
    return rows.get(path) if path else None


def _check_step(run: Run, failed: StepRecord, step: Step, given: str | None) -> None:
    """What the failed step allows."""
    if given == "skip" and step.needed_by:
        raise RunRefused(
            f"{run.run_id} was not resumed: {failed.path} cannot be skipped, its output is read at "
            f"{', '.join(step.needed_by)}. Give output instead."
        )
    in_doubt_once = step.at_most_once and failed.in_doubt
    if given == "again" and not in_doubt_once:
        raise RunRefused(
            f"{run.run_id} was not resumed: again is only for a step that must run at most once and was cut off. "
            "Resume without it."
        )
    if in_doubt_once and given not in ("output", "again", "skip"):
        raise RunRefused(
            f"{run.run_id} was not resumed: {failed.path} must run at most once and it is unknown whether it took place. "
            "Find out, then give output (it took place) or again: true (make it again); otherwise cancel_run."
        )


def _check_person(run: Run, failed: StepRecord, step: Step, given: str) -> None:
    """An agent that may not answer an approval may not make up its answer either, nor go on without one."""
    work = step.work
    if work.by == "person" if isinstance(work, ApprovalWork) else left_to_person(failed.error):
        raise RunRefused(
            f"{run.run_id} was not resumed: {failed.path} waited for a person's decision, and {given} would stand for it. "
            "resume_run without a correction asks again; only a person may resume it otherwise."
        )


def _check_request(run: Run, path: str, step: Step, request: Json) -> None:
    """What of a request may be corrected: never where it goes to, nor as whom."""
    if refused := refuse_correction(step.work, request):
        raise InputRefused(f"{run.run_id} was not resumed. {path}: {refused}.")


def _why_not(run: Run) -> str:
    record = run.record
    match record.status:
        case RunStatus.FAILED:
            return (
                f"{run.run_id} failed and what it had done was undone: nothing to resume. Start again with other input."
            )
        case RunStatus.COMPLETED | RunStatus.CANCELLED | RunStatus.COMPENSATED:
            return f"{run.run_id} is {record.status}: nothing to resume."
        case _ if record.waiting_for:
            return f"{run.run_id} waits for an answer: nothing to resume. get_run says for which, and who may give it."
        case _:
            return f"{run.run_id} is {record.status}: it goes on by itself. Call get_run with wait_seconds 50."
