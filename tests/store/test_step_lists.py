"""Of a run with very many steps only those are read that somebody needs: one list, what can be undone, what is waited for."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import re

import pytest

from mcp_workflows.engine.records import StepRecord, Turn
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.store import Store
from mcp_workflows.store.reads.portions import PORTION
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin, done
from tests.store.plans import plan_of
from tests.store.raw import ask

pytestmark = pytest.mark.anyio

MANY = 100_000


async def paths(store: Store, run_id: str, *lists: str) -> list[str]:
    return [step.path for step in await store.load_steps(run_id, lists)]


async def test_the_steps_of_a_list_are_those_that_stand_in_it_directly(open_store: OpenStore) -> None:
    inside = [
        "checks.credit",
        "checks.credit.score",
        "checks.credit.note",
        "pages[3]",
        "pages[3].get",
        "pages[3].get:on_error.else.tell",
    ]
    async with open_store() as store:
        run_id, another = await begin(store), await begin(store)
        await store.record(Turn(run_id, [done(path, seq) for seq, path in enumerate([*inside, "checks", "pages"])]))
        await store.record(Turn(another, [done("other", 1), done("checks.credit.score", 2)]))
        assert await paths(store, run_id, "") == ["checks", "pages"]
        assert await paths(store, run_id, "checks") == ["checks.credit"]
        assert await paths(store, run_id, "checks.credit") == ["checks.credit.score", "checks.credit.note"]
        assert await paths(store, run_id, "pages") == ["pages[3]"]
        assert await paths(store, run_id, "pages[3]", "", "pages[3]") == ["pages[3].get", "checks", "pages"]
        assert await paths(store, run_id, "pages[3].get:on_error.else") == ["pages[3].get:on_error.else.tell"]
        assert await paths(store, run_id, "pages[4]") == await paths(store, run_id) == []
        assert len(await store.load_steps(run_id)) == len(inside) + 2


async def test_steps_of_more_lists_than_one_query_asks_for_come_in_order_too(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        count = 2 * PORTION + 10
        await store.record(Turn(run_id, [done(f"all[{n}].get", count - n) for n in range(count)]))
        found = await store.load_steps(run_id, [f"all[{n}]" for n in range(count)])
        assert [step.seq for step in found] == list(range(1, count + 1))


async def test_of_many_runs_each_has_the_steps_of_its_own_lists(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_ids = [await begin(store) for _ in range(PORTION + 10)]
        for number, run_id in enumerate(run_ids):
            inside = [done(f"all[{one}].get", 5 - one, number) for one in range(3)]
            await store.record(Turn(run_id, [*inside, done("all", 9, number)]))
        wanted = {run_id: {"", f"all[{number % 3}]"} for number, run_id in enumerate(run_ids)}
        found = await store.load_lists(wanted | {"r_none": {""}, "r_\0": {""}, run_ids[0]: set[str]()})
        assert found.pop("r_none") == found.pop("r_\0") == found.pop(run_ids[0]) == []
        for number, run_id in list(enumerate(run_ids))[1:]:
            one = number % 3
            assert found.pop(run_id) == [done(f"all[{one}].get", 5 - one, number), done("all", 9, number)]
        assert found == {}


async def test_what_can_be_undone_is_known_by_itself(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        charge, ship = done("charge", 2, undoable=True), done("all[3].ship", 1, undoable=True)
        await store.record(Turn(run_id, [charge, ship, done("look", 3)]))
        assert await store.load_undoable(run_id) == [ship, charge]
        await store.record(Turn(run_id, [charge._replace(status=StepStatus.COMPENSATED, undoable=False)]))
        assert await store.load_undoable(run_id) == [ship]
        assert "step_undoable" in await plan_of(store, store.load_undoable(run_id))


async def test_what_is_waited_for_is_signals_and_approvals_alone(open_store: OpenStore) -> None:
    open_signal = StepRecord("paid", 1, "signal", StepStatus.WAITING, started_at=NOW)
    approval = StepRecord("all[1].approve", 2, "approval", StepStatus.WAITING, due_at=NOW, decision={"message": "Go?"})
    others = [
        StepRecord("nap", 3, "wait", StepStatus.WAITING, due_at=NOW),
        StepRecord("poll", 4, "http", StepStatus.WAITING, decision={"parked": None}),
        done("answered", 5)._replace(kind="approval"),
    ]
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, [approval, open_signal, *others]))
        assert await store.load_waiting(run_id) == [open_signal, approval]


async def test_completed_steps_are_counted_without_undoing_and_without_what_only_holds_steps(
    open_store: OpenStore,
) -> None:
    records = [
        done("a", 1),
        done("checks.credit.score", 2),
        done("checks", 3)._replace(kind="parallel"),
        done("checks.credit", 4)._replace(kind="branch"),
        done("all[0]", 5)._replace(kind="item"),
        done("pages[0]", 6)._replace(kind="iteration"),
        done("a:compensate", 7),
        done("a:compensate.refund", 8),
        done("b", 9)._replace(status=StepStatus.FAILED),
        StepRecord("c", 10, "http", StepStatus.RUNNING),
    ]
    async with open_store() as store:
        run_id, another = await begin(store), await begin(store)
        await store.record(Turn(run_id, records))
        await store.record(Turn(another, [done("z", 1)]))
        assert await store.count_completed(run_id) == 3
        assert await store.count_completed("r_none") == 0


async def test_one_of_a_hundred_thousand_iterations_is_read_without_the_others(open_store: OpenStore, url: str) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        _repeat(url, run_id)
        reading = store.load_steps(run_id, ["", f"pages[{MANY - 1}]"])
        plan = await plan_of(store, reading)
        assert re.search(
            r"sqlite_autoindex_step_1 \(run=\? AND parent=\?\)|step_pkey.*\n +Index Cond: .*run.*parent", plan
        )
        assert "SCAN" not in plan
        assert await paths(store, run_id, f"pages[{MANY - 1}]") == [f"pages[{MANY - 1}].get"]
        assert "SCAN" not in await plan_of(store, store.count_completed(run_id))
        assert await store.count_completed(run_id) == MANY


def _repeat(url: str, run_id: str) -> None:
    """``MANY`` iterations of one step, as other nodes would have recorded them."""
    ask(
        url,
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1) "
        "INSERT INTO step (run, parent, path, seq, kind, status, generation, corrected, attempts, attempts_before, "
        "in_doubt, undoable) SELECT key, 'pages[' || i || ']', 'pages[' || i || '].get', i, 'http', 'completed', "
        "1, 0, 0, 0, FALSE, FALSE FROM n, run WHERE run_id = ?",
        (MANY, run_id),
    )


async def test_a_step_that_is_recorded_twice_in_one_commit_is_as_it_was_recorded_last(open_store: OpenStore) -> None:
    begun = StepRecord("a", 1, "switch", StepStatus.RUNNING, decision={"arm": "when1"})
    async with open_store() as store:
        run_id, another = await begin(store), await begin(store)
        await asyncio.gather(
            store.record(Turn(run_id, [begun, done("b", 2), done("a", 3, {"x": 1})])),
            store.record(Turn(another, [begun])),
            store.record(Turn(run_id, [done("a", 3, {"x": 1}, undoable=True)])),
            store.record(Turn(another, [done("a", 2)])),
        )
        assert await store.load_steps(run_id) == [done("b", 2), done("a", 3, {"x": 1}, undoable=True)]
        assert await store.load_steps(another) == [done("a", 2)]
