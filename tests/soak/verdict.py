"""What must hold when all runs have ended, whatever happened on the way: told from the records, the ledger and the audit.

Each function answers with complaints; none is what a good product has.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from mcp_workflows.store.nodes import PATIENCE
from tests.soak.audit import Base, Entry
from tests.soak.ledger import Call, Ledger

EXPECTED: Mapping[tuple[str, str], tuple[str, str | None]] = {
    ("order", "good"): ("completed", None),
    ("order", "refused"): ("failed", "done"),
    ("order", "doubted"): ("failed", "done"),
    ("tour", "good"): ("completed", None),
    ("tour", "collected"): ("completed", None),
    ("tour", "broken"): ("failed", "done"),
    ("tour", "returned"): ("completed", None),
    ("family", "good"): ("completed", None),
    ("family", "handled"): ("completed", None),
    ("family", "refused"): ("failed", "done"),
    ("asking", "approved"): ("completed", None),
    ("asking", "rejected"): ("failed", "done"),
    ("payment", "good"): ("completed", None),
    ("delivery", "good"): ("completed", None),
    ("delivery", "refused"): ("failed", "done"),
    ("trouble", "good"): ("completed", None),
    ("trouble", "corrected"): ("completed", None),
    ("trouble", "failed"): ("failed", "none"),
    ("patience", "cancelled"): ("cancelled", "done"),
}
"""How a run ends, by its workflow and its fate: status, and what became of its undoing."""

FINISHED = {"completed", "failed", "cancelled", "compensated"}
SETTLED = {"completed", "failed", "skipped", "cancelled", "in_doubt", "compensating", "compensated"}
RECORDED = SETTLED - {"compensating", "compensated"}
"""The outcome of the step's own work."""
DONE = {"completed", "compensating", "compensated"}
EFFECTS = {"http", "python", "mcp_tool"}
"""Kinds of steps that do something."""
LOOKS = {"asked", "read"}
"""Steps that only look."""
SLACK = 0.05
"""Seconds between what two clocks, or one that is read twice, may say of the same moment."""

_AFTER: Mapping[str, set[str]] = {
    "completed": {"compensating"},
    "failed": {"completed", "compensating"},
    "in_doubt": {"completed", "compensating"},
    "compensating": {"compensated", "completed", "in_doubt"},
}
"""What a settled record may become without having been asked for anew."""


@dataclass(frozen=True, slots=True)
class RunRow:
    key: int
    run_id: str
    workflow: str
    status: str
    compensation: str | None
    idempotency_key: str | None
    parent: str | None
    owner: str | None
    fate: str


@dataclass(frozen=True, slots=True)
class StepRow:
    run: int
    path: str
    kind: str
    status: str
    corrected: int
    in_doubt: bool
    failed: bool
    """It has an error: it failed, be it that this was handled or undone since."""
    output: Any

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class NodeRow:
    node_id: str
    pid: int
    started_at: float
    """By its own clock, and to be compared with that of the same process alone."""


