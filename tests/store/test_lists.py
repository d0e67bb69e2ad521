"""Finding runs: newest first, page by page, filtered; and by the beginning of an id."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from mcp_workflows.engine.records import RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import InputRefused, UnknownRun
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin
from tests.store.plans import plan_of

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Query:
    workflow: str | None = None
    status: str = "any"
    idempotency_key: str | None = None
    since: datetime | None = None
    actor: str | None = None
    limit: int = 10
    cursor: str | None = None


async def test_runs_are_listed_newest_first_page_by_page(open_store: OpenStore) -> None:
    async with open_store() as store:
        runs = [await begin(store) for _ in range(7)]
        seen: list[str] = []
        cursor = None
        for expected in (3, 3, 1):
            page = await store.list_runs(Query(limit=3, cursor=cursor))
            assert len(page.runs) == expected
            seen += [run.run_id for run in page.runs]
            cursor = page.next_cursor
        assert cursor is None
        assert seen == runs[::-1]


async def test_a_full_last_page_has_no_next(open_store: OpenStore) -> None:
    async with open_store() as store:
        for _ in range(3):
            await begin(store)
        assert (await store.list_runs(Query(limit=3))).next_cursor is None


async def test_input_is_needed_by_paused_runs_and_by_those_that_wait_for_somebody(open_store: OpenStore) -> None:
    waiting = RunRecord(RunStatus.WAITING, started_at=NOW, wake_at=NOW + timedelta(days=1))
    async with open_store() as store:
        runs = [await begin(store, record=waiting, own=False) for _ in range(3)]
        paused, asking = await begin(store), await begin(store, actor="other")
        await store.record(Turn(paused, run=waiting._replace(status=RunStatus.PAUSED), release=True))
        await store.record(Turn(asking, run=waiting._replace(waiting_for=("approve",)), release=True))
        both = Query(status="needs_input")
        assert [run.run_id for run in (await store.list_runs(both)).runs] == [asking, paused]
        assert [run.run_id for run in (await store.list_runs(replace(both, actor="agent"))).runs] == [paused]
        assert [run.run_id for run in (await store.list_runs(replace(both, workflow="ship"))).runs] == []
        assert "run_needs_input" in await plan_of(store, store.list_runs(both))
        claimed = await store.claim_runs(NOW + timedelta(days=2), 9, [])
        assert {run.run_id for run in claimed} == {*runs, paused, asking}  # each at its instant, whatever it waits for


async def test_runs_are_filtered(open_store: OpenStore) -> None:
    async with open_store() as store:
        one = await begin(store, idempotency_key="k", created_at=NOW)
        two = await begin(store, actor="other", workflow="ship", created_at=NOW + timedelta(hours=1))

        async def found(query: Query) -> list[str]:
            return [run.run_id for run in (await store.list_runs(query)).runs]

        assert await found(Query()) == [two, one]
        assert await found(Query(actor="other")) == [two]
        assert await found(Query(workflow="charge")) == [one]
        assert await found(Query(idempotency_key="k")) == [one]
        assert await found(Query(since=NOW + timedelta(minutes=1))) == [two]
        assert await found(Query(workflow="none")) == []


async def test_statuses_are_asked_for_one_by_one_or_in_groups(open_store: OpenStore) -> None:
    async with open_store() as store:
        runs = {status: await begin(store, record=RunRecord(status)) for status in RunStatus}

        async def found(status: str) -> set[str]:
            return {run.run_id for run in (await store.list_runs(Query(status=status))).runs}

        for status, run_id in runs.items():
            assert await found(status) == {run_id}
        assert await found("any") == set(runs.values())
        assert await found("open") == {run_id for status, run_id in runs.items() if not status.finished}
        assert await found("needs_input") == {runs[RunStatus.PAUSED]}


@pytest.mark.parametrize("query", [Query(status="opne"), Query(cursor="x"), Query(cursor="-1"), Query(cursor="9" * 30)])
async def test_an_unknown_status_or_cursor_is_the_callers_mistake(open_store: OpenStore, query: Query) -> None:
    async with open_store() as store:
        with pytest.raises(InputRefused):
            await store.list_runs(query)


async def test_a_run_is_found_by_the_beginning_of_its_id_among_the_actors_own(open_store: OpenStore) -> None:
    async with open_store() as store:
        mine = await begin(store, run_id="r_7h2k9qv4x0")
        other = await begin(store, run_id="r_7h2k9qv4x1", actor="other")
        await begin(store, run_id="r_9h2k9qv4x1")
        assert await store.find_runs("r_7h2k9qv4", "agent") == [mine]
        assert await store.find_runs("r_7h2k9qv4", None) == [mine, other]
        for prefix in ("r_%", "r_7H2K9", "", "r_7h2k9qv4x0_"):
            assert await store.find_runs(prefix, "agent") == []


@pytest.mark.parametrize("text", ["\0", "half \ud83d"])
async def test_text_that_no_database_can_hold_finds_nothing(open_store: OpenStore, text: str) -> None:
    async with open_store() as store:
        await begin(store)
        assert await store.load_run(text) is None
        assert await store.find_runs(text, None) == []
        for query in (Query(workflow=text), Query(actor=text), Query(idempotency_key=text)):
            assert (await store.list_runs(query)).runs == []
        with pytest.raises(UnknownRun):
            await store.deliver(text, "cancel", {}, actor="a", reason=None, now=NOW)


@pytest.mark.parametrize("last", ["\ud7ff", "\U0010ffff"], ids=["before the surrogates", "last of all"])
async def test_a_prefix_that_no_id_has_finds_nothing(open_store: OpenStore, last: str) -> None:
    async with open_store() as store:
        await begin(store)
        assert await store.find_runs(f"r_{last}", None) == []
