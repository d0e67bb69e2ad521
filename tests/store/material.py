"""Runs, steps and turns for tests of the store: no engine, just records."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mcp_workflows.clock import new_id
from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.engine.records import RunRecord, StepRecord, Turn
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.store import NewRun, Store, TakenOver
from mcp_workflows.store.store import LEASE_SECONDS

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
RUNNING = RunRecord(RunStatus.RUNNING, started_at=NOW)


def definition(name: str = "charge", digest: str = "d1") -> Definition:
    return Definition(name, None, "For tests.", f'{{"digest": "{digest}"}}', digest, {}, None, {}, (), (), None)


def new_run(definition_id: int, **changes: Any) -> NewRun:
    values: dict[str, Any] = {
        "run_id": new_id("r_"),
        "workflow": "charge",
        "version": 1,
        "definition_id": definition_id,
        "input": {"amount": 12},
        "actor": "agent",
        "created_at": NOW,
        "record": RUNNING,
    }
    return NewRun(**(values | changes))


async def begin(store: Store, **changes: Any) -> str:
    """Starts a run and answers with its id."""
    definition_id, version = await store.define(definition())
    return (await store.start(new_run(definition_id, version=version, **changes))).run.run_id


def done(path: str, seq: int, output: Json = None, **changes: Any) -> StepRecord:
    return StepRecord(path, seq, "http", StepStatus.COMPLETED, output, started_at=NOW, finished_at=NOW, **changes)


def waiting(run_id: str, wake_at: datetime | None, *steps: StepRecord) -> Turn:
    """The run is released until ``wake_at``."""
    return Turn(run_id, steps, run=RunRecord(RunStatus.WAITING, wake_at=wake_at, started_at=NOW), release=True)


def finished(run_id: str, *, at: datetime = NOW) -> Turn:
    return Turn(run_id, run=RunRecord(RunStatus.COMPLETED, {"ok": True}, started_at=NOW, finished_at=at), release=True)


async def claimed(store: Store, now: datetime) -> list[str]:
    return [run.run_id for run in await store.claim_runs(now, 100, [])]


_killed: set[str] = set()
"""Nodes that do nothing any more, as far as others can tell."""


def kill(store: Store) -> None:
    """What the kernel does when the process dies: its lock is free. The node's row still says that it lives."""
    store._writer.holdings.lock.close()
    _killed.add(store.node_id)


async def take_over(store: Store) -> list[TakenOver]:
    """What ``store`` takes over; where only silence tells, after a lease of it, of those that were killed."""
    at_once = await store.take_over()
    seen = store._observer._seen
    seen |= {node: (beat, since - 2 * LEASE_SECONDS) for node, (beat, since) in seen.items() if node in _killed}
    return at_once + await store.take_over()


FAR = NOW + timedelta(days=3000)
