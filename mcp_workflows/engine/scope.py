"""What an expression sees at one place of a run. Nothing is copied: a value is looked up when an expression names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mcp_workflows.definition.program import Json, Step
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import Run, StepRecord
from mcp_workflows.engine.states import StepStatus

NOTHING: Mapping[str, Json] = {}


@dataclass(slots=True)
class RunValues:
    """The roots that are the same everywhere in a run."""

    run: Run
    input: Json
    vars: Mapping[str, Json]
    memo: Mapping[str, StepRecord]

    def root(self, name: str, now: datetime) -> Json:
        match name:
            case "input":
                return self.input
            case "vars":
                return self.vars
            case "run.id":
                return self.run.run_id
            case "run.name":
                return self.run.workflow
            case "run.version":
                return self.run.version
            case "run.started_at":
                return self.run.record.started_at or self.run.created_at
            case "run.now":
                return now
            case _:
                raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Lexical:
    """A list of steps as its steps see it: their names, the lists around it, and the values that are named there.

    ``prefix`` leads from the list to the paths of its steps; it is the path itself where the list is the short form of a
    compensation, one step without a name. ``values``: the item, ``index``, ``state``, ``error``.
    """

    prefix: str
    names: Mapping[str, str]
    """Ids of the list, and the name each has in paths."""
    outer: Lexical | None = None
    values: Mapping[str, Json] = field(default_factory=dict[str, Json])

    @classmethod
    def of(
        cls, steps: tuple[Step, ...], path: str = "", outer: Lexical | None = None, values: Mapping[str, Json] = NOTHING
    ) -> Lexical:
        """The list at ``path``. ``values`` are seen beside those of the lists around it."""
        return cls(prefix_of(path, steps), names_of(steps), outer, {**outer.values, **values} if outer else values)

    def path_of(self, step_id: str) -> str | None:
        name = self.names.get(step_id)
        if name is not None:
            return self.prefix + name
        return self.outer.path_of(step_id) if self.outer else None


def names_of(steps: tuple[Step, ...]) -> dict[str, str]:
    return {step.id: step.name for step in steps if step.id}


def prefix_of(path: str, steps: tuple[Step, ...]) -> str:
    unnamed = len(steps) == 1 and steps[0].name == ""
    return path if unnamed or not path else f"{path}."


@dataclass(slots=True)  # not frozen: a step costs several, and freezing triples what one takes
class Scope(Mapping[str, Any]):
    """The values of one evaluation, by root: ``input``, ``run.id``, ``steps.charge``, those of the place, ``extra`` ones."""

    run: RunValues
    lexical: Lexical
    now: datetime
    extra: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def __getitem__(self, root: str) -> Json:
        if root in self.extra:
            return self.extra[root]
        if root in self.lexical.values:
            return self.lexical.values[root]
        if not root.startswith("steps."):
            return self.run.root(root, self.now)
        path = self.lexical.path_of(root[6:])
        record = self.run.memo.get(path) if path else None
        if record is None:
            raise KeyError(root)
        return step_view(record)

    def __iter__(self) -> Iterator[str]:
        raise TypeError("a scope is looked up, not listed")

    def __len__(self) -> int:
        raise TypeError("a scope is looked up, not listed")

    def __contains__(self, root: object) -> bool:
        try:
            self[str(root)]
        except KeyError:
            return False
        return True


def step_view(record: StepRecord) -> dict[str, Json]:
    """What ``steps.<id>`` is: a step without output has no such key, so that ``.?output`` tells."""
    if record.status is StepStatus.COMPLETED and record.error is None and record.decision is None:  # as most are
        return {"status": "completed", "output": record.output}
    view: dict[str, Json] = {"status": str(record.status)}
    if has_output(record):
        view["output"] = record.output
    if record.error is not None:
        view["error"] = error_view(record.error)
    if record.decision and "errors" in record.decision:
        view["errors"] = record.decision["errors"]
    return view


def has_output(record: StepRecord) -> bool:
    """A failure that was handled has one; a block whose last step was skipped has none."""
    done = record.status.has_output and (record.error is None or record.status is StepStatus.COMPLETED)
    return done and not (record.decision and "empty" in record.decision)


def error_view(error: StepError) -> dict[str, Json]:
    """What ``error`` is: ``code, message, in_doubt, step, path``, and what else is known of it."""
    view = error.to_json()
    if error.step is not None:
        view["path"] = error.step
    return view
