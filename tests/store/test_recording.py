"""What is recorded comes back as it was, whole turns or nothing, and a settled step stays as it is."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import get_type_hints

import pytest

from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, NotUndone, RunRecord, StepRecord, Stopping, Turn
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.errors import NodeLost, RecordRefused
from mcp_workflows.store.jobs import Job
from mcp_workflows.store.prepared import Cursor
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin, done, finished, waiting
from tests.store.raw import ask

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(seconds=90)
ERROR = StepError(
    "http_422", "no", True, True, 422, {"e": [1]}, {"method": "POST"}, {"d": None}, 1.5, step="charge", attempts=3
)


async def test_every_field_of_a_step_comes_back(open_store: OpenStore) -> None:
    step = StepRecord(
        path="resize[3].upload", seq=7, kind="http", status=StepStatus.IN_DOUBT, output={"a": [1, 2.5, "ü", None, True]},
        error=ERROR, generation=2, corrected=2, correction={"json": {"a": 1}}, attempts=3, attempts_before=5,
        in_doubt=True, now=NOW, due_at=LATER, started_at=NOW, finished_at=LATER, decision={"arm": "when1"}, undoable=True,
    )  # fmt: skip
    assert {name for name in get_type_hints(StepRecord) if getattr(step, name) in (None, 0, False)} == set()
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, [step, done("b", 8)]))
        assert await store.load_steps(run_id) == [step, done("b", 8)]


async def test_every_field_of_a_run_comes_back(open_store: OpenStore) -> None:
    record = RunRecord(
        status=RunStatus.COMPENSATING, output={"x": 1}, error=ERROR, compensation="incomplete", undone=("b", "a"),
        not_undone=(NotUndone("c", "answered 503"), NotUndone("d", "no answer", in_doubt=True)),
        stopping=Stopping("cancel", ("d", "e"), compensate=False), ends_as="failed",
        corrections={"amount": 2}, timeout_at=LATER, timeout_left=12.25, wake_at=LATER,
        waiting_for=("approve", "batch[3].sign"), seq=12, started_at=NOW, finished_at=LATER,
    )  # fmt: skip
    assert {name for name in get_type_hints(RunRecord) if getattr(record, name) in (None, (), 0)} == set()
    async with open_store() as store:
        run_id = await begin(store, idempotency_key="k", input={"nested": {"deep": [{}]}})
        await store.record(Turn(run_id, run=record))
        run = await store.load_run(run_id)
        assert run is not None
        assert run.record == record
        assert (run.input, run.actor, run.created_at, run.idempotency_key) == (
            {"nested": {"deep": [{}]}},
            "agent",
            NOW,
            "k",
        )
        assert (run.workflow, run.version, run.owner) == ("charge", 1, store.node_id)


async def test_what_was_not_undone_is_read_as_an_earlier_version_wrote_it(open_store: OpenStore, url: str) -> None:
    told = '[["b","it is in doubt whether it took place: 500"],["a","answered 503"]]'
    async with open_store() as store:
        run_id = await begin(store)
        await asyncio.to_thread(ask, url, "UPDATE run SET not_undone = ? WHERE run_id = ?", (told, run_id))
        run = await store.load_run(run_id)
        assert run is not None
        assert [(one.path, one.in_doubt) for one in run.record.not_undone] == [("b", True), ("a", False)]


async def test_failed_attempts_come_back_in_the_order_in_which_they_ended(open_store: OpenStore) -> None:
    attempts = [AttemptRecord("charge", number, ERROR, NOW, NOW + timedelta(seconds=number)) for number in (1, 2, 3)]
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, attempts=attempts[:2]))
        await store.record(Turn(run_id, attempts=attempts[1:]))
        assert await store.load_attempts(run_id) == attempts


async def test_an_unknown_run_is_no_run(open_store: OpenStore) -> None:
    async with open_store() as store:
        assert await store.load_run("r_none") is None
        assert await store.load_steps("r_none") == []


async def test_records_of_many_runs_at_once_are_all_there(open_store: OpenStore) -> None:
    async with open_store() as store:
        runs = await asyncio.gather(*(begin(store) for _ in range(150)))

        async def steps_of(run_id: str) -> None:
            for number in range(5):
                await store.record(Turn(run_id, [done(f"s{number}", number, {"of": run_id})]))

        await asyncio.gather(*map(steps_of, runs))
        for run_id in runs:
            assert await store.load_steps(run_id) == [done(f"s{n}", n, {"of": run_id}) for n in range(5)]


async def test_an_open_step_gives_way_to_its_outcome(open_store: OpenStore) -> None:
    begun = StepRecord("a", 1, "http", StepStatus.RUNNING, started_at=NOW)
    async with open_store() as store:
        run_id = await begin(store)
        for record in (
            begun,
            begun._replace(status=StepStatus.WAITING, due_at=LATER, attempts=1),
            done("a", 1, {"x": 1}),
        ):
            await store.record(Turn(run_id, [record]))
            assert await store.load_steps(run_id) == [record]


async def test_what_a_step_does_not_have_any_more_is_gone(open_store: OpenStore) -> None:
    waits = StepRecord(
        "a",
        1,
        "http",
        StepStatus.WAITING,
        error=ERROR,
        correction={"x": 1},
        now=NOW,
        due_at=LATER,
        decision={"parked": 1},
    )
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, [waits, done("b", 2), waits._replace(path="c")]))
        await store.record(Turn(run_id, [done("a", 3, 1), waits._replace(path="c", decision=None)]))
        assert await store.load_steps(run_id) == [
            waits._replace(path="c", decision=None),
            done("b", 2),
            done("a", 3, 1),
        ]


async def test_a_settled_step_is_not_written_over(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, [done("a", 1, {"first": True})]))
        with pytest.raises(RecordRefused, match="settled"):
            await store.record(Turn(run_id, [done("a", 2, {"second": True})]))
        with pytest.raises(RecordRefused):
            await store.record(Turn(run_id, [StepRecord("a", 3, "http", StepStatus.RUNNING)]))
        assert await store.load_steps(run_id) == [done("a", 1, {"first": True})]


async def test_a_failed_step_is_completed_by_what_handled_it_and_then_stays(open_store: OpenStore) -> None:
    failed = done("a", 1)._replace(status=StepStatus.FAILED, error=ERROR)
    handled = failed._replace(status=StepStatus.COMPLETED, seq=3, output={"instead": True})
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, [failed]))
        with pytest.raises(RecordRefused):
            await store.record(Turn(run_id, [handled._replace(error=None)]))
        await store.record(Turn(run_id, [handled]))
        with pytest.raises(RecordRefused):
            await store.record(Turn(run_id, [failed]))
        assert await store.load_steps(run_id) == [handled]


async def test_a_correction_opens_a_settled_step_anew_and_its_late_record_does_not_close_it(
    open_store: OpenStore,
) -> None:
    failed = done("a", 1)._replace(status=StepStatus.FAILED, error=ERROR)
    anew = StepRecord("a", 2, "http", StepStatus.PENDING, generation=2)
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, [failed]))
        await store.record(Turn(run_id, [anew]))
        with pytest.raises(RecordRefused):
            await store.record(Turn(run_id, [failed]))
        assert await store.load_steps(run_id) == [anew]


async def test_undoing_moves_a_completed_step_on_and_back(open_store: OpenStore) -> None:
    completed = done("a", 1, {"id": 1})
    async with open_store() as store:
        run_id = await begin(store)
        for status in (
            StepStatus.COMPLETED,
            StepStatus.COMPENSATING,
            StepStatus.COMPLETED,
            StepStatus.COMPLETED,
            StepStatus.COMPENSATED,
        ):
            await store.record(Turn(run_id, [completed._replace(status=status)]))
        assert await store.load_steps(run_id) == [completed._replace(status=StepStatus.COMPENSATED)]


async def test_a_turn_is_recorded_whole_or_not_at_all(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, [done("a", 1)]))
        refused = Turn(
            run_id,
            [done("b", 2), done("a", 3, {"other": 1})],
            [AttemptRecord("b", 1, ERROR, NOW, NOW)],
            RunRecord(RunStatus.COMPLETED, finished_at=NOW),
        )
        with pytest.raises(RecordRefused):
            await store.record(refused)
        run = await store.load_run(run_id)
        assert run is not None
        assert run.record.status is RunStatus.RUNNING
        assert await store.load_steps(run_id) == [done("a", 1)]
        assert await store.load_attempts(run_id) == []


async def test_two_turns_of_one_run_in_one_batch_take_effect_in_order(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await asyncio.gather(
            store.record(Turn(run_id, [StepRecord("a", 1, "http", StepStatus.RUNNING)])),
            store.record(Turn(run_id, [done("a", 1)], run=RunRecord(RunStatus.PAUSED))),
            store.record(finished(run_id)),
        )
        run = await store.load_run(run_id)
        assert run is not None
        assert run.record.status is RunStatus.COMPLETED
        assert await store.load_steps(run_id) == [done("a", 1)]


async def test_a_run_that_is_released_and_claimed_in_one_batch_is_ours(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two was asked for first: a turn is written before a claim looks."""
    async with open_store() as store:
        run_id, held, free, asked = await begin(store), asyncio.Event(), threading.Event(), asyncio.Event()
        await begin(store, own=False, record=RunRecord(RunStatus.PENDING))  # else there is nothing to be claimed
        loop, writer = asyncio.get_running_loop(), store._writer

        def hold(_cursor: Cursor, _now: int) -> None:
            loop.call_soon_threadsafe(held.set)
            free.wait(10)

        def put(job: Job, put: Callable[[Job], None] = writer.put) -> None:
            put(job)
            asked.set()

        holding = store._job(hold)
        await held.wait()
        monkeypatch.setattr(writer, "put", put)
        claiming = asyncio.create_task(store.claim_runs(NOW, 9, []))
        await asked.wait()
        released = asyncio.create_task(store.record(waiting(run_id, NOW)))
        asked.clear()
        await asked.wait()
        free.set()
        await asyncio.gather(holding, released)
        assert run_id in [run.run_id for run in await claiming]
        await store.record(Turn(run_id, [done("a", 1)]))


