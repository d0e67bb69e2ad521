"""Nodes: who may write, who is dead, and what happens to the runs of the dead."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.engine.records import MessageKind, RunRecord, StepRecord, Stopping, Turn
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.errors import NodeLost
from mcp_workflows.store import Store, listener
from mcp_workflows.store.locks import Lock
from mcp_workflows.store.nodes import Observer
from tests.store.conftest import OpenStore
from tests.store.material import FAR, NOW, begin, claimed, done, finished, kill, take_over, waiting

pytestmark = pytest.mark.anyio


async def test_a_dead_nodes_runs_go_to_whoever_comes(open_store: OpenStore) -> None:
    async with open_store(node_name="dead") as dead, open_store() as store:
        run_id = await begin(dead)
        assert await take_over(store) == []
        kill(dead)
        [taken] = await take_over(store)
        assert (taken.node_id, taken.name, taken.runs) == (dead.node_id, "dead", 1)
        [run] = await store.claim_runs(FAR, 9, [])
        assert (run.run_id, run.interrupted, run.recoveries, run.owner) == (run_id, True, 1, store.node_id)
        assert await take_over(store) == []


async def test_a_node_declared_dead_can_write_nothing_more(open_store: OpenStore) -> None:
    async with open_store() as dead, open_store() as store:
        run_id = await begin(dead)
        waits = await begin(dead)
        await dead.record(waiting(waits, NOW))
        kill(dead)
        await take_over(store)
        with pytest.raises(NodeLost):
            await dead.record(Turn(run_id, [done("a", 1)]))
        with pytest.raises(NodeLost):
            await dead.record(finished(run_id))
        with pytest.raises(NodeLost):
            await begin(dead)
        with pytest.raises(NodeLost):
            await dead.claim_runs(FAR, 9, [])
        with pytest.raises(NodeLost):
            await dead.beat()
        assert await store.load_steps(run_id) == []
        run = await store.load_run(run_id)
        assert run is not None
        assert run.owner is None


async def test_everything_in_flight_fails_when_a_node_learns_that_it_is_dead(open_store: OpenStore) -> None:
    async with open_store() as dead, open_store() as store:
        runs = [await begin(dead) for _ in range(20)]
        kill(dead)
        await take_over(store)
        results = await asyncio.gather(
            *(dead.record(Turn(run_id, [done("a", 1)])) for run_id in runs), return_exceptions=True
        )
        assert all(isinstance(result, NodeLost) for result in results)


async def test_a_lost_node_starts_as_a_new_incarnation_that_owns_nothing(open_store: OpenStore) -> None:
    async with open_store() as dead, open_store() as store:
        before, run_id = dead.node_id, await begin(dead)
        kill(dead)
        await take_over(store)
        with pytest.raises(NodeLost):
            await dead.record(Turn(run_id, [done("a", 1)]))
        await dead.rejoin()
        assert dead.node_id != before
        with pytest.raises(NodeLost):
            await dead.record(Turn(run_id, [done("a", 1)]))
        assert await claimed(dead, FAR) == [run_id]
        await dead.record(Turn(run_id, [done("a", 1)]))
        assert await take_over(store) == []


async def test_a_turn_of_the_old_incarnation_is_not_recorded_by_the_new_one(open_store: OpenStore) -> None:
    async with open_store() as dead, open_store() as store:
        run_id = await begin(dead)
        old = dead._writer.holdings
        kill(dead)
        await take_over(store)
        await dead.rejoin()
        assert await claimed(dead, FAR) == [run_id]
        claimed_again, dead._writer.holdings = dead._writer.holdings, old
        old.runs[run_id] = claimed_again.runs[run_id]
        late = asyncio.create_task(dead.record(Turn(run_id, [done("late", 1)])))
        await asyncio.sleep(0)
        dead._writer.holdings = claimed_again
        with pytest.raises(NodeLost):
            await late
        assert await store.load_steps(run_id) == []


class Held:
    """A lock that somebody else holds until ``free`` is set; ``asked`` is, once a batch has begun to wait for it."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self.asked, self.free = threading.Event(), threading.Event()

    def __enter__(self) -> None:
        self.asked.set()
        assert self.free.wait(10)
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def close(self) -> None:
        self._lock.close()


