"""What nodes do to one another's runs at the same time, in every order in which their statements can reach PostgreSQL.

Each scene is two or three nodes' transactions, made by the real writer out of the real statements. After every play each run
is a living node's or can be claimed, nothing unread lies where nobody looks, and who was ended has changed nothing. Then the
statements are broken one by one, and the plays must find that out: what they would not notice they do not test.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
import pytest
from sqlalchemy import bindparam, select, text, true, update

from mcp_workflows.engine.records import NewChild, Outgoing, ParentRun, RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import NodeLost, UnknownRun
from mcp_workflows.store import calls, postgres, writer
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.prepared import Prepared
from mcp_workflows.store.statements import Statements, no_exclusion
from mcp_workflows.store.tables import node, run
from mcp_workflows.store.wording import claimable
from tests.ownership.stage import every_schedule
from tests.ownership.world import Line, StagedNode, World, turn
from tests.postgres import PostgresServer
from tests.store.material import NOW, done, finished, waiting

MANY = 220
"""Orders of one scene that are played at most, and as many again at random where there are more."""

Parts: TypeAlias = dict[str, Callable[[], None]]


class Outcomes(dict[str, Any]):
    """What became of each verb: its answer, or how it was refused."""

    def of(self, name: str, verb: Callable[[], Any]) -> Any:
        try:
            self[name] = verb()
        except (NodeLost, UnknownRun) as refused:
            self[name] = refused
        return self[name]

    def refused(self, name: str) -> bool:
        return isinstance(self[name], Exception)


@dataclass
class Scene:
    """Who does what, and what must hold after it besides what always holds."""

    parts: Parts
    check: Callable[[], None]


SceneOf: TypeAlias = Callable[[World, Outcomes], Awaitable[Scene]]

_SCENES: dict[str, SceneOf] = {}


def scene(make: SceneOf) -> SceneOf:
    _SCENES[make.__name__.strip("_")] = make
    return make


def _take_over_and_go_on(world: World, said: Outcomes, observer: StagedNode, victim: StagedNode) -> Callable[[], None]:
    """What an observer does: it ends the node that it has seen silent, claims what there is, and goes on with it."""
    dead = world.seen(victim)

    def part() -> None:
        said.of(f"{observer.name} takes over", lambda: observer.take_over(dead))
        for run_id in said.of(f"{observer.name} claims", observer.claim):
            unread = world.unread(run_id)
            observer.record(turn(run_id, done("b", 1, observer.name), consumed=unread))

    return part


def _either_acts_or_is_dead(world: World, said: Outcomes, victim: StagedNode) -> bool:
    """Whether the victim's verb was done. If so it lives, and nobody has taken over from it; else somebody has."""
    acted = not said.refused("victim acts")
    assert acted == (victim.node_id in world.living())
    assert acted == (not said["other takes over"]), (
        "both did: a node that writes was ended, or one that ended has written"
    )
    return acted


