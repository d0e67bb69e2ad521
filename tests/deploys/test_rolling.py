"""A deploy: one server after the other is stopped and started while clients work. Nobody notices, and nothing is done again."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.deploys.place import BOUND, Hitches, Place, place
from tests.soak import verdict
from tests.soak.callers import Caller, OfficialCaller
from tests.soak.verdict import FINISHED, Books

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

PARCEL = """
name: parcel
description: Six quick steps one after the other, as a busy deployment has them.
input: {required: [n], properties: {n: {type: integer}}}
vars: {LEDGER: "http://127.0.0.1:1", NODE: nobody}
services:
  ledger: {base_url: "${vars.LEDGER}", headers: {X-Node: "${vars.NODE}"}, timeout: 20s}
on_failure: fail
mcp: {wait: 10s, join: "off"}
steps:
""" + "".join(
    f"  - id: s{number}\n    http: {{service: ledger, method: POST, path: /do/s{number}, json: {{n: '${{input.n}}'}}}}\n"
    for number in range(6)
)


async def load(here: Place, caller: Caller, over: asyncio.Event, ended: list[str]) -> None:
    """One run after the other, from its start to its end."""
    try:
        while not over.is_set():
            told = await caller.call("parcel", {"n": len(ended), "_idempotency_key": f"k{len(ended)}-{id(caller)}"})
            while told["status"] not in FINISHED:
                told = await caller.call("get_run", {"run_id": told["run_id"], "wait_seconds": 10})
            assert told["status"] == "completed", told
            ended.append(told["run_id"])
    finally:
        await caller.close()


async def test_three_servers_are_restarted_one_after_the_other_and_nobody_notices(
    tmp_path: Path, audited_url: str
) -> None:
    files = tmp_path / "definitions"
    files.mkdir()
    (files / "parcel.yaml").write_text(PARCEL)
    async with place(tmp_path, audited_url, [files] * 3) as here:
        hitches, over, ended = Hitches(), asyncio.Event(), list[str]()
        callers: list[Caller] = [here.caller(hitches) for _ in range(6)]
        callers += [OfficialCaller(here.slots, random.Random(1), mode) for mode in ("auto", "legacy")]
        loading = [asyncio.create_task(load(here, caller, over, ended)) for caller in callers]
        for slot in here.slots:
            await done(len(ended) + 20, ended, loading)
            assert await slot.stop() == 0
            await slot.serving()
        await done(len(ended) + 20, ended, loading)
        over.set()
        async with asyncio.timeout(BOUND):
            await asyncio.gather(*loading)
        assert hitches.refusals == []
        assert hitches.dropped == []
        calls = Counter(call.key for call in here.ledger.calls)
        assert calls == {f"{run_id}:s{number}": 1 for run_id in ended for number in range(6)}
        labels = {pid: label for slot in here.slots for pid, label in slot.pids.items()}
        books = Books.read(here.base, here.ledger, labels, lease_seconds=15.0)
        assert [
            *verdict.ended_for_good(books),
            *verdict.owned_once(books),
            *verdict.settled_once(books),
            *verdict.effects_agree(books),
        ] == []
        assert {end.what for end in books.ends.values()} == {"left"}


async def done(runs: int, ended: list[str], loading: list[asyncio.Task[None]]) -> None:
    async with asyncio.timeout(BOUND):
        while len(ended) < runs:
            assert not any(task.done() for task in loading), [task.exception() for task in loading if task.done()]
            await asyncio.sleep(0.02)