async def test_a_record_of_the_new_incarnation_is_not_lost_with_those_of_the_old_one(open_store: OpenStore) -> None:
    async with open_store() as dead, open_store() as store, asyncio.timeout(10):
        run_id = await begin(dead)
        old = dead._writer.holdings
        kill(dead)
        await take_over(store)
        await dead.rejoin()
        anew = await begin(dead)
        new, dead._writer.holdings = dead._writer.holdings, old
        old.runs[run_id] = 1
        held: Any = Held(dead._writer._lock)
        dead._writer._lock = held
        late = asyncio.create_task(dead.record(Turn(run_id, [done("late", 1)])))
        await asyncio.to_thread(held.asked.wait, 10)
        dead._writer.holdings = new
        timely = [asyncio.create_task(dead.record(Turn(anew, [done(name, 1)]))) for name in ("a", "b")]
        await asyncio.sleep(0)
        held.free.set()
        await asyncio.gather(*timely)
        with pytest.raises(NodeLost):
            await late
        assert [step.path for step in await store.load_steps(anew)] == ["a", "b"]


async def test_a_node_that_leaves_hands_its_runs_over_and_nothing_counts_as_a_crash(open_store: OpenStore) -> None:
    async with open_store() as store:
        async with open_store() as leaving:
            run_id = await begin(leaving)
            await leaving.leave()
            with pytest.raises(NodeLost):
                await leaving.record(Turn(run_id, [done("a", 1)]))
            await leaving.leave()
        assert await take_over(store) == []
        [run] = await store.claim_runs(FAR, 9, [])
        assert (run.interrupted, run.recoveries) == (True, 0)


async def test_closing_leaves(open_store: OpenStore) -> None:
    async with open_store() as store:
        async with open_store() as other:
            run_id = await begin(other)
        assert await claimed(store, FAR) == [run_id]


async def test_a_release_says_that_nothing_is_in_flight(open_store: OpenStore) -> None:
    async with open_store() as dead, open_store() as store:
        run_id = await begin(dead)
        kill(dead)
        await take_over(store)
        assert await claimed(store, FAR) == [run_id]
        await store.record(waiting(run_id, NOW))
        [run] = await store.claim_runs(FAR, 9, [])
        assert not run.interrupted


async def _die(open_store: OpenStore, observer: Store, *progress: StepRecord) -> list[int]:
    """A node claims what it can, records ``progress`` and dies. Answers with the recoveries it saw."""
    async with open_store() as victim:
        runs = await victim.claim_runs(FAR, 9, [])
        for run in runs:
            for step in progress:
                await victim.record(Turn(run.run_id, [step]))
        kill(victim)
        await take_over(observer)
        return [run.recoveries for run in runs]


async def test_deaths_without_progress_are_counted_and_progress_begins_anew(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store, own=False)
        seen = [await _die(open_store, store) for _ in range(3)]
        seen.append(await _die(open_store, store, done("a", 1)))
        seen.append(await _die(open_store, store))
        assert seen == [[0], [1], [2], [3], [1]]
        run = await store.load_run(run_id)
        assert run is not None
        assert run.recoveries == 2


async def test_an_open_step_is_no_progress_once_it_was_counted(open_store: OpenStore) -> None:
    begun = StepRecord("a", 1, "http", StepStatus.RUNNING)
    async with open_store() as store:
        await begin(store, own=False)
        assert [await _die(open_store, store, begun) for _ in range(3)] == [[0], [1], [2]]


async def test_suspects_are_tried_one_at_a_time_and_the_next_once_one_has_recorded_something(
    open_store: OpenStore,
) -> None:
    async with open_store() as store:
        runs = {await begin(store, own=False) for _ in range(3)}
        for _ in range(2):
            await _die(open_store, store)
        innocent = await begin(store, own=False)
        first = await claimed(store, FAR)
        assert len(first) == 2
        assert innocent in first
        assert await claimed(store, FAR) == []
        [suspect] = set(first) - {innocent}
        before = store.change
        await store.record(Turn(suspect, [done("a", 1)]))
        async with asyncio.timeout(10):
            await store.wait_for_change(before)
        [second] = await claimed(store, FAR)
        assert {suspect, second} < runs
        await store.record(waiting(second, None))
        assert len(await claimed(store, FAR)) == 1


async def test_of_suspects_none_is_there_at_all_deaths(open_store: OpenStore) -> None:
    async with open_store() as store:
        for _ in range(3):
            await begin(store, own=False)
        seen = [await _die(open_store, store) for _ in range(6)]
        assert seen[2:] == [[2], [2], [2], [3]]


async def test_a_person_who_resumes_a_suspect_has_it_tried_afresh(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store, own=False)
        for _ in range(3):
            await _die(open_store, store)
        assert await claimed(store, FAR) == [run_id]
        await store.record(Turn(run_id, run=RunRecord(RunStatus.PAUSED), release=True))
        await store.deliver(run_id, "resume", {}, actor="a", reason=None, now=NOW)
        [run] = await store.claim_runs(FAR, 9, [])
        assert run.recoveries == 0


