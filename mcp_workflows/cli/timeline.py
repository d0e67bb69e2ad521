"""A run drawn as a timeline: every step with its attempts, waits and errors, and who asked for what in between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mcp_workflows.cli.spans import clock_time, span
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, StepRecord
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.engine.undo import SUFFIX
from mcp_workflows.runtime.views import RunView, Trace, TraceMessage

_STEP_MARKS: Final = {
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
_RUN_MARKS: Final = {
    RunStatus.PENDING: ("·", "dim"),
    RunStatus.RUNNING: ("▶", "busy"),
    RunStatus.WAITING: ("◷", "busy"),
    RunStatus.PAUSED: ("‖", "doubt"),
    RunStatus.COMPENSATING: ("↺", "busy"),
    RunStatus.COMPLETED: ("✓", "good"),
    RunStatus.FAILED: ("✗", "bad"),
    RunStatus.CANCELLED: ("■", "doubt"),
}
_LONGEST_JSON: Final = 400


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the timeline. ``key`` tells it apart, so that a printer of lines prints each once."""

    at: datetime
    key: tuple[Any, ...]
    mark: Text
    name: Text
    duration: str
    note: Text
    settled: bool

    def line(self, begun_at: datetime) -> Text:
        """The row by itself, without a table around it."""
        spans = f"{_offset(self.at, begun_at):>9}  "
        parts = [Text(spans, "dim"), self.mark, Text(" "), self.name]
        parts += [Text(f"  {self.duration}", "dim")] if self.duration else []
        parts += [Text("  "), self.note] if self.note else []
        return Text.assemble(*parts)


def status_mark(status: RunStatus) -> tuple[str, str]:
    """A sign and the style of a run's status."""
    return _RUN_MARKS[status]


def timeline(trace: Trace, now: datetime, happened: Sequence[Row] = (), *, result: bool = True) -> RenderableType:
    """The whole picture: who and when, every step, how it ended and what can be done.

    ``happened`` are rows of what the run itself cannot know; ``result`` is whether its result is shown.
    """
    table = Table.grid(padding=(0, 1))
    for justify in ("right", "left", "left", "right", "left"):
        table.add_column(justify=justify, overflow="fold", no_wrap=False)
    for row in sorted([*rows(trace, now), *happened], key=lambda row: row.at):
        offset = Text(_offset(row.at, trace.run.created_at), "dim")
        table.add_row(offset, row.mark, row.name, Text(row.duration, "dim"), row.note)
    parts: list[RenderableType] = [headline(trace.run, now), Padding(table, (0, 0, 0, 2))]
    parts += [Padding(line, (0, 0, 0, 2)) for line in ending(trace.run, result=result)]
    return Group(*parts)


def headline(run: RunView, now: datetime) -> Text:
    """Two lines: what it is, and where it stands."""
    name = Text.assemble((run.workflow, "name"), (f" version {run.version}  ", "dim"), (run.run_id, "id"))
    return Text.assemble(name, "\n", standing(run, now))


def standing(run: RunView, now: datetime) -> Text:
    """Where it stands, since when, by whom."""
    mark, style = _RUN_MARKS[run.status]
    until = run.finished_at or now
    took = "after" if run.status.finished else "for"
    details = f" {took} {span((until - run.created_at).total_seconds())}, begun {clock_time(run.created_at)}"
    return Text.assemble((f"{mark} {run.status}", style), (f"{details} by {run.actor}", "dim"))


def rows(trace: Trace, now: datetime) -> list[Row]:
    """Steps, failed attempts and messages in order of time."""
    found = list(_message_rows(trace.messages))
    seen = {step.path for step in trace.steps}
    for step in trace.steps:
        attempts = [attempt for attempt in trace.attempts if attempt.path == step.path]
        found += _attempt_rows(attempts, step)
        found.append(_step_row(step, attempts, trace, now))
    for path in trace.run.progress.running if trace.run.progress else ():
        if path not in seen:
            mark = Text(*_STEP_MARKS[StepStatus.RUNNING])
            found.append(Row(now, ("under way", path), mark, _name(path), "", Text("in flight", "busy"), settled=False))
    return sorted(found, key=lambda row: row.at)


