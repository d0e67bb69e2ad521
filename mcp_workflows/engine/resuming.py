"""Where a person's ``resume`` goes on: which step failed, whether it is the one that is meant, and what is opened anew."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_workflows.definition.program import Definition, Json, WorkflowWork
from mcp_workflows.engine.frames.child import child_of
from mcp_workflows.engine.places import Memo, Place, broken, place_of
from mcp_workflows.engine.records import RunRecord
from mcp_workflows.engine.scope import Lexical
from mcp_workflows.engine.undo_plan import plan


def places_to_reopen(definition: Definition, memo: Memo, failed: str | None, body: Mapping[str, Json]) -> list[Place]:
    """Of a run that goes forward: where it stopped, and the step ``failed`` that ``body`` corrects."""
    places = broken(definition.steps, Lexical.of(definition.steps), memo)
    if failed is not None and failed not in (place.path for place in places):
        places += _handled(definition, memo, failed, body)
    return places


def failed_children(record: RunRecord, definition: Definition, memo: Memo, body: Mapping[str, Json]) -> dict[str, str]:
    """By path, the runs whose failure ``resume`` opens anew; a step that is given its output, or left out, needs none."""
    if record.compensation == "incomplete":
        return {}
    failed = record.error.step if record.error else None
    settled = failed if "output" in body or body.get("skip") else None
    places = places_to_reopen(definition, memo, failed, body)
    children = {place.path: child_of(memo[place.path]) for place in places if isinstance(place.step.work, WorkflowWork)}
    return {path: child for path, child in children.items() if child is not None and path != settled}


def undoing_to_reopen(definition: Definition, memo: Memo) -> list[Place]:
    """Of a run that could not be undone whole: where that stopped."""
    found: list[Place] = []
    for undo in plan(definition, memo).todo:
        if undo.compensation is not None:
            found += broken(undo.compensation.steps, undo.lexical({}), memo)
    return found


def first_step(places: list[Place]) -> str | None:
    """The one that a correction is for: what holds it has only failed with it."""
    return next((place.path for place in places if not place.step.is_block), None)


def is_meant(body: Mapping[str, Json], memo: Memo, failed: str | None, seq: int) -> bool:
    """Whether the sender saw this failure, and not another one that somebody else has corrected since.

    ``seq`` is the run's, which each resuming moves on: it tells apart failures that are no step's.
    """
    path = body.get("path")
    if path is None:
        return body.get("seq", seq) == seq
    record = memo.get(path)
    return path == failed and (record is None or record.generation == body.get("generation", record.generation))


def _handled(definition: Definition, memo: Memo, path: str, body: Mapping[str, Json]) -> list[Place]:
    """The step whose failure was handled, but for the output; one that is given instead settles it."""
    place = place_of(definition, path, memo)
    return [place] if place is not None and path in memo and ("output" in body or body.get("skip")) else []