async def test_runs_are_claimed_when_they_are_due_in_that_order(open_store: OpenStore) -> None:
    async with open_store() as store:
        due = {}
        for minutes in (30, 10, 20):
            run_id = await begin(store)
            await store.record(waiting(run_id, NOW + timedelta(minutes=minutes)))
            due[minutes] = run_id
        assert await claimed(store, NOW + timedelta(minutes=9)) == []
        assert await claimed(store, NOW + timedelta(minutes=20)) == [due[10], due[20]]
        assert await claimed(store, NOW + timedelta(minutes=30)) == [due[30]]


async def test_no_more_are_claimed_than_asked_for_and_none_of_what_this_node_cannot_move(open_store: OpenStore) -> None:
    async with open_store() as store:
        runs = [await begin(store, own=False) for _ in range(5)]
        one = await store.load_run(runs[0])
        assert one is not None
        assert await store.claim_runs(FAR, 9, [one.definition_id]) == []
        assert await store.claim_runs(FAR, 0, []) == []
        assert [run.run_id for run in await store.claim_runs(FAR, 2, [one.definition_id + 1])] == runs[:2]


async def test_of_what_is_claimable_only_what_is_named_is_claimed(
    open_store: OpenStore,
) -> None:
    async with open_store() as store:
        runs = [await begin(store, own=False) for _ in range(5)]
        one = await store.load_run(runs[0])
        assert one is not None
        assert await store.claimable_runs(FAR, 9, [one.definition_id]) == []
        found = await store.claimable_runs(FAR, 4, [])
        assert [(run.workflow, run.version) for run in found] == [(one.workflow, one.version)] * 4
        keys = [run.key for run in found]
        assert await store.claim_runs(FAR, 9, [], only=[]) == []
        assert [run.run_id for run in await store.claim_runs(FAR, 9, [], only=keys[1:3])] == runs[1:3]
        assert [run.run_id for run in await store.claim_runs(FAR, 9, [], only=keys)] == [runs[0], runs[3]]
        assert [run.key for run in await store.claimable_runs(FAR, 9, [])] == [keys[-1] + 1]


async def test_what_is_to_end_is_found_among_what_is_claimable(open_store: OpenStore) -> None:
    async with open_store() as store:
        told, waits, stops, owned = [await begin(store, own=own) for own in (False, False, True, True)]
        one = await store.load_run(told)
        assert one is not None
        of = [one.definition_id]
        stopping = RunRecord(RunStatus.WAITING, stopping=Stopping("cancel"), wake_at=NOW)
        await store.record(Turn(stops, run=stopping, release=True))
        sent: list[tuple[str, MessageKind]] = [(told, "cancel"), (owned, "cancel"), (waits, "resume")]
        for run_id, kind in sent:
            await store.deliver(run_id, kind, {}, actor="me", reason=None, now=NOW)
        ending = await store.ending_runs(FAR, 9, of)
        assert all(run.begun for run in ending)
        assert {run.definition_id for run in ending} == set(of)
        found = await store.claim_runs(FAR, 9, [], only=[run.key for run in ending])
        assert {run.run_id for run in found} == {told, stops}
        assert await store.ending_runs(FAR, 9, of) == []
        assert await store.ending_runs(FAR, 9, [one.definition_id + 1]) == []


