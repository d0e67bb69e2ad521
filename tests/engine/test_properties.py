"""What must hold of every run, whatever the definition, the world and the moment of a crash."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.paths import COMPENSATE
from mcp_workflows.engine.places import step_at
from mcp_workflows.engine.states import RUN_MOVES, StepStatus
from tests.engine.simulation import Cut, Simulation, World
from tests.engine.strategies import definitions, worlds

_TOOK_PLACE = (StepStatus.COMPLETED, StepStatus.IN_DOUBT, StepStatus.COMPENSATED, StepStatus.COMPENSATING)
_FAILED = (StepStatus.FAILED, StepStatus.IN_DOUBT)
_HOLDERS = {"switch", "parallel", "for_each", "repeat", "item", "branch"}


def outcome(simulation: Simulation) -> tuple[object, ...]:
    """All that must agree between two ways to the same end. Instants may differ, and so may the order in which lanes that go
    on side by side settle; that what is undone is undone in the reverse of it is a property of its own."""
    record = simulation.record
    steps = {
        path: (step.status, step.output, step.attempts, step.in_doubt, step.error and step.error.code)
        for path, step in simulation.steps.items()
    }
    error = record.error and (record.error.code, record.error.step, record.error.in_doubt)
    return record.status, record.output, error, record.compensation, record.undone, record.not_undone, steps


@given(definitions(), worlds())
def test_every_run_ends_or_asks_for_a_decision(definition: Definition, world: World) -> None:
    simulation = Simulation.of(definition, world)
    simulation.to_the_end()
    assert simulation.at_rest
    assert not simulation.settled or all(step.status.settled for step in simulation.steps.values())


@given(definitions(), worlds(), st.integers(1, 60), st.sampled_from([1, 3, 256]))
def test_a_machine_rebuilt_after_any_record_comes_to_the_same_end(
    definition: Definition, world: World, cut: int, budget: int
) -> None:
    whole = Simulation.of(definition, world, budget)
    whole.to_the_end()
    cut_short = Simulation.of(definition, world, budget)
    cut_short.cut_at = cut
    with contextlib.suppress(Cut):
        cut_short.to_the_end()
    rebuilt = cut_short.fork()
    rebuilt.to_the_end()
    if not _lost_for_good(cut_short) and not _vied_for(whole):
        assert outcome(rebuilt) == outcome(whole)


def _vied_for(simulation: Simulation) -> bool:
    """Of several steps that wait for one signal any may take it; which of them had waited longest is not recorded."""
    return sum(step.kind == "signal" for step in simulation.steps.values()) > 1


def _lost_for_good(cut: Simulation) -> bool:
    """What is in flight is not made again after a crash: it must run at most once, or nothing more is to be started."""
    once = {path for path, step in cut.steps.items() if step.status == "running" and step.kind == "http"}
    ends = [step.decision["stopping"] for step in cut.steps.values() if step.decision and "stopping" in step.decision]
    stopping = cut.record.stopping is not None and cut.record.stopping.in_flight
    return bool(once or stopping or any(end["in_flight"] for end in ends))


@given(definitions(), worlds(), st.data())
def test_events_that_are_repeated_or_late_change_nothing(
    definition: Definition, world: World, data: st.DataObject
) -> None:
    simulation = Simulation.of(definition, world)
    while simulation.step():
        if simulation.ended and data.draw(st.booleans()):
            call, how, started_at = data.draw(st.sampled_from(simulation.ended))
            before = outcome(simulation)
            simulation.machine.attempt_ended(call, how, started_at, simulation.now)
            assert not simulation.machine.pump(simulation.now).attempts
            assert outcome(simulation) == before


@given(definitions(), worlds())
def test_compensation_is_the_reverse_of_completion(definition: Definition, world: World) -> None:
    simulation = Simulation.of(definition, world)
    simulation.to_the_end()
    undone = list(dict.fromkeys(c.path.partition(COMPENSATE)[0] for c in simulation.calls if COMPENSATE in c.path))
    completed = [
        step.path for step in sorted(simulation.steps.values(), key=lambda step: step.seq) if step.path in undone
    ]
    assert undone == completed[::-1]


@given(definitions(), worlds(), st.data())
def test_a_failure_is_called_definite_only_if_nothing_took_place(
    definition: Definition, world: World, data: st.DataObject
) -> None:
    """The process dies at random moments, with requests carried out or not, or leaves; a cancel may come in between."""
    simulation = Simulation.of(definition, world)
    for _ in range(60):
        simulation.pump()
        what = data.draw(st.sampled_from(["go on", "go on", "go on", "crash", "leave", "cancel"]))
        if what == "leave":
            simulation.leave()
        elif what == "crash":
            simulation.crash({call.path: data.draw(st.booleans()) for call, _ in simulation.flying})
        elif what == "cancel":
            simulation.send("cancel", compensate=data.draw(st.booleans()))
        elif not simulation.step():
            break
    simulation.to_the_end()
    for path in simulation.happened:
        step = step_at(definition, path)
        assert step is not None
        if step.has_effect:
            assert path in simulation.steps, path
            record = simulation.steps[path]
            assert record.status in _TOOK_PLACE, path
            assert record.in_doubt or record.error is None, path
    for step in simulation.steps.values():
        if step.status in (StepStatus.FAILED, StepStatus.IN_DOUBT) and step.kind not in _HOLDERS:
            assert step.error is not None
            assert step.error.in_doubt == (step.status is StepStatus.IN_DOUBT)


@given(definitions(), worlds(), st.data())
def test_a_person_can_always_bring_a_paused_run_to_an_end(
    definition: Definition, world: World, data: st.DataObject
) -> None:
    simulation = Simulation.of(definition, world)
    for _ in range(40):
        simulation.to_the_end()
        if simulation.record.status != "paused":
            break
        if data.draw(st.booleans()):
            simulation.rebuild()
        choice = data.draw(st.sampled_from(["output", "skip", "again", "cancel", "request"]))
        match choice:
            case "cancel":
                simulation.send("cancel", compensate=True)
            case "output":
                simulation.send("resume", output={"by": "hand"})
            case "request":
                simulation.send("resume", request={"json": {"a": 1}})
            case _:
                simulation.send("resume", **{choice: True})
        simulation.pump()
    assert simulation.at_rest
    waits = {simulation.steps[path].kind for path in simulation.machine.under_way}
    assert waits <= {"http", "signal", "approval"}, "every child has ended"


@given(definitions(), worlds(), st.data())
def test_a_run_makes_legal_moves_only_and_a_settled_step_is_settled_once(
    definition: Definition, world: World, data: st.DataObject
) -> None:
    simulation = Simulation.of(definition, world)
    status = simulation.record.status
    settled: dict[str, StepStatus] = {}
    while simulation.step(data.draw(st.integers(0, 3))):
        after = simulation.record.status
        assert after is status or after in RUN_MOVES[status] or after.finished or after == "paused"
        status = after
        for path, step in simulation.steps.items():
            if path in settled and settled[path] is not step.status:
                handled = settled[path] in _FAILED and step.status is StepStatus.COMPLETED and step.error is not None
                assert handled or step.status in (StepStatus.COMPENSATING, StepStatus.COMPENSATED), path
            if step.status.settled and step.status not in (StepStatus.COMPENSATING, StepStatus.COMPENSATED):
                settled[path] = step.status
    assert len({call.idempotency_key for call in simulation.calls}) == len({call.path for call in simulation.calls})
