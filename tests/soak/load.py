"""Runs that are started, followed, answered and cancelled, by clients and people who never give up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.soak.callers import Caller, OfficialCaller, PlainCaller, Refused, Told
from tests.soak.cluster import Slot
from tests.soak.ledger import Ledger
from tests.soak.verdict import EXPECTED, FINISHED


@dataclass
class Load:
    """``clients`` at a time, each with one run from its start to its end. ``runs``: no more than so many are started."""

    ledger: Ledger
    slots: Sequence[Slot]
    dice: random.Random
    clients: int
    runs: int
    started: dict[str, str] = field(default_factory=dict[str, str])
    """The ids of runs by their idempotency keys, as they were answered."""
    complaints: list[str] = field(default_factory=list[str])
    """Of runs that paused for what nobody is to be asked about."""
    ended: int = 0
    over: bool = False
    """No more runs are started."""
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)
    _number: int = 0

    async def go(self) -> None:
        """Until no more is to be started and all that was started has ended."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.clients):
                tasks.create_task(self._client(self._caller(number)))

    def _caller(self, number: int) -> Caller:
        match number % 4:
            case 0:
                return OfficialCaller(self.slots, self.dice, "auto")
            case 1:
                return OfficialCaller(self.slots, self.dice, "legacy")
            case _:
                return PlainCaller(self.slots, self.dice)

    async def _client(self, caller: Caller) -> None:
        kinds = list(EXPECTED)
        try:
            while not self.over and self._number < self.runs:
                number, self._number = self._number, self._number + 1
                workflow, fate = kinds[number % len(kinds)]
                await self._one(caller, workflow, fate, number)
                self.ended += 1
                async with self.progress:
                    self.progress.notify_all()
        finally:
            await caller.close()

    async def _one(self, caller: Caller, workflow: str, fate: str, number: int) -> None:
        key = f"soak-{number}"
        told = await caller.call(workflow, {"n": number, "fate": fate, "_idempotency_key": key})
        run_id = self.started[key] = told["run_id"]
        if fate == "cancelled":
            await asyncio.sleep(self.dice.uniform(0.0, 1.0))
            await self._insist(caller, "cancel_run", {"run_id": run_id})
        while told["status"] not in FINISHED:
            await self._answer(caller, told, fate, number)
            told = await caller.call("get_run", {"run_id": run_id, "wait_seconds": 5})

    async def _answer(self, caller: Caller, told: Told, fate: str, number: int) -> None:
        """As a person would who is asked."""
        for wait in told.get("waiting_for", ()):
            match wait["name"]:
                case "agreed":
                    answer = {"decision": fate, "form": {"reason": f"number {number}"}}
                case "word":
                    answer = {"code": number}
                case _:
                    continue
            await self._insist(caller, "signal_run", {"run_id": told["run_id"], "name": wait["name"], "data": answer})
        if told["status"] == "paused":
            await self._decide(caller, told)

    async def _decide(self, caller: Caller, told: Told) -> None:
        correction = self._correction(told)
        if correction is None:
            self.complaints.append(f"{told['workflow']} {told['run_id']} paused: {told['error']}")
            await self._insist(caller, "cancel_run", {"run_id": told["run_id"]})
        else:
            await self._insist(caller, "resume_run", {"run_id": told["run_id"], **correction})

    def _correction(self, told: Told) -> Told | None:
        error = told["error"]
        if error["code"] == "recoveries":
            return {"reason": "the servers were killed, and not by this run"}
        if error.get("step") == "corrected" and error["code"] == "http_422":
            return {"request": {"json": {"refuse": False}}}
        if error.get("step") != "paid":
            return None
        effect = self.ledger.effects.get(f"{told['run_id']}:paid")
        if effect is not None:
            return {"output": {"effect": effect.number}, "reason": "the books show it"}
        return {"again": True, "reason": "the books do not show it"} if error["in_doubt"] else {}

    async def _insist(self, caller: Caller, tool: str, arguments: Told) -> None:
        """A refusal says that it was taken before: an answer that got lost does not undo what it answers."""
        try:
            await caller.call(tool, arguments)
        except Refused:
            return
