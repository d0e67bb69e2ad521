"""How soon others go on: at once after a graceful stop, and after a kill as soon as the death is certain."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from mcp_workflows.store.store import LEASE_SECONDS
from tests.deploys.place import Hitches, Place, place
from tests.soak.cluster import Slot

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

HELD = """
name: held
description: One quick step, one that takes longer than a server that stops gives it, and a last one.
vars: {LEDGER: "http://127.0.0.1:1", NODE: nobody}
services:
  ledger: {base_url: "${vars.LEDGER}", headers: {X-Node: "${vars.NODE}"}, timeout: 100s}
on_failure: fail
mcp: {wait: 0s, join: "off"}
steps:
  - id: first
    http: {service: ledger, method: POST, path: /do/first, json: {}}
  - id: long
    http: {service: ledger, method: POST, path: /hold/long, json: {}}
  - id: last
    http: {service: ledger, method: POST, path: /do/last, json: {}}
"""


async def begun(here: Place, slot: Slot) -> str:
    """A run that ``slot`` moves, with its long step in flight."""
    caller = here.caller(Hitches(), only=[slot])
    run_id = (await caller.call("held", {}))["run_id"]
    await caller.close()
    await here.ledger.called(f"{run_id}:long")
    return run_id


async def taken_up(here: Place, run_id: str, how: signal.Signals) -> float:
    """Seconds from the end of the server that has the run to the next server's call of the step that was in flight."""
    (first,) = [call for call in here.ledger.calls if call.key == f"{run_id}:long"]
    (slot,) = [slot for slot in here.slots if slot.label == first.by]
    slot.kept_up = False
    ended = await slot.stop(how)
    assert ended == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    since = time.time()
    second = await here.ledger.called(f"{run_id}:long", 2)
    assert second.by != first.by
    return second.at - since


async def completed(here: Place, run_id: str) -> None:
    here.ledger.let_go()
    caller = here.caller(Hitches(), only=[slot for slot in here.slots if slot.kept_up])
    told = await caller.call("get_run", {"run_id": run_id, "wait_seconds": 50})
    await caller.close()
    assert told["status"] == "completed"
    assert [len(here.ledger.made(f"{run_id}:{step}")) for step in ("first", "long", "last")] == [1, 2, 1]


async def test_others_go_on_within_a_second_of_a_graceful_stop(tmp_path: Path, audited_url: str) -> None:
    (tmp_path / "held.yaml").write_text(HELD)
    async with place(tmp_path, audited_url, [tmp_path / "held.yaml"] * 3, lease_seconds=300) as here:
        gaps: list[float] = []
        for slot in here.slots[:2]:
            run_id = await begun(here, slot)
            gaps.append(await taken_up(here, run_id, signal.SIGTERM))
            await completed(here, run_id)
        print(f"taken up {gaps} s after the end of a server that was told to stop")  # noqa: T201
        assert min(gaps) < 1.0


async def test_others_go_on_within_the_lease_after_a_kill(tmp_path: Path, audited_url: str) -> None:
    (tmp_path / "held.yaml").write_text(HELD)
    async with place(tmp_path, audited_url, [tmp_path / "held.yaml"] * 3) as here:
        run_id = await begun(here, here.slots[0])
        gap = await taken_up(here, run_id, signal.SIGKILL)
        await completed(here, run_id)
        print(f"taken up {gap:.2f} s after a kill")  # noqa: T201
        # A file's lock tells of a death at the next look, a second later at most; where only silence tells, in good time.
        assert gap < (3.0 if here.base.is_file else LEASE_SECONDS)