async def test_two_nodes_that_claim_at_once_share_what_is_due(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        runs = {await begin(store, own=False) for _ in range(40)}
        took = await asyncio.gather(*(one.claim_runs(FAR, 3, []) for one in (store, other) * 10))
        ids = [run.run_id for batch in took for run in batch]
        assert len(ids) == 40
        assert set(ids) == runs


async def test_a_run_given_back_is_as_it_was_found(open_store: OpenStore) -> None:
    async with open_store() as dead, open_store() as store, open_store() as other:
        run_id = await begin(dead)
        kill(dead)
        await take_over(store)
        [found] = await store.claim_runs(FAR, 9, [])
        await store.give_back(run_id)
        await store.give_back(run_id)
        with pytest.raises(NodeLost):
            await store.record(Turn(run_id, [done("a", 1)]))
        [again] = await other.claim_runs(FAR, 9, [])
        assert (again.interrupted, again.recoveries, again.record) == (True, found.recoveries, found.record)


async def test_a_beat_is_written_only_when_no_commit_renewed_the_lease(open_store: OpenStore) -> None:
    async with open_store(lease_seconds=0.5) as store:
        await begin(store)
        [before] = await store.nodes()
        await store.beat()
        assert await store.nodes() == [before]
        await asyncio.sleep(0.11)  # it is the passing of time that is tested
        await store.beat()
        [after] = await store.nodes()
        assert after.beat_at > before.beat_at


class _Silence:
    """An observer of one node whose lock is held, on a clock that stands where it is put."""

    def __init__(self, store: Store, lease_seconds: float) -> None:
        self._observer = Observer(store._database, lease_seconds)
        self._node_id = store.node_id

    def dead(self, beat: int, now: float) -> bool:
        return bool(self._observer.find_dead([(self._node_id, "name", beat)], now))


async def test_a_node_that_hangs_is_dead_in_time_for_others_to_go_on_within_the_lease(open_store: OpenStore) -> None:
    async with open_store() as hanging:
        silence = _Silence(hanging, 15.0)
        assert not any(silence.dead(5, float(second)) for second in range(13))
        assert silence.dead(5, 12.5)


async def test_a_node_that_beats_is_not_dead(open_store: OpenStore) -> None:
    async with open_store() as living:
        silence = _Silence(living, 15.0)
        assert not any(silence.dead(second // 12, float(second)) for second in range(100))


async def test_an_observer_that_was_held_up_itself_has_seen_nothing(open_store: OpenStore) -> None:
    async with open_store() as hanging:
        silence = _Silence(hanging, 15.0)
        assert not silence.dead(5, 0.0)
        assert not silence.dead(5, 3600.0)
        assert not silence.dead(5, 3604.0)


async def test_a_living_node_whose_lock_file_was_removed_is_not_taken_for_dead(
    open_store: OpenStore, tmp_path: Path
) -> None:
    async with open_store() as living, open_store() as store:
        (tmp_path / "runs.db.nodes" / living.node_id).unlink()
        assert await take_over(store) == []
        await begin(living)


async def test_nodes_that_ended_leave_no_lock_files(open_store: OpenStore, tmp_path: Path) -> None:
    folder = tmp_path / "runs.db.nodes"
    async with open_store() as store:
        async with open_store() as dead:
            kill(dead)
            await take_over(store)
        async with open_store():
            pass
        (folder / "n_orphan").touch()
        async with open_store() as third:
            assert {path.name for path in folder.iterdir()} == {store.node_id, third.node_id}


async def test_a_node_that_leaves_tells_the_others_that_its_runs_can_be_claimed(open_store: OpenStore) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listener, "LOOK_SECONDS", 3600.0)  # nobody looks by chance
        async with open_store() as store, open_store() as leaving:
            run_id = await begin(leaving)
            seen = await store.wait_for_change(0)  # its listener is there
            await leaving.leave()
            async with asyncio.timeout(20):
                await store.wait_for_change(seen)
            assert await claimed(store, utc_now()) == [run_id]


async def test_nodes_say_who_they_are_and_what_they_own(open_store: OpenStore) -> None:
    async with open_store(node_name="one") as one, open_store(node_name="two") as two:
        await begin(one)
        listed = {node.node_id: node for node in await two.nodes()}
        assert (listed[one.node_id].name, listed[one.node_id].runs, listed[one.node_id].ended_at) == ("one", 1, None)
        assert (listed[two.node_id].name, listed[two.node_id].runs) == ("two", 0)
        await one.leave()
        ended = next(node for node in await two.nodes() if node.node_id == one.node_id)
        assert ended.ended_at is not None
        assert not ended.crashed


async def test_runs_whose_instant_has_come_are_not_kept_waiting_by_many_that_wait_for_none(
    open_store: OpenStore,
) -> None:
    async with open_store() as store:
        due = [await begin(store) for _ in range(3)]
        for run_id in due:
            await store.record(waiting(run_id, NOW))
        for _ in range(20):
            await begin(store, own=False)
        got = {run.run_id for run in await store.claim_runs(NOW, 6, [])}
        assert len(got) == 6
        assert got >= set(due)


async def test_what_need_not_wait_can_be_claimed_by_a_node_whose_clock_is_behind(open_store: OpenStore) -> None:
    async with open_store() as store:
        async with open_store() as leaving:
            left = await begin(leaving)
        started = await begin(store, own=False)
        told = await begin(store)
        await store.record(waiting(told, None))
        await store.deliver(told, "cancel", {}, actor="a", reason=None, now=NOW)
        assert set(await claimed(store, NOW - timedelta(days=365))) == {left, started, told}
