"""An order whose shipment is refused: a lost call, a correction, and what is said of an order that was undone, or was not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.samples.faults import Fault
from tests.mcp_server.conversations.agent import RUN_ID, Agent, Failed, Like
from tests.mcp_server.place import SAGA, TRANSPORTS, edited, place
from tests.mcp_server.workflows import ORDER, PAUSING

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("transport", TRANSPORTS)]

UNDOING = edited(
    SAGA, ("\nsteps:", "\nmcp: {wait: 20s}\nsteps:"), ("max_attempts: 6, delay: 1s", "max_attempts: 6, delay: 5ms")
)
REFUSED: dict[str, Any] = {
    "step": "ship",
    "code": "http_422",
    "in_doubt": False,
    "message": 'POST /shipping/book answered 422: {"error":"status must be 200 or 201"}',
    "attempts": 1,
    "retry_helps": False,
    "request": {"query": {"status": "2OO"}, "json": {"orderId": "o1"}},
}


async def test_a_lost_order_is_joined_and_a_paused_one_goes_on_with_a_correction(
    tmp_path: Path, transport: str
) -> None:
    async with place(tmp_path, {"saga": PAUSING}) as here, here.client(transport) as client:
        agent = Agent(client)
        here.world.faults.add(Fault("shop", "POST", "/shipping/book", "slow", seconds=1.5))

        assert await agent.says("saga_order_fulfillment", **{**ORDER, "amount": "12"}) == Failed(
            'Input refused, no run was started. amount: "12" is a string, expected number.'
        )

        lost = asyncio.create_task(agent.says("saga_order_fulfillment", **ORDER))
        await here.called("/shipping/book")
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)

        joined = await agent.says("saga_order_fulfillment", **ORDER)
        run_id = joined["run_id"]
        assert joined == {
            "run_id": RUN_ID,
            "status": "running",
            "joined": True,
            "progress": {"completed": 2, "running": ["ship"]},
            "next": Like(
                r"This is the run started \d+ s ago with the same input \(for a second one set _idempotency_key\)\. "
                r"Call get_run with wait_seconds 50\."
            ),
        }

        assert await agent.says("get_run", run_id=run_id, wait_seconds=50) == {
            "run_id": run_id,
            "workflow": "saga_order_fulfillment",
            "version": 1,
            "status": "paused",
            "error": REFUSED,
            "next": 'resume_run with request {"query":{…},"json":{…}} or input {…} corrected; '
            "or cancel_run, which undoes charge and reserve.",
        }

        resumed = await agent.says("resume_run", run_id=run_id, input={"shipment_status": "200"}, reason="typo")
        assert resumed == {
            "run_id": run_id,
            "status": "completed",
            "result": {"order_id": "o1", "reservation_id": "r_1", "charge_id": "c_1", "shipment_id": "s_1"},
        }
        assert here.times_called("/inventory/reserve") == 1
        assert here.times_called("/payments/charge") == 1
        first, second = here.keys_of("/shipping/book")
        assert first != second, "what was corrected is asked under another key"

        again = await agent.says("resume_run", run_id=run_id)
        assert again == Failed(f"{run_id} is completed: nothing to resume.")
        assert agent.tokens <= 263


async def test_an_order_that_was_undone_says_so(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"saga": UNDOING}) as here, here.client(transport) as client:
        agent = Agent(client)
        failed = await agent.says("saga_order_fulfillment", **ORDER)
        told = {
            "run_id": RUN_ID,
            "status": "failed",
            "error": REFUSED,
            "compensation": "done",
            "undone": ["charge", "reserve"],
            "next": "Everything was undone. Start again with other input.",
        }
        assert failed == Failed(told)
        run_id = failed.shown["run_id"]
        named = {"workflow": "saga_order_fulfillment", "version": 1}
        assert await agent.says("get_run", run_id=run_id) == {**told, **named}, "no error: the question was answered"
        assert await agent.says("resume_run", run_id=run_id) == Failed(
            f"{run_id} failed and what it had done was undone: nothing to resume. Start again with other input."
        )
        assert agent.tokens <= 261


async def test_an_order_that_could_not_be_undone_names_what_is_left_and_is_undone_later(
    tmp_path: Path, transport: str
) -> None:
    async with place(tmp_path, {"saga": UNDOING}) as here, here.client(transport) as client:
        agent = Agent(client)
        here.world.faults.add(Fault("shop", "POST", "/payments/refund", "answer", times=None, status=503))

        failed = await agent.says("saga_order_fulfillment", **ORDER)
        assert failed == Failed(
            {
                "run_id": RUN_ID,
                "status": "failed",
                "error": REFUSED,
                "compensation": "incomplete",
                "not_undone": [
                    {"step": "charge", "error": "POST /payments/refund answered 503 (6 attempts)"},
                    {"step": "reserve", "error": "not tried: charge must be undone first"},
                ],
                "next": "resume_run tries the undoing again. Until then charge and reserve are still in effect: tell the user.",
            }
        )

        here.world.faults.clear()
        assert await agent.says("resume_run", run_id=failed.shown["run_id"]) == {
            "run_id": failed.shown["run_id"],
            "status": "failed",
            "error": REFUSED,
            "compensation": "done",
            "undone": ["charge", "reserve"],
            "next": "Everything was undone. Start again with other input.",
        }
        assert agent.tokens <= 261