def ending(run: RunView, *, result: bool = True) -> Iterator[Text]:
    """What came out, and what the person at the terminal can do. ``result``: also the result, where there is one."""
    if run.status is RunStatus.COMPLETED and result:
        yield Text.assemble(("result ", "dim"), _json(run.result))
    if run.error is not None:
        where = f"{run.error.step}: " if run.error.step else ""
        yield Text.assemble(("error ", "bad"), f"{where}{run.error.message}", (f" ({run.error.code})", "dim"))
        if run.error.in_doubt:
            yield Text("in doubt: it is unknown whether that took effect", "doubt")
    if run.undone:
        yield Text.assemble(("undone ", "doubt"), ", ".join(run.undone))
    for path, why in run.not_undone:
        yield Text.assemble(("not undone ", "bad"), f"{path}: {why}")
    if run.status is RunStatus.PAUSED:
        undoes = f" (undoes {', '.join(run.would_undo)})" if run.would_undo else ""
        yield Text.assemble(
            ("decide ", "doubt"), f"mcp-workflows resume {run.run_id}, or mcp-workflows cancel {run.run_id}{undoes}"
        )
    elif run.not_undone or (run.status is RunStatus.FAILED and run.compensation == "none"):
        yield Text.assemble(("again ", "dim"), f"mcp-workflows resume {run.run_id}")


def _step_row(step: StepRecord, failed: Sequence[AttemptRecord], trace: Trace, now: datetime) -> Row:
    mark, style = _STEP_MARKS[step.status]
    key = ("step", step.path, step.seq, step.status)
    ended_at = step.finished_at or (None if step.status.settled else now)
    began_at = failed[0].started_at if failed else step.started_at
    took = span((ended_at - began_at).total_seconds()) if ended_at and began_at and step.status in _TIMED else ""
    at = _last_begun(step, failed, trace)
    return Row(at, key, Text(mark, style), _name(step.path), took, _note(step, now), step.status.settled)


def _last_begun(step: StepRecord, failed: Sequence[AttemptRecord], trace: Trace) -> datetime:
    """When what the row tells began: after the attempts that failed before, and after what people said in between."""
    begun_at = step.started_at or step.finished_at or trace.run.created_at
    if failed:
        told = [message.received_at for message in trace.messages if step.attempts_before]
        until = step.finished_at or trace.run.finished_at
        before = [failed[-1].finished_at, *(at for at in told if until is None or at <= until)]
        begun_at = max(begun_at, *before)
    return begun_at


_TIMED: Final = frozenset(StepStatus) - {StepStatus.SKIPPED, StepStatus.PENDING}


def _note(step: StepRecord, now: datetime) -> Text:
    attempts = step.attempts + step.attempts_before
    said = [] if attempts < 2 else [f"{attempts} attempts"]
    match step.status:
        case StepStatus.WAITING if step.due_at is not None:
            left = (step.due_at - now).total_seconds()
            what = "next attempt" if attempts else "until"
            said.append(f"{what} {clock_time(step.due_at)} (in {span(left)})")
        case StepStatus.RUNNING:
            said.append("in flight")
        case StepStatus.SKIPPED:
            said.append("skipped")
        case StepStatus.COMPENSATED:
            said.append("undone later")
        case StepStatus.FAILED | StepStatus.IN_DOUBT if step.error is not None:
            said.append(_told(step.error))
        case _:
            pass
    if step.corrected:
        said.append("corrected")
    style = _STEP_MARKS[step.status][1] if step.status is not StepStatus.COMPLETED else "dim"
    return Text(", ".join(said), style)


def _attempt_rows(attempts: Sequence[AttemptRecord], step: StepRecord) -> Iterator[Row]:
    for attempt in attempts:
        if step.error is not None and attempt is attempts[-1] and step.status.settled:
            continue  # the step's own row tells the error of its last attempt
        took = span((attempt.finished_at - attempt.started_at).total_seconds())
        note = Text.assemble((f"attempt {attempt.number}: ", "dim"), _told(attempt.error))
        key = ("attempt", attempt.path, attempt.number)
        yield Row(attempt.started_at, key, Text("✗", "doubt"), _name(attempt.path, "dim"), took, note, settled=True)


def _message_rows(messages: Sequence[TraceMessage]) -> Iterator[Row]:
    for message in messages:
        told: dict[str, Any] = dict(message.body or {})
        body = {name: value for name, value in told.items() if value not in (None, False)}
        note = Text(f"by {message.actor}" + (f": {message.reason}" if message.reason else ""))
        if body and message.kind != "cancel":
            note.append(f" {json.dumps(body, ensure_ascii=False)}", "dim")
        key = ("message", message.kind, message.received_at)
        yield Row(message.received_at, key, Text("→", "busy"), Text(message.kind, "name"), "", note, settled=True)


def _told(error: StepError) -> str:
    doubt = " [in doubt]" if error.in_doubt else ""
    again = f", asked to wait {span(error.retry_after)}" if error.retry_after else ""
    return f"{error.message}{again}{doubt}"


def _name(path: str, style: str = "") -> Text:
    undone, separator, rest = path.partition(SUFFIX)
    return Text(f"undo {undone}{rest}" if separator else path, style)


def _offset(at: datetime, begun_at: datetime) -> str:
    return f"+{span((at - begun_at).total_seconds())}"


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_JSON else f"{text[:_LONGEST_JSON]}… ({len(text)} characters; --json shows all)"