@scene
async def _a_record_and_a_takeover(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id = world.begun(victim)
    message = other.deliver(run_id).message_id

    def check() -> None:
        acted = _either_acts_or_is_dead(world, said, victim)
        assert world.steps(run_id) == ([("a", '"by the victim"')] if acted else [("b", '"other"')])
        assert world.consumed(run_id) == 1
        assert world.recoveries(run_id) == (0 if acted else 1)

    parts: Parts = {
        "victim": lambda: said.of("victim acts", lambda: victim.record(turn(run_id, consumed=[message]))),
        "other": _take_over_and_go_on(world, said, other, victim),
    }
    return Scene(parts, check)


@scene
async def _an_end_and_a_takeover(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id = world.begun(victim)

    def check() -> None:
        acted = _either_acts_or_is_dead(world, said, victim)
        assert world.status(run_id) == ("completed" if acted else "running")

    parts: Parts = {
        "victim": lambda: said.of("victim acts", lambda: victim.record(finished(run_id))),
        "other": _take_over_and_go_on(world, said, other, victim),
    }
    return Scene(parts, check)


@scene
async def _a_start_and_a_takeover(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    new = world.new()

    def check() -> None:
        acted = _either_acts_or_is_dead(world, said, victim)
        assert bool(world.ask("SELECT 1 FROM run WHERE run_id = %s", new.run_id)) == acted

    parts: Parts = {
        "victim": lambda: said.of("victim acts", lambda: victim.start(new)),
        "other": _take_over_and_go_on(world, said, other, victim),
    }
    return Scene(parts, check)


@scene
async def _a_claim_and_a_takeover(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id = world.begun(other, own=False)
    dead = world.seen(victim)

    def check() -> None:
        acted = _either_acts_or_is_dead(world, said, victim)
        assert world.owner(run_id) == (victim.node_id if acted else None)

    parts: Parts = {
        "victim": lambda: said.of("victim acts", victim.claim),
        "other": lambda: said.of("other takes over", lambda: other.take_over(dead)),
    }
    return Scene(parts, check)


@scene
async def _two_takeovers(world: World, said: Outcomes) -> Scene:
    victim, other, third = await world.begin()
    run_id = world.begun(victim)

    def check() -> None:
        took = [len(said[f"{name} takes over"]) for name in ("other", "third")]
        claimed = [said[f"{name} claims"] for name in ("other", "third")]
        assert sorted(took) == [0, 1]
        assert sorted(map(len, claimed)) == [0, 1]
        assert world.recoveries(run_id) == 1
        assert len(world.steps(run_id)) == 1

    parts: Parts = {
        "other": _take_over_and_go_on(world, said, other, victim),
        "third": _take_over_and_go_on(world, said, third, victim),
    }
    return Scene(parts, check)


@scene
async def _two_claims(world: World, said: Outcomes) -> Scene:
    _, other, third = await world.begin()
    runs = {world.begun(other, own=False) for _ in range(2)}

    def check() -> None:
        claimed = said["other"] + said["third"]
        assert len(claimed) == len(set(claimed)), "one run was claimed twice"
        assert set(claimed) <= runs

    parts: Parts = {
        "other": lambda: said.of("other", lambda: other.claim(1)),
        "third": lambda: said.of("third", lambda: third.claim(2)),
    }
    return Scene(parts, check)


@scene
async def _a_departure_and_a_takeover(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id = world.begun(victim)
    dead = world.seen(victim)

    def check() -> None:
        left = _either_ends(said)
        assert victim.node_id not in world.living()
        assert world.owner(run_id) is None
        assert world.recoveries(run_id) == (0 if left else 1)
        [(crashed,)] = world.ask("SELECT crashed FROM node WHERE node_id = %s", victim.node_id)
        assert crashed is not left

    parts: Parts = {
        "victim": lambda: said.of("victim leaves", victim.leave),
        "other": lambda: said.of("other takes over", lambda: other.take_over(dead)),
    }
    return Scene(parts, check)


def _either_ends(said: Outcomes) -> bool:
    left = not said.refused("victim leaves")
    assert left == (not said["other takes over"])
    return left


@scene
async def _a_message_and_a_release(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id = world.begun(victim)
    parts: Parts = {
        "victim": lambda: said.of("victim", lambda: victim.record(waiting(run_id, None))),
        "other": lambda: said.of("other", lambda: other.deliver(run_id)),
    }
    return Scene(parts, lambda: None)


@scene
async def _a_message_of_another_run_and_a_release(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id, sender = world.begun(victim), world.begun(other)
    sent = Turn(sender, [done("a", 1)], outgoing=[Outgoing(run_id, "signal", {}, "k")])
    parts: Parts = {
        "victim": lambda: said.of("victim", lambda: victim.record(waiting(run_id, None))),
        "other": lambda: said.of("other", lambda: other.record(sent)),
    }
    return Scene(parts, lambda: None)


@scene
async def _two_runs_that_end_and_tell_one_another(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    one, two = world.begun(victim), world.begun(other)

    def ends(run_id: str, to: str) -> Turn:
        return waiting(run_id, None)._replace(outgoing=[Outgoing(to, "signal", {}, "k")])

    parts: Parts = {
        "victim": lambda: said.of("victim", lambda: victim.record(ends(one, two))),
        "other": lambda: said.of("other", lambda: other.record(ends(two, one))),
    }
    return Scene(parts, lambda: None)


@scene
async def _a_message_and_a_takeover(world: World, said: Outcomes) -> Scene:
    victim, other, third = await world.begin()
    run_id = world.begun(victim)
    dead = world.seen(victim)
    parts: Parts = {
        "other": lambda: said.of("other", lambda: other.take_over(dead)),
        "third": lambda: said.of("third", lambda: third.deliver(run_id)),
    }
    return Scene(parts, lambda: None)


@scene
async def _a_message_and_a_departure(world: World, said: Outcomes) -> Scene:
    victim, _, third = await world.begin()
    run_id = world.begun(victim)
    parts: Parts = {
        "victim": lambda: said.of("victim", victim.leave),
        "third": lambda: said.of("third", lambda: third.deliver(run_id)),
    }
    return Scene(parts, lambda: None)


@scene
async def _a_message_and_a_run_that_is_given_back(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id = world.begun(other, own=False)
    assert victim.claim() == [run_id]
    parts: Parts = {
        "victim": lambda: said.of("victim", lambda: victim.give_back(run_id)),
        "other": lambda: said.of("other", lambda: other.deliver(run_id)),
    }
    return Scene(parts, lambda: None)


@scene
async def _a_child_and_a_takeover(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id = world.begun(victim)
    child = NewChild(f"{run_id}c", "charge", 1, world.definition_id, {}, ParentRun(run_id, "a", 0))

    def check() -> None:
        acted = _either_acts_or_is_dead(world, said, victim)
        assert len(world.ask("SELECT 1 FROM run WHERE parent_run_id = %s", run_id)) == acted

    dead = world.seen(victim)
    parts: Parts = {
        "victim": lambda: said.of("victim acts", lambda: victim.record(turn(run_id)._replace(children=[child]))),
        "other": lambda: said.of("other takes over", lambda: other.take_over(dead)),
    }
    return Scene(parts, check)


@scene
async def _a_deletion_and_a_resume(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id = world.begun(victim)
    victim.record(Turn(run_id, run=RunRecord(RunStatus.FAILED, finished_at=NOW), release=True))

    def check() -> None:
        assert said.refused("resumed") == bool(said["withdrawn"])
        assert bool(world.ask("SELECT 1 FROM run WHERE run_id = %s", run_id)) == (not said["withdrawn"])

    parts: Parts = {
        "victim": lambda: said.of("withdrawn", lambda: victim.withdraw(run_id)),
        "other": lambda: said.of("resumed", lambda: other.deliver(run_id, "resume")),
    }
    return Scene(parts, check)


@scene
async def _two_deletions(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    run_id = world.begun(victim)
    victim.record(turn(run_id))
    victim.record(finished(run_id))

    def deletes(who: StagedNode) -> Callable[[], None]:
        def part() -> None:
            said.of(who.name, lambda: who.withdraw(run_id))
            who.delete_some()

        return part

    def check() -> None:
        assert len(said["victim"] + said["other"]) == 1
        assert world.ask("SELECT 1 FROM step") == world.ask("SELECT 1 FROM run") == []

    return Scene({"victim": deletes(victim), "other": deletes(other)}, check)


@scene
async def _two_starts_with_one_key(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    parts: Parts = {
        who.name: lambda who=who: said.of(who.name, lambda: who.start(world.new(idempotency_key="k")))
        for who in (victim, other)
    }

    def check() -> None:
        assert sorted(started.joined for started in said.values()) == [False, True]
        assert len({started.run_id for started in said.values()}) == 1

    return Scene(parts, check)


@scene
async def _two_starts_of_the_same_work(world: World, said: Outcomes) -> Scene:
    victim, other, _ = await world.begin()
    parts: Parts = {
        who.name: lambda who=who: said.of(who.name, lambda: who.start(world.new(join_key="j")))
        for who in (victim, other)
    }

    def check() -> None:
        assert sorted(started.joined for started in said.values()) == [False, True]

    return Scene(parts, check)


def _lost_commit(how: str) -> SceneOf:
    """The victim's COMMIT is not answered: it was ``done``, it was ``not done``, or it is still ``on its way``."""

    async def make(world: World, said: Outcomes) -> Scene:
        victim, other, _ = await world.begin()
        run_id = world.begun(victim)
        message = other.deliver(run_id).message_id
        dead = world.seen(victim)

        def cut(line: Line) -> None:
            victim.database.before_commit = lambda _line: None
            connection = line.connection
            line.cut = True
            if how == "done":
                connection.execute("COMMIT")
            if how == "on its way":
                world.stage.enter("late", lambda: world.late_commit(connection))
            else:
                connection.close()
            raise psycopg.OperationalError("the answer was lost")

        victim.database.before_commit = cut

        def check() -> None:
            acted = not said.refused("victim acts")
            assert world.steps(run_id) == ([("a", '"by the victim"')] if acted else [])
            assert world.consumed(run_id) == acted
            if not acted:
                assert said["other takes over"], "nobody has ended the victim, and it was told so"
            assert victim.node_id in world.living() or victim.holdings.ended or not victim.try_beat()

        parts: Parts = {
            "victim": lambda: said.of("victim acts", lambda: victim.record(turn(run_id, consumed=[message]))),
            "other": lambda: said.of("other takes over", lambda: other.take_over(dead)),
        }
        return Scene(parts, check)

    return make


for _how in ("done", "not done", "on its way"):
    _SCENES[f"a_commit_without_an_answer_that_is_{_how.replace(' ', '_')}"] = _lost_commit(_how)


# The plays


@pytest.fixture
def server_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(writer, "FIRST_PAUSE", 0.0)
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database(template=server.template)


@pytest.fixture
def runner() -> Generator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def explore(runner: asyncio.Runner, world: World, make: SceneOf, at_most: int = MANY) -> int:
    """Plays the scene in every order. Answers with how many there are; ``AssertionError`` tells in which one it failed."""
    plays = 0
    for choices in every_schedule(at_most):
        said = Outcomes()
        acts = runner.run(_made(make, world, said))
        plays += 1
        try:
            world.stage.play(acts.parts, choices)
            acts.check()
            world.check_nothing_is_lost()
        except Exception as wrong:
            raise AssertionError(f"{wrong!r}, in the order {' '.join(world.stage.went)}: {dict(said)}") from wrong
    return plays


async def _made(make: SceneOf, world: World, said: Outcomes) -> Scene:
    return await make(world, said)


@pytest.mark.parametrize("name", _SCENES)
def test_in_every_order_of_statements_runs_have_one_owner_and_nothing_is_lost(
    runner: asyncio.Runner, server_url: str, name: str
) -> None:
    world = World(server_url)
    try:
        assert explore(runner, world, _SCENES[name]) > 5
    finally:
        world.close()


@pytest.mark.soak
@pytest.mark.parametrize("name", ["two_takeovers", "two_deletions"])
def test_in_tens_of_thousands_of_orders_too(runner: asyncio.Runner, server_url: str, name: str) -> None:
    world = World(server_url)
    try:
        assert explore(runner, world, _SCENES[name], 10_000) > MANY
    finally:
        world.close()


# What the plays must notice


def _unfenced(statements: Statements) -> None:
    mine = node.c.node_id == bindparam("me")
    statements.beat = statements._prepare(
        update(node).where(mine).values(beat=bindparam("new_beat"), beat_at=bindparam("now"))
    )


def _fenced_without_a_lock(statements: Statements) -> None:
    statements.beat = statements._prepare(
        select(node.c.node_id).where(node.c.node_id == bindparam("me"), node.c.ended_at.is_(None))
    )


def _without_the_beat(statements: Statements) -> None:
    still = select(node.c.node_id).where(node.c.node_id == bindparam("node"), node.c.ended_at.is_(None))
    statements.end_silent_node = statements._prepare(
        update(node)
        .where(node.c.node_id.in_(still.with_for_update(key_share=True, skip_locked=True)))
        .values(ended_at=bindparam("now"), crashed=true())
    )


def _beat_looked_at_too_early(statements: Statements) -> None:
    still = select(node.c.node_id).where(
        node.c.node_id == bindparam("node"), node.c.ended_at.is_(None), node.c.beat == bindparam("seen")
    )
    statements.end_silent_node = statements._prepare(
        update(node).where(node.c.node_id.in_(still)).values(ended_at=bindparam("now"), crashed=true())
    )


def _excluding_nobody(statements: Statements) -> None:
    statements.exclude = no_exclusion


def _looking_up_without_waiting(statements: Statements) -> None:
    statements.last_beat = statements._prepare(select(node.c.beat).where(node.c.node_id == bindparam("me")))


def _claiming_without_a_lock(statements: Statements) -> None:
    def claims(_statements: Statements, suspects: bool, cannot: frozenset[int]) -> Prepared:
        due = select(run.c.key).where(claimable(suspects=suspects, cannot=cannot)).order_by(run.c.claim_at, run.c.key)
        found = due.limit(bindparam("at_most")).cte("due")
        claimed = update(run).where(statements.among(run.c.key, select(found.c.key))).values(owner=bindparam("me"))
        return Prepared(claimed.returning(run), statements.dialect)

    setattr(statements, "claims", claims)  # noqa: B010


def _freeing_nothing(statements: Statements) -> None:
    statements.free_crashed = statements._prepare(
        update(run).where(run.c.owner == bindparam("node"), text("false")).values(claim_at=bindparam("now"))
    )


BROKEN: dict[Callable[[Statements], None], str] = {
    _unfenced: "a_record_and_a_takeover",
    _fenced_without_a_lock: "a_claim_and_a_takeover",
    _without_the_beat: "an_end_and_a_takeover",
    _beat_looked_at_too_early: "a_start_and_a_takeover",
    _excluding_nobody: "a_message_and_a_release",
    _looking_up_without_waiting: "a_commit_without_an_answer_that_is_on_its_way",
    _claiming_without_a_lock: "two_claims",
    _freeing_nothing: "two_takeovers",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__.strip("_"))
def test_what_is_broken_is_noticed(
    runner: asyncio.Runner, server_url: str, broken: Callable[[Statements], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = copy.copy(postgres._statements())
    broken(statements)
    if hasattr(statements, "claims"):
        monkeypatch.setattr(calls, "_claims", getattr(statements, "claims"))  # noqa: B009
    world = World(server_url, statements)
    try:
        with pytest.raises(AssertionError, match="in the order"):
            explore(runner, world, _SCENES[BROKEN[broken]])
    finally:
        world.close()


def test_to_write_again_what_may_have_been_written_is_noticed(
    runner: asyncio.Runner, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_looked_up(_writer: writer.Writer, _holdings: Holdings) -> bool:
        return False

    monkeypatch.setattr(writer.Writer, "_took_place", not_looked_up)
    world = World(server_url)
    try:
        with pytest.raises(AssertionError, match="in the order"):
            explore(runner, world, _SCENES["a_commit_without_an_answer_that_is_done"])
    finally:
        world.close()
