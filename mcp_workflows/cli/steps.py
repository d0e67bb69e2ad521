"""What one line of a timeline says of a step: how it stands, what it waits for, who decided, what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, cast

from mcp_workflows.cli.spans import due, span
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import StepStatus

STEP_MARKS: Final = {
    StepStatus.PENDING: ("·", "dim"),
    StepStatus.RUNNING: ("▶", "busy"),
    StepStatus.WAITING: ("◷", "busy"),
    StepStatus.COMPLETED: ("✓", "good"),
    StepStatus.FAILED: ("✗", "bad"),
    StepStatus.SKIPPED: ("-", "dim"),
    StepStatus.CANCELLED: ("■", "dim"),
    StepStatus.IN_DOUBT: ("?", "doubt"),
    StepStatus.COMPENSATING: ("↺", "busy"),
    StepStatus.COMPENSATED: ("↺", "doubt"),
}
_LONGEST: Final = 200


def note_of(step: StepRecord, now: datetime, *, inner_error: bool = False) -> str:
    """``inner_error``: a step inside tells the error already."""
    said = [*_attempts(step), *_kind(step), *_state(step, now, inner_error=inner_error)]
    if step.corrected:
        said.append("corrected")
    return ", ".join(said)


def style_of(step: StepRecord) -> str:
    """Of the note."""
    if step.status is StepStatus.COMPLETED:
        return "doubt" if step.error is not None else "dim"
    return STEP_MARKS[step.status][1]


def told(error: StepError) -> str:
    """An error in one line."""
    doubt = " [in doubt]" if error.in_doubt else ""
    again = f", asked to wait {span(error.retry_after)}" if error.retry_after else ""
    return f"{error.message}{again}{doubt}"


def asked(step: StepRecord) -> str | None:
    """What an approval asks."""
    return cast("str | None", decisions(step).get("message")) if step.kind == "approval" else None


def decisions(step: StepRecord) -> Mapping[str, Any]:
    return step.decision or {}


def child_of(step: StepRecord) -> str | None:
    """The run that the step has started."""
    parked = decisions(step).get("parked")
    child = cast("Mapping[str, Any]", parked).get("child") if isinstance(parked, Mapping) else None
    if child is None and step.kind == "workflow":
        child = _object(step.output).get("run_id")  # of a detached one
    return child if isinstance(child, str) and child.startswith("r_") else None


def _object(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _attempts(step: StepRecord) -> Iterator[str]:
    attempts = step.attempts + step.attempts_before
    if attempts > 1:
        yield f"{attempts} attempts"


def _kind(step: StepRecord) -> Iterator[str]:
    """What steps of this kind have to say for themselves."""
    decided = decisions(step)
    if child := child_of(step):
        yield f"run {child}"
    match step.kind:
        case "switch" if "arm" in decided:
            yield f"took {decided['arm']}"
        case "for_each" if "items" in decided:
            failed = len(decided.get("errors") or ())
            yield f"{len(decided['items'])} items" + (f", {failed} failed" if failed else "")
        case "repeat" if "iteration" in decided:
            yield f"{decided['iteration'] + 1} iterations"
        case "approval" if step.status is StepStatus.COMPLETED and (answer := _object(step.output)):
            yield _decided(answer)
        case "approval" if not step.status.settled:
            yield f'asks "{asked(step)}"'
        case _:
            pass


def _decided(answer: Mapping[str, Any]) -> str:
    said = f"{answer.get('decision', 'decided')}"
    if answer.get("by"):
        said += f" {by_whom(str(answer['by']), answer.get('via'))}"
    return said + (f": {answer['note']}" if answer.get("note") else "")


def by_whom(actor: str, via: str | None) -> str:
    """Who it was, and through what, where the name does not say that already."""
    return f"by {actor}" if not via or actor.startswith(f"{via}:") else f"by {actor} through {via}"


def _state(step: StepRecord, now: datetime, *, inner_error: bool) -> Iterator[str]:
    match step.status:
        case StepStatus.WAITING:
            yield from _waiting(step, now)
        case StepStatus.RUNNING if step.kind not in _HOLDERS:
            yield "in flight"
        case StepStatus.SKIPPED:
            yield "skipped"
        case StepStatus.COMPENSATED:
            yield "undone later"
        case StepStatus.FAILED | StepStatus.IN_DOUBT if step.error is not None and not inner_error:
            yield told(step.error)
        case StepStatus.COMPLETED if step.error is not None:
            yield f"{told(step.error)}; handled by {decisions(step).get('handler', 'on_error')}"
        case _:
            pass


_HOLDERS: Final = frozenset({"switch", "parallel", "for_each", "repeat"})


def _waiting(step: StepRecord, now: datetime) -> Iterator[str]:
    if step.kind == "signal":
        yield "waits for the signal"
    elif "parked" in decisions(step) and child_of(step) is None:
        yield "goes on at the service"
    if step.due_at is None:
        return
    attempts = step.attempts + step.attempts_before
    what = (
        "next attempt" if attempts and not step.decision else "asks again" if decisions(step).get("asked") else "until"
    )
    yield f"{what} {due(step.due_at, now)}"