@dataclass(slots=True)
class Books:
    """Everything there is to judge by. ``labels`` of the processes by pid; ``proven``: a death may be proven by the operating
    system, before anybody has watched for a lease.
    """

    ledger: Ledger
    labels: Mapping[int, str]
    lease_seconds: float
    proven: bool
    runs: dict[int, RunRow] = field(default_factory=dict[int, RunRow])
    steps: list[StepRow] = field(default_factory=list[StepRow])
    nodes: dict[str, NodeRow] = field(default_factory=dict[str, NodeRow])
    entries: Sequence[Entry] = ()
    ends: Mapping[str, Entry] = field(default_factory=dict[str, Entry])
    """How the nodes ended, the first time."""
    resumes: Mapping[int, int] = field(default_factory=dict[int, int])

    @classmethod
    def read(cls, base: Base, ledger: Ledger, labels: Mapping[int, str], lease_seconds: float) -> Books:
        books = cls(ledger, labels, lease_seconds, base.is_file)
        columns = "key, run_id, workflow, status, compensation, idempotency_key, parent_run_id, owner, input"
        for *row, given in base.read(f"SELECT {columns} FROM run"):
            books.runs[row[0]] = RunRow(*row, json.loads(given).get("fate", ""))  # pyright: ignore[reportCallIssue]
        columns = "run, path, kind, status, corrected, in_doubt, error IS NOT NULL, output"
        for run, path, kind, status, corrected, in_doubt, failed, output in base.read(f"SELECT {columns} FROM step"):
            told = json.loads(output) if output else None
            books.steps.append(StepRow(run, path, kind, status, corrected, bool(in_doubt), bool(failed), told))
        for node_id, pid, started_at in base.read("SELECT node_id, pid, started_at FROM node"):
            books.nodes[node_id] = NodeRow(node_id, pid, started_at / 1e6)
        books.enter(base.entries())
        books.resumes = dict(base.read("SELECT run, count(*) FROM inbox WHERE kind = 'resume' GROUP BY run"))
        return books

    def enter(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        ends = [entry for entry in entries if entry.what in {"crashed", "left"} and entry.path is not None]
        self.ends = {str(end.path): end for end in sorted(ends, key=lambda end: end.place, reverse=True)}

    def key_of(self, step: StepRow) -> str:
        corrected = f":{step.corrected}" if step.corrected else ""
        return f"{self.runs[step.run].run_id}:{step.path}{corrected}"

    def at(self, entry: Entry) -> str:
        of_run = "" if entry.run is None else f"{self.runs[entry.run].workflow} {self.runs[entry.run].run_id} "
        return f"{of_run}{entry.path or ''} {entry.what} by {entry.writer} at {entry.at:.3f}"


def complaints(books: Books, started: Mapping[str, str]) -> list[str]:
    """``started``: the ids of runs that were answered for, by their idempotency keys."""
    return [
        *ended_for_good(books),
        *nobody_living_was_ended(books),
        *owned_once(books),
        *settled_once(books),
        *ended_as_they_should(books, started),
        *effects_agree(books),
        *undone_agree(books),
        *not_made_again(books),
        *made_at_most_once(books),
        *books.ledger.twice,
    ]


def ended_for_good(books: Books) -> Iterator[str]:
    """Who left or was declared dead writes nothing any more, not even that it lives."""
    for entry in books.entries:
        end = books.ends.get(entry.writer or "")
        if entry.what == "late" or (end is not None and entry.place > end.place):
            yield f"written by a node that had ended: {books.at(entry)}"
        if entry.what in {"crashed", "left"} and books.ends[str(entry.path)] is not entry:
            yield f"ended twice: {books.at(entry)}"


def nobody_living_was_ended(books: Books) -> Iterator[str]:
    """Others end a node when it was silent for long enough, or its process is gone: such a one does not come back."""
    patience = PATIENCE * books.lease_seconds
    for node_id, end in books.ends.items():
        if end.what != "crashed" or end.heard is None or end.at - end.heard >= patience:
            continue
        node = books.nodes[node_id]
        came_back = any(other.pid == node.pid and other.started_at > node.started_at for other in books.nodes.values())
        if came_back or not books.proven:
            yield f"taken for dead after {end.at - end.heard:.3f} s: {books.at(end)}"


def owned_once(books: Books) -> Iterator[str]:
    """Nobody takes a run from an owner that lives, and only the owner writes, by the order of the commits."""
    for entries in _by_run(books.entries):
        periods: list[tuple[str, float, float]] = []
        owner: str | None = None
        since = 0.0
        for entry in (entry for entry in entries if entry.what == "owner"):
            if owner is not None:
                if entry.path is not None:
                    yield f"taken from {owner} by {entry.path}: {books.at(entry)}"
                elif entry.writer != owner and (owner not in books.ends or books.ends[owner].place != entry.place):
                    yield f"taken from {owner} at another time than its end: {books.at(entry)}"
                periods.append((owner, since, entry.place))
            elif entry.path != entry.writer:
                yield f"given to {entry.path} by another: {books.at(entry)}"
            owner, since = entry.path, entry.place
        if owner is not None:
            periods.append((owner, since, float("inf")))
        for entry in entries:
            if entry.what != "owner" and not any(
                owner == entry.writer and since <= entry.place <= until for owner, since, until in periods
            ):
                yield f"written by a node that did not own the run: {books.at(entry)}"


def settled_once(books: Books) -> Iterator[str]:
    """What is recorded stays as it is, but for its undoing and for what is asked for anew."""
    by_step: defaultdict[tuple[int, str], list[Entry]] = defaultdict(list)
    for entry in books.entries:
        if entry.what == "step" and entry.run is not None and entry.path is not None:
            by_step[entry.run, entry.path].append(entry)
    for entries in by_step.values():
        for before, after in pairwise(entries):
            assert before.status is not None
            assert before.generation is not None
            assert after.generation is not None
            if after.generation < before.generation:
                yield f"an older generation was written over {before}: {books.at(after)}"
            if after.generation > before.generation or before.status not in SETTLED:
                continue
            same = after.status == before.status and after.output == before.output
            if not same and after.status not in _AFTER.get(before.status, set()):
                yield f"{before.status} became {after.status}: {books.at(after)}"


def ended_as_they_should(books: Books, started: Mapping[str, str]) -> Iterator[str]:
    by_key = {run.idempotency_key: run for run in books.runs.values() if run.idempotency_key}
    for key, run_id in started.items():
        if key not in by_key or by_key[key].run_id != run_id:
            yield f"{run_id}, started as {key}, is lost: {by_key.get(key)}"
    for key in by_key.keys() - started.keys():
        yield f"{by_key[key].run_id} has the key {key} that nobody was answered for"
    for run in books.runs.values():
        if run.owner is not None or run.status not in FINISHED:
            yield f"{run.workflow} {run.run_id} is {run.status}, owned by {run.owner}"
        elif run.compensation == "incomplete":
            yield f"{run.workflow} {run.run_id} could not be undone"
        elif run.idempotency_key is not None:
            status, compensation = EXPECTED[run.workflow, run.fate]
            if run.status != status or (run.compensation != compensation and status != "cancelled"):
                yield f"{run.workflow} {run.fate} {run.run_id} is {run.status}, {run.compensation}"
        elif run.parent is None and run.status != "completed":
            yield f"{run.workflow} {run.run_id}, which was left to itself, is {run.status}"
    for step in books.steps:
        if step.status not in SETTLED:
            yield f"{books.key_of(step)} of a run that has ended is {step.status}"


def effects_agree(books: Books) -> Iterator[str]:
    """What is recorded as done was done under its key, what is recorded as not done was not, and nothing else was."""
    known: set[str] = set()
    for step in books.steps:
        key = books.key_of(step)
        known.add(key)
        if step.kind not in EFFECTS or step.name in LOOKS or ":compensate" in step.path:
            continue
        effect = books.ledger.effects.get(key)
        if step.status in DONE and not step.failed:
            if effect is None:
                yield f"{key} is {step.status} and was never done"
            elif step.output is not None and step.output.get("effect") != effect.number:
                yield f"{key} is {step.status} with {step.output} and was effect {effect.number}"
        elif effect is not None and not step.in_doubt:
            yield f"{key} is {step.status} for certain and was done"
    for key in books.ledger.effects.keys() - known:
        yield f"{key} was done and nobody recorded it"


def undone_agree(books: Books) -> Iterator[str]:
    """Of a run that was undone everything was, of another one nothing."""
    runs = {run.run_id: run for run in books.runs.values()}
    for key, effect in books.ledger.effects.items():
        run = runs[key.partition(":")[0]]
        undone = run.compensation == "done" or run.status == "compensated"
        if undone and effect.undone_by is None:
            yield f"{key} of {run.workflow}, {run.status}, {run.compensation}, was not undone"
        if not undone and effect.undone_by is not None:
            yield f"{key} of {run.workflow}, {run.status}, {run.compensation}, was undone by {effect.undone_by}"


def not_made_again(books: Books) -> Iterator[str]:
    """Once an outcome is recorded nobody makes the call again, but a process that was declared dead and does not know it."""
    for call, late in _late_calls(books):
        if not _declared_dead(books, call.by, call.at):
            yield f"{call.what} of {call.key} was called by {call.by} {late:.3f} s after its record, at {call.at:.3f}"


def late_calls(books: Books) -> int:
    """How many calls the dead made of what was recorded: for information."""
    return sum(_declared_dead(books, call.by, call.at) for call, _ in _late_calls(books))


def _late_calls(books: Books) -> Iterator[tuple[Call, float]]:
    recorded: dict[str, float] = {}
    for entry in books.entries:
        if entry.what == "step" and entry.run is not None and entry.status in RECORDED:
            recorded[f"{books.runs[entry.run].run_id}:{entry.path}"] = entry.at
    for call in books.ledger.calls:
        late = call.at - call.behind - recorded.get(call.key, float("inf"))
        if late > SLACK:
            yield call, late


def made_at_most_once(books: Books) -> Iterator[str]:
    """A payment is called for once, and once more each time somebody asks for it."""
    calls: defaultdict[str, int] = defaultdict(int)
    for call in books.ledger.calls:
        if call.what == "pay":
            calls[call.key.partition(":")[0]] += 1
    for run in books.runs.values():
        allowed = 1 + books.resumes.get(run.key, 0)
        if calls[run.run_id] > allowed:
            yield f"{run.run_id} paid {calls[run.run_id]} times, asked for {allowed} times"


def _declared_dead(books: Books, label: str, at: float) -> bool:
    """Whether an incarnation of that process had been by then."""
    return any(
        end.what == "crashed" and end.at <= at and books.labels.get(books.nodes[node_id].pid) == label
        for node_id, end in books.ends.items()
    )


def _by_run(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    of_one: list[Entry] = []
    for entry in (entry for entry in entries if entry.run is not None):
        if of_one and of_one[0].run != entry.run:
            yield of_one
            of_one = []
        of_one.append(entry)
    if of_one:
        yield of_one