async def test_a_finished_run_does_not_go_back_to_an_earlier_state(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(finished(run_id))
        await store.deliver(run_id, "cancel", {}, actor="a", reason=None, now=NOW)
        assert [run.run_id for run in await store.claim_runs(NOW + timedelta(days=9999), 9, [])] == [run_id]
        with pytest.raises(RecordRefused, match="may not become running"):
            await store.record(Turn(run_id, run=RunRecord(RunStatus.RUNNING)))


async def test_what_a_node_does_not_own_it_cannot_record(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        run_id = await begin(store)
        with pytest.raises(NodeLost):
            await other.record(Turn(run_id, [done("a", 1)]))
        await store.record(waiting(run_id, LATER))
        with pytest.raises(NodeLost):
            await store.record(Turn(run_id, [done("a", 1)]))
        assert await store.load_steps(run_id) == []


async def test_a_turn_behind_the_release_in_the_same_batch_is_not_recorded(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        results = await asyncio.gather(
            store.record(waiting(run_id, LATER)), store.record(Turn(run_id, [done("a", 1)])), return_exceptions=True
        )
        assert results[0] is None
        assert isinstance(results[1], NodeLost)
        assert await store.load_steps(run_id) == []


async def test_a_caller_that_is_cancelled_does_not_take_its_record_back(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        recording = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)])))
        await asyncio.sleep(0)
        recording.cancel()
        await store.record(Turn(run_id, [done("b", 2)]))
        assert [step.path for step in await store.load_steps(run_id)] == ["a", "b"]
