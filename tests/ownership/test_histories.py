"""Histories of several nodes on one database, made up at random and held against a small model of ownership.

Each node is a real ``Store``; what it does is one real verb after the other. Time is a number that a rule lets pass, and each
observer sees beats by that clock alone; a node that is frozen simply does nothing while the others go on, and does not know
of it. Looking for the dead and taking over from them are two rules, so that anything may come between them. A COMMIT may
lose its answer. After every rule the database is what the model says.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import case

from mcp_workflows.clock import utc_now
from mcp_workflows.engine.records import Turn
from mcp_workflows.errors import NodeLost
from mcp_workflows.store import Store, nodes, tables, wording, writer
from mcp_workflows.store.nodes import PATIENCE, Dead
from mcp_workflows.store.reads import of_nodes
from mcp_workflows.store.statements import Statements
from tests.store.faults import break_down, times, trouble
from tests.store.material import FAR, NOW, RUNNING, definition, done, finished, new_run, waiting
from tests.store.raw import ask

NODES = st.integers(0, 2)
RUNS = st.integers(0, 3)
LEASE = 15.0


@dataclass
class ModelNode:
    """What is true of one process: of its present incarnation, and of what it believes."""

    node_id: str
    living: bool = True
    knows: bool = True
    """It believes that it lives."""
    beat: int = 0
    """Changes whenever it has committed."""
    seen: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])
    """Whom it watches: their beat, and since when it stands still."""
    looked: float = -1e9
    found: list[Dead] = field(default_factory=list[Dead])
    """Whom it takes for dead, and has not taken over from yet."""


@dataclass
class ModelRun:
    owner: str | None
    recoveries: int = 0
    progress: bool = False
    """Since the last death under it something was recorded."""
    steps: list[str] = field(default_factory=list[str])
    finished: bool = False
    unread: set[int] = field(default_factory=set[int])
    claimable: bool = False


class Histories(RuleBasedStateMachine):
    """``url`` is set by the test, and so is how the statements are broken, if at all."""

    url = ""
    broken: Callable[[Statements], None] | None = None

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._stores: list[Store] = []
        self._nodes: list[ModelNode] = []
        self._runs: dict[str, ModelRun] = {}
        self._numbers = itertools.count()
        self._now = 0.0
        self._do(self._begin())

    def _do(self, verb: Any) -> Any:
        return self._runner.run(verb)

    async def _begin(self) -> None:
        for name in ("one", "two", "three"):
            opened = Store.open(self.url, clock=utc_now, node_name=name, lease_seconds=LEASE)
            store = await self._stack.enter_async_context(opened)
            if self.broken is not None:
                store._database.statements = statements = copy.copy(store._database.statements)
                self.broken(statements)
            self._stores.append(store)
            self._nodes.append(ModelNode(store.node_id))
        for table in ("inbox", "step", "run"):
            ask(self.url, f"DELETE FROM {table}")
        self._definition_id, _ = await self._stores[0].define(definition())
        self._nodes[0].beat += 1

    def teardown(self) -> None:
        self._do(self._stack.aclose())
        self._runner.close()

    def _write(self, which: int, verb: Any) -> Any:
        """What a node's verb gives; ``None``, and nothing has changed, exactly when the node is dead."""
        node = self._nodes[which]
        try:
            answer = self._do(verb)
        except NodeLost:
            assert not node.living, "a node that lives was refused"
            node.knows = False
            return None
        assert node.living, "a dead node has written"
        node.beat += 1
        return answer if answer is not None else ()

    def _held(self, which: int) -> list[str]:
        """Runs that the process believes to own."""
        return sorted(self._stores[which]._writer.holdings.runs)

    def _end(self, node: ModelNode, *, crashed: bool) -> None:
        node.living = False
        for run in self._runs.values():
            if run.owner == node.node_id:
                run.owner, run.claimable = None, True
                if crashed:
                    run.recoveries = 1 if run.progress else run.recoveries + 1
                    run.progress = False

    # What nodes do

    @rule(seconds=st.sampled_from([2.0, 4.0, 4.9, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self._now += seconds

    @rule(which=NODES, own=st.booleans())
    def start(self, which: int, own: bool) -> None:
        if len(self._runs) >= 4:
            return
        new = new_run(self._definition_id, own=own, run_id=f"r_{next(self._numbers)}", record=RUNNING)
        if self._write(which, self._stores[which].start(new)) is not None:
            owner = self._nodes[which].node_id if own else None
            self._runs[new.run_id] = ModelRun(owner, claimable=not own, progress=True)

    @rule(which=NODES)
    def beat(self, which: int) -> None:
        self._stores[which]._writer.renewed -= LEASE  # or a beat so soon after the last would not be written
        self._write(which, self._stores[which].beat())

    @rule(which=NODES)
    def claim(self, which: int) -> None:
        store, node = self._stores[which], self._nodes[which]
        there = {run_id for run_id, run in self._runs.items() if run.owner is None and run.claimable}
        if not there:
            assert self._do(store.claim_runs(FAR, 9, [])) == []
            return
        claimed = self._write(which, store.claim_runs(FAR, 9, []))
        if claimed is None:
            return
        got = {run.run_id for run in claimed}
        suspects = {run_id for run_id in there if self._runs[run_id].recoveries >= 2}
        assert there - suspects <= got <= there
        assert len(got & suspects) <= 1
        for run_id in got:
            self._runs[run_id].owner = node.node_id

    @precondition(lambda self: any(store._writer.holdings.runs for store in self._stores))
    @rule(
        which=NODES,
        number=RUNS,
        how=st.sampled_from(["step", "step", "release", "finish", "give back"]),
        lost=st.booleans(),
    )
    def go_on(self, which: int, number: int, how: str, lost: bool) -> None:
        """A node goes on with a run that it believes to own; whether its COMMIT is answered makes no difference."""
        held = self._held(which)
        if not held:
            return
        store, run_id = self._stores[which], held[number % len(held)]
        run = self._runs[run_id]
        if lost:  # what is not idempotent about a turn is that it consumes
            self.deliver(which, sorted(self._runs).index(run_id))
            if run_id not in self._held(which):
                return  # it was told just then that it is dead, and believes to own nothing any more
        if lost and self._nodes[which].living:
            break_down(store, after=times(1, trouble(store, "SQLITE_IOERR"), at="COMMIT"))
        how = "finish" if run.finished and how == "release" else how
        step = f"s{next(self._numbers)}"
        unread = sorted(run.unread)
        match how:
            case "give back":
                done_so = self._write(which, store.give_back(run_id))
            case "step":
                done_so = self._write(
                    which, store.record(Turn(run_id, [done(step, int(step[1:]) + 1)], consumed=unread))
                )
            case "release":
                done_so = self._write(which, store.record(waiting(run_id, None)))
            case _:
                done_so = self._write(which, store.record(finished(run_id)))
        if done_so is None:
            return
        assert run.owner == self._nodes[which].node_id, "a run was written by who does not own it"
        if how == "step":
            run.steps.append(step)
            run.progress = True
            run.unread.clear()
        else:
            run.owner = None
            # What is given back is as it was found; what is let go is wanted again where something unread lies.
            run.claimable = True if how == "give back" else bool(run.unread)
            run.finished |= how == "finish"
            run.recoveries = 0 if run.finished else run.recoveries

    @precondition(lambda self: bool(self._runs))
    @rule(which=NODES, number=RUNS)
    def deliver(self, which: int, number: int) -> None:
        run_id = sorted(self._runs)[number % len(self._runs)]
        said: dict[str, Any] = {"actor": "a", "reason": None, "now": NOW}
        delivered = self._write(which, self._stores[which].deliver(run_id, "signal", {}, **said))
        if delivered:
            run = self._runs[run_id]
            run.unread.add(delivered.message_id)
            run.claimable |= run.owner is None

    @rule(which=NODES)
    def look(self, which: int) -> None:
        """An observer looks who is silent, on its own clock, and may act upon it much later."""
        store, node = self._stores[which], self._nodes[which]
        living = self._do(store._reads(of_nodes.living_nodes))
        others = [row for row in living if row.node_id != node.node_id]
        found = store._observer.find_dead(others, self._now)
        expected = self._expected_dead(node)
        assert {dead.node_id for dead in found} == expected, (
            "taken for dead before, or not after, a whole lease of silence"
        )
        node.found = found

    @rule(which=NODES, frozen=NODES, other_beats=st.booleans())
    def look_for_long(self, which: int, frozen: int, other_beats: bool) -> None:
        """A whole lease of it, in which one node or two do nothing; what they do next comes after that."""
        for _ in range(5):
            self.time_passes(4.0)
            for other in {0, 1, 2} - {which, frozen}:
                if other_beats:
                    self.beat(other)
            self.look(which)

    def _expected_dead(self, observer: ModelNode) -> set[str]:
        if self._now - observer.looked > LEASE / 3:
            observer.seen.clear()
        observer.looked = self._now
        dead: set[str] = set()
        for node in self._nodes:
            if node is observer or not node.living:
                continue
            beat, since = observer.seen.get(node.node_id, (-1, 0.0))
            if beat != node.beat:
                observer.seen[node.node_id] = (node.beat, self._now)
            elif self._now - since > PATIENCE * LEASE:
                dead.add(node.node_id)
        return dead

    @precondition(lambda self: any(node.found for node in self._nodes))
    @rule(which=NODES)
    def take_over(self, which: int) -> None:
        store, node = self._stores[which], self._nodes[which]
        dead, node.found = node.found, []
        if not dead:
            return
        statements = store._database.statements
        taken = self._write(which, store._call(lambda cursor, now: nodes.take_over(statements, dead, cursor, now)))
        if taken is None:
            return
        seen = {one.node_id: node.seen[one.node_id][0] for one in dead if one.node_id in node.seen}
        ended = [
            other
            for other in self._nodes
            if other.living and other.node_id in seen and other.beat == seen[other.node_id]
        ]
        assert {one.node_id for one in taken} == {other.node_id for other in ended}, (
            "ended one that beats, or did not end"
        )
        for other in ended:
            self._end(other, crashed=True)

    @rule(which=NODES, dying=NODES, number=RUNS, progress=st.booleans())
    def die(self, which: int, dying: int, number: int, progress: bool) -> None:
        """All of it in a row, which chance would seldom bring together: a node has runs, falls silent, and is ended."""
        if which == dying:
            return
        for living in (which, dying):
            self._write(living, self._stores[living].define(definition()))
            self.rejoin(living)
        self.start(dying, own=True)
        self.claim(dying)
        if progress:
            self.go_on(dying, number, "step", lost=False)
        self.look_for_long(which, dying, other_beats=True)
        self.take_over(which)

    @rule(which=NODES)
    def leave(self, which: int) -> None:
        node = self._nodes[which]
        if not node.knows:
            return
        if self._write(which, self._stores[which].leave()) is not None:
            self._end(node, crashed=False)
            node.knows = False

    @rule(which=NODES)
    def rejoin(self, which: int) -> None:
        node, store = self._nodes[which], self._stores[which]
        if node.knows:
            return
        self._do(store.rejoin())
        assert store.node_id != node.node_id
        self._nodes[which] = ModelNode(store.node_id, seen=node.seen, looked=node.looked)

    # What always holds

    @invariant()
    def the_database_is_what_the_model_says(self) -> None:
        rows = ask(self.url, "SELECT run_id, owner, recoveries, claim_at IS NOT NULL FROM run ORDER BY run_id")
        assert [(run_id, owner, owner is not None or bool(due)) for run_id, owner, _, due in rows] == [
            (run_id, run.owner, run.owner is not None or run.claimable) for run_id, run in sorted(self._runs.items())
        ]
        recoveries = {run_id: count for run_id, _, count, _ in rows if not self._runs[run_id].finished}
        counted = {run_id: self._runs[run_id].recoveries for run_id in recoveries}
        assert recoveries == counted, f"deaths were miscounted: {recoveries} instead of {counted}"
        steps = ask(self.url, "SELECT run_id, path FROM step JOIN run ON run.key = step.run ORDER BY step.seq")
        assert steps == sorted(
            ((run_id, step) for run_id, run in self._runs.items() for step in run.steps),
            key=lambda one: int(one[1][1:]),
        )
        unread = ask(self.url, "SELECT inbox.id FROM inbox WHERE consumed_at IS NULL ORDER BY id")
        assert [message for (message,) in unread] == sorted(one for run in self._runs.values() for one in run.unread)

    @invariant()
    def only_living_nodes_are_believed_by_the_database(self) -> None:
        living = {node_id for (node_id,) in ask(self.url, "SELECT node_id FROM node WHERE ended_at IS NULL")}
        assert living == {node.node_id for node in self._nodes if node.living}
        assert {run.owner for run in self._runs.values()} - {None} <= living


@pytest.fixture
def histories(url: str, monkeypatch: pytest.MonkeyPatch) -> type[Histories]:
    monkeypatch.setattr(writer, "FIRST_PAUSE", 0.0)
    return type("Histories", (Histories,), {"url": url})


def _check(histories: type[Histories], *, examples: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    chosen = settings(
        max_examples=examples, stateful_step_count=40, deadline=None, database=None, phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], derandomize=examples < 100,
    )  # fmt: skip
    run_state_machine_as_test(histories, settings=chosen)


def test_whatever_nodes_do_the_database_is_what_the_model_says(histories: type[Histories]) -> None:
    _check(histories, examples=8)


# What the histories must notice


def _deaths_uncounted(statements: Statements) -> None:
    statements.free_crashed = statements._prepare(wording.free())


def _every_death_counted(statements: Statements) -> None:
    """Progress or not."""
    statements.free_crashed = statements._prepare(
        wording.free(recoveries=tables.run.c.recoveries + 1, recovered_seq=wording.LAST_SEQ)
    )


def _progress_remembered_too_long(statements: Statements) -> None:
    """What was recorded before the last death but one counts again."""
    statements.free_crashed = statements._prepare(
        wording.free(
            recoveries=case((tables.run.c.recovered_seq < wording.LAST_SEQ, 1), else_=tables.run.c.recoveries + 1)
        )
    )


@pytest.mark.parametrize("broken", [_deaths_uncounted, _every_death_counted, _progress_remembered_too_long])
def test_deaths_that_are_miscounted_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[Statements], None]
) -> None:
    monkeypatch.setattr(writer, "FIRST_PAUSE", 0.0)
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    histories = type("Histories", (Histories,), {"url": url, "broken": staticmethod(broken)})
    with pytest.raises(AssertionError, match="miscounted"):
        _check(histories, examples=30, phases=[Phase.generate])


@pytest.mark.soak
def test_whatever_nodes_do_for_long_the_database_is_what_the_model_says(histories: type[Histories]) -> None:
    _check(histories, examples=1500)
