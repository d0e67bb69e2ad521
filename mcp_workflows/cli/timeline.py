"""A run drawn as a timeline: every step with its attempts, waits and errors, and who asked for what in between."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mcp_workflows.asking.resuming import correctable
from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.cli.spans import clock_time, span
from mcp_workflows.cli.steps import STEP_MARKS, by_whom, note_of, style_of, told
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.paths import COMPENSATE
from mcp_workflows.engine.records import AttemptRecord, StepRecord
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.runtime.tree import Branch, is_step, tree
from mcp_workflows.runtime.views import RunView, Trace

_RUN_MARKS: Final = {
    RunStatus.PENDING: ("·", "dim"),
    RunStatus.RUNNING: ("▶", "busy"),
    RunStatus.WAITING: ("◷", "busy"),
    RunStatus.PAUSED: ("‖", "doubt"),
    RunStatus.COMPENSATING: ("↺", "busy"),
    RunStatus.COMPLETED: ("✓", "good"),
    RunStatus.FAILED: ("✗", "bad"),
    RunStatus.CANCELLED: ("■", "doubt"),
    RunStatus.COMPENSATED: ("↺", "doubt"),
}
_LONGEST_JSON: Final = 400
_WAITS: Final = 5
_NAMED: Final = 20


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
    inner: tuple[Row, ...] = ()
    """What stands below it in the picture."""

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


def timeline(
    trace: Trace,
    now: datetime,
    happened: Sequence[Row] = (),
    *,
    ends: bool = True,
    result: bool = True,
    place: str = "",
) -> RenderableType:
    """The whole picture: who and when, every step below what it stands in, how it ended and what can be done.

    ``happened`` are rows of what the run itself cannot know; ``ends`` is whether ``ending`` is part of the picture, and
    ``result`` whether the result is; ``place`` is what a next command must say to find the run.
    """
    table = Table.grid(padding=(0, 1))
    for justify in ("right", "left", "left", "right", "left"):
        table.add_column(justify=justify, overflow="fold", no_wrap=False)
    top = [*_tree_rows(trace, now), *_message_rows(trace), *_unrecorded(trace, now), *happened]
    for depth, row in _below(sorted(top, key=lambda row: row.at)):
        offset = Text(_offset(row.at, trace.run.created_at), "dim")
        name = Padding(row.name, (0, 0, 0, 2 * depth)) if depth else row.name
        table.add_row(offset, row.mark, name, Text(row.duration, "dim"), row.note)
    parts: list[RenderableType] = [headline(trace.run, now), Padding(table, (0, 0, 0, 2))]
    if ends:
        parts += [Padding(line, (0, 0, 0, 2)) for line in ending(trace.run, result=result, place=place)]
    return Group(*parts)


def _below(rows: Iterable[Row], depth: int = 0) -> Iterator[tuple[int, Row]]:
    for row in rows:
        yield depth, row
        yield from _below(row.inner, depth + 1)


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
    """Steps by their paths, failed attempts and messages, in order of time."""
    found = [*_message_rows(trace), *_unrecorded(trace, now)]
    failed = _failed_attempts(trace)
    for step in trace.steps:
        if is_step(step) or step.error is not None:
            found += _attempt_rows(failed.get(step.path, ()), step, _path(step.path))
            found.append(_step_row(step, _path(step.path), failed.get(step.path, ()), trace, now))
    return sorted(found, key=lambda row: row.at)


def ending(run: RunView, *, result: bool = True, place: str = "") -> Iterator[Text]:
    """What came out, and what the person at the terminal can do. ``result``: also the result, where there is one."""
    if run.status is RunStatus.COMPLETED and result:
        yield Text.assemble(("result ", "dim"), _json(run.result))
    if run.error is not None:
        yield from _failed(run, run.error)
    if run.stranded is not None:
        yield Text.assemble(("stranded ", "doubt"), f"no server that is up can go on with it: {run.stranded}")
    if run.undone:
        yield Text.assemble(("undone ", "doubt"), _some(run.undone))
    for one in run.not_undone[:_NAMED]:
        yield Text.assemble(("not undone ", "bad"), f"{one.path}: {one.why}")
    if len(run.not_undone) > _NAMED:
        yield Text(f"and {len(run.not_undone) - _NAMED} more were not undone", "bad")
    if run.stays:
        yield Text.assemble(("stays ", "doubt"), f"what {_some(run.stays)} did: nothing undoes it")
    for wait in run.waiting_for[:_WAITS]:
        yield answering(run, wait, place)
    if len(run.waiting_for) > _WAITS:
        yield Text(f"and {len(run.waiting_for) - _WAITS} more wait for an answer", "dim")
    if run.status is RunStatus.PAUSED:
        undoes = f" (undoes {_some(run.would_undo)})" if run.would_undo else ""
        resume, cancel = (f"mcp-workflows {verb} {run.run_id}{place}" for verb in ("resume", "cancel"))
        yield Text.assemble(("decide ", "doubt"), f"{resume}{_found_out(run)}, or {cancel}{undoes}")
    elif len(run.not_undone) > len(run.doubted) or (run.status is RunStatus.FAILED and run.compensation == "none"):
        yield Text.assemble(("again ", "dim"), f"mcp-workflows resume {run.run_id}{place}{_found_out(run)}")


def _failed(run: RunView, error: StepError) -> Iterator[Text]:
    where = f"{error.step}: " if error.step else ""
    yield Text.assemble(("error ", "bad"), f"{where}{error.message}", (f" ({error.code})", "dim"))
    if error.in_doubt:
        yield Text("in doubt: it is unknown whether that took effect", "doubt")
    forward = run.status is RunStatus.PAUSED or run.compensation == "none"
    if forward and (request := correctable(error.request)):
        yield Text.assemble(("sent ", "dim"), _json(request))


def _found_out(run: RunView) -> str:
    """What ``resume`` needs where somebody must find out first."""
    return " with --output (it took place) or --again (make it again)" if run.once_in_doubt else ""


def _some(paths: Sequence[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def answering(run: RunView, wait: Waiting, place: str) -> Text:
    """What it asks, and how to answer."""
    asks = f"{wait.message} " if wait.message else ""
    what = f"approval {wait.name}" if wait.kind == "approval" else f"signal {wait.name}"
    until = f" until {clock_time(wait.expires_at)}" if wait.expires_at else ""
    command = f"mcp-workflows signal {run.run_id} {wait.name}{place}"
    return Text.assemble(asks, ("answer ", "doubt"), f"{what}{until}: {command}")


def _tree_rows(trace: Trace, now: datetime) -> list[Row]:
    failed = _failed_attempts(trace)

    def drawn(branch: Branch) -> list[Row]:
        inner = [row for one in branch.inner for row in drawn(one)]
        if branch.left_out:
            inner.append(_left_out(branch, trace))
        name = Text(branch.name)
        step = branch.row
        if step is None:
            at = branch.begun_at or trace.run.created_at
            mark = Text(*STEP_MARKS[branch.status])
            return [Row(at, ("list", branch.path), mark, name, "", Text(), settled=False, inner=tuple(inner))]
        attempts = failed.get(step.path, ())
        row = _step_row(step, name, attempts, trace, now)
        if branch.inner:
            row = replace(row, at=branch.begun_at or row.at, inner=tuple(inner))
        return [*_attempt_rows(attempts, step, Text(branch.name, "dim")), row]

    return [row for branch in tree(trace.steps) for row in drawn(branch)]


def _left_out(branch: Branch, trace: Trace) -> Row:
    counts = ", ".join(f"{count} {status}" for status, count in branch.left_out.most_common())
    at = branch.inner[-1].begun_at or trace.run.created_at
    name = Text(f"… {branch.left_out.total()} more", "dim")
    return Row(at, ("left out", branch.path), Text("⋯", "dim"), name, "", Text(counts, "dim"), settled=False)


def _unrecorded(trace: Trace, now: datetime) -> Iterator[Row]:
    """What is in flight and so new that it is not recorded yet."""
    seen = {step.path for step in trace.steps}
    for path in trace.run.progress.running if trace.run.progress else ():
        if path not in seen:
            mark = Text(*STEP_MARKS[StepStatus.RUNNING])
            yield Row(now, ("under way", path), mark, _path(path), "", Text("in flight", "busy"), settled=False)


def _failed_attempts(trace: Trace) -> dict[str, list[AttemptRecord]]:
    failed: dict[str, list[AttemptRecord]] = {}
    for attempt in trace.attempts:
        failed.setdefault(attempt.path, []).append(attempt)
    return failed


def _step_row(step: StepRecord, name: Text, failed: Sequence[AttemptRecord], trace: Trace, now: datetime) -> Row:
    mark, style = STEP_MARKS[step.status]
    if step.status is StepStatus.COMPLETED and step.error is not None:
        style = "doubt"  # its failure was handled
    key = ("step", step.path, step.seq, step.status)
    ended_at = step.finished_at or (None if step.status.settled else now)
    began_at = failed[0].started_at if failed else step.started_at
    took = span((ended_at - began_at).total_seconds()) if ended_at and began_at and step.status in _TIMED else ""
    at = _last_begun(step, failed, trace)
    inner_error = step.error is not None and step.error.step not in (None, step.path)
    note = Text(note_of(step, now, inner_error=inner_error), style_of(step))
    return Row(at, key, Text(mark, style), name, took, note, step.status.settled)


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


def _attempt_rows(attempts: Sequence[AttemptRecord], step: StepRecord, name: Text) -> Iterator[Row]:
    dim = Text(name.plain, "dim")
    for attempt in attempts:
        if step.error is not None and attempt is attempts[-1] and step.status.settled:
            continue  # the step's own row tells the error of its last attempt
        took = span((attempt.finished_at - attempt.started_at).total_seconds())
        note = Text.assemble((f"attempt {attempt.number}: ", "dim"), told(attempt.error))
        key = ("attempt", attempt.path, attempt.number)
        yield Row(attempt.started_at, key, Text("✗", "doubt"), dim, took, note, settled=True)


def _message_rows(trace: Trace) -> Iterator[Row]:
    """What people and programs asked for. An answer is told with the step that it settled."""
    settled = {step.path for step in trace.steps if step.kind == "approval" and step.status.settled}
    for message in trace.messages:
        body: dict[str, Any] = dict(message.body or {})
        path = body.pop("path", None)
        if message.kind in _INTERNAL or (message.kind == "answer" and path in settled):
            continue
        named = body.pop("name", None) or path or str(body.pop("wait", "")).partition("#")[0]
        reason = message.reason or body.pop("why", None)
        note = Text(by_whom(message.actor, body.get("via")) + (f": {reason}" if reason else ""))
        said = {name: value for name, value in body.items() if name not in _ADDRESS and value not in (None, False)}
        said = said.get("data", {}) if message.kind == "signal" else said
        if said and message.kind != "cancel":
            note.append(f" {_json(said)}", "dim")
        key = ("message", message.kind, message.received_at)
        name = Text.assemble((message.kind, "name"), f" {named}" if named else "")
        yield Row(message.received_at, key, Text("→", "busy"), name, "", note, settled=True)


_INTERNAL: Final = frozenset({"callback", "child", "undo"})
_ADDRESS: Final = frozenset({"generation", "seq", "via", "ended", "children"})


def _path(path: str) -> Text:
    undone, separator, rest = path.partition(COMPENSATE)
    return Text(f"undo {undone}{rest}" if separator else path)


def _offset(at: datetime, begun_at: datetime) -> str:
    return f"+{span((at - begun_at).total_seconds())}"


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_JSON else f"{text[:_LONGEST_JSON]}… ({len(text)} characters; --json shows all)"
