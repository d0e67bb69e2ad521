"""What a test may do to a run is what a server would let people do: the same calls are refused by both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.definition.loader import load_file
from mcp_workflows.engine.records import Run
from mcp_workflows.errors import CallerError
from mcp_workflows.runtime.resuming import resume_body
from mcp_workflows.runtime.signals import Given, posting
from mcp_workflows.testing import events
from mcp_workflows.testing.answers import Cast, Script, Scripted
from mcp_workflows.testing.filters import Filters
from mcp_workflows.testing.model import Answer, Resume, Signal
from mcp_workflows.testing.outline import Outline
from mcp_workflows.testing.result import TestBroken
from mcp_workflows.testing.services import Services
from mcp_workflows.testing.simulation import RUN_ID, START, Moment, Simulation
from tests.testing.place import HEAD
from tests.testing.test_runs import PEOPLE, POST


@dataclass
class Stood:
    """A run where it stands still, as a test's events and as a server find it."""

    outline: Outline
    moment: Moment
    run: Run


def stood(folder: Path, steps: str, answers: dict[str, dict[str, Any]]) -> Stood:
    file = folder / "flow.yaml"
    file.write_text(HEAD + steps)
    outline = Outline(load_file(file))
    cast = Cast(
        [Script(outline.key(key), [Scripted.of(Answer.model_validate(one))], True) for key, one in answers.items()]
    )
    found: list[Moment] = []

    class Looking:
        """Takes no part, and sees the run as an event would."""

        at = None
        actor = "tester"

        def fits(self, moment: Moment) -> bool:
            found.append(moment)
            return False

        def message(self, moment: Moment) -> Any:
            raise AssertionError

    with Filters() as filters:
        services = Services(outline, cast, filters, START)
        given = {"n": 1, "names": ["a"]}
        simulation = Simulation(outline, given, outline.definition.vars, services, [Looking()])  # pyright: ignore[reportArgumentType]
        simulation.to_the_end()
    moment = [one for one in found if one.record.status in ("paused", "failed") or one.record.waiting_for][-1]
    run = Run(RUN_ID, "flow", 1, 1, moment.input, "tester", START, moment.record)
    return Stood(outline, moment, run)


PAUSED = "on_failure: pause\n" + POST
ONCE = "steps: [{id: pay, at_most_once: true, http: {service: api, method: POST, path: /pay, json: {a: 1}}}]\n"


@pytest.mark.parametrize(
    "correction",
    [
        {},
        {"skip": True},
        {"again": True},
        {"output": {"id": 1}},
        {"output": None},
        {"request": {"json": {"n": 2}}},
        {"request": {"url": "http://evil.example"}},
        {"request": {"form": {"n": 2}}},
        {"input": {"n": 2}},
        {"input": {"n": "x"}},
        {"input": {"m": 2}},
        {"input": {"n": 2}, "output": 1},
    ],
)
@pytest.mark.parametrize(
    ("steps", "answers"),
    [
        (PAUSED, {"one": {"status": 400}}),
        (PAUSED, {"one": {"output": {"id": 1}}, "two": {"status": 400}}),
        (POST, {"one": {"output": {"id": 1}}, "two": {"status": 400}, "one:compensate": {"status": 400}}),
        (POST, {"one": {"output": {"id": 1}}, "two": {"status": 400}, "one:compensate": {"status": 204}}),
        (ONCE, {"pay": {"crash": True}}),
        ("on_failure: pause\n" + ONCE, {"pay": {"status": 400}}),
        ("on_failure: pause\nsteps: [{fail: No.}]\n", {}),
    ],
)
def test_resume(tmp_path: Path, steps: str, answers: dict[str, dict[str, Any]], correction: dict[str, Any]):
    here = stood(tmp_path, steps, answers)
    try:
        expected = resume_body(here.run, here.outline.definition, here.moment.steps, correction)
    except CallerError:
        expected = None
    try:
        _, body = events.resume(Resume.model_validate(correction)).message(here.moment)
    except TestBroken:
        body = None
    assert body == expected


@pytest.mark.parametrize(
    ("by", "data"),
    [
        ("alice", {"decision": "approved", "form": {"limit": 3}}),
        ("alice", {"decision": "approved", "form": {"limit": 3, "currency": "USD"}, "note": "yes"}),
        ("alice", {"decision": "approved", "form": {"limit": "x"}}),
        ("alice", {"decision": "approved"}),
        ("alice", {"decision": "rejected"}),
        ("alice", {"decision": "rejected", "note": "no"}),
        ("eve", {"decision": "rejected"}),
    ],
)
def test_decisions(tmp_path: Path, by: str, data: dict[str, Any]):
    here = stood(tmp_path, PEOPLE.replace("      timeout: 3d\n", ""), {})
    try:
        posted = posting(
            here.run, here.outline.definition, here.moment.steps, Given("approve", data, by, "test", person=True)
        )
        expected = None if posted is None else (posted.kind, posted.body)
    except CallerError:
        expected = None
    given = Signal.model_validate({"step": "approve", "by": by, **data})
    try:
        message = events.decision(given, here.outline.key("approve")).message(here.moment)
    except TestBroken:
        message = None
    assert message == expected


@pytest.mark.parametrize("data", [{"amount": 5}, {"amount": "x"}, {}, None, {"amount": 5, "more": 1}, 5])
def test_signals(tmp_path: Path, data: Any):
    here = stood(tmp_path, PEOPLE.replace("      timeout: 3d\n", ""), {})
    try:
        posted = posting(
            here.run, here.outline.definition, here.moment.steps, Given("paid", data, "x", "test", person=True)
        )
        expected = None if posted is None else (posted.kind, posted.body)
    except CallerError:
        expected = None
    try:
        message = events.signal(Signal(name="paid", data=data)).message(here.moment)
    except TestBroken:
        message = None
    assert message == expected
