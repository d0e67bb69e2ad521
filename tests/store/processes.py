"""Other processes for the tests: ``python -m tests.store.processes WHAT URL LEASE``. Each says on stdout how far it is."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from mcp_workflows.clock import utc_now
from mcp_workflows.engine.records import RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import NodeLost
from mcp_workflows.store import Store, checkpoints
from tests.store.material import begin, done


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201


async def busy(store: Store) -> None:
    """Begins runs and records steps without end; says each step once it is recorded."""

    async def one() -> None:
        while True:
            run_id = await begin(store)
            for number in range(10):
                await store.record(Turn(run_id, [done(f"s{number}", number, {"of": run_id, "pad": "x" * 500})]))
                say(run_id, number)
            await store.record(Turn(run_id, run=RunRecord(RunStatus.COMPLETED, finished_at=utc_now()), release=True))
            say(run_id, "finished")

    await asyncio.gather(*(one() for _ in range(32)))


async def share(store: Store) -> None:
    """Claims runs and records ten steps of each, until told to stop; says what it has finished."""
    reading = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    say("ready")
    while not reading.done():
        try:
            await store.beat()
            await store.take_over()
            await _move_some(store)
        except NodeLost:  # on a busy machine it may have stood still for longer than the lease
            await store.rejoin()


async def _move_some(store: Store) -> None:
    for run in await store.claim_runs(utc_now(), 5, []):
        seen = len(await store.load_steps(run.run_id))
        for number in range(seen, 10):
            await store.record(Turn(run.run_id, [done(f"s{number}", number)]))
        ended = run.record._replace(status=RunStatus.COMPLETED, finished_at=utc_now())
        await store.record(Turn(run.run_id, run=ended, release=True))
        say(run.run_id)


async def hold_lock(store: Store) -> None:
    """Stands still inside a write transaction, under the lock."""
    run_id = await begin(store)
    standing = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stand(_cursor: object, _now: int) -> None:
        _write_half(store, run_id, _cursor)
        loop.call_soon_threadsafe(standing.set)
        sys.stdin.readline()

    standing_still = asyncio.create_task(store._call(stand))
    await standing.wait()
    say(store.node_id, run_id)
    await standing_still


def _write_half(store: Store, run_id: str, cursor: object) -> None:
    key = store._writer.holdings.runs[run_id]
    cursor.execute("UPDATE run SET status = 'failed' WHERE key = ?", [key])  # type: ignore[attr-defined]


async def own_a_run(store: Store) -> None:
    """Begins a run, and waits to be killed or told to leave."""
    say(store.node_id, await begin(store))
    await asyncio.to_thread(sys.stdin.readline)


async def look(store: Store) -> None:
    """Opens and closes."""
    say(store.node_id)


WHATS: dict[str, Callable[[Store], Awaitable[None]]] = {
    what.__name__: what for what in (busy, share, hold_lock, own_a_run, look)
}


async def main(what: str, url: str, lease_seconds: float) -> None:
    checkpoints.DUE_BYTES = 300_000  # so that kills meet checkpoints too
    async with Store.open(url, clock=utc_now, node_name=what, lease_seconds=lease_seconds) as store:
        await WHATS[what](store)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
