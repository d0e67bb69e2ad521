"""Deadlines end blocks as ``asyncio.timeout`` does, whoever else sets one meanwhile."""

from __future__ import annotations

import asyncio
import time

import pytest

from mcp_workflows.steps.deadline import Deadline, Deadlines

pytestmark = pytest.mark.anyio


async def lasts(deadlines: Deadlines, seconds: float | None) -> float:
    """How long a block went on that never ends by itself."""
    began = time.monotonic()
    with pytest.raises(TimeoutError), Deadline(deadlines, seconds) as deadline:
        await asyncio.Event().wait()
    assert deadline.expired
    return time.monotonic() - began


async def test_each_block_ends_in_its_time_in_whatever_order_they_were_begun() -> None:
    deadlines = Deadlines()
    longest = asyncio.create_task(lasts(deadlines, 30.0))
    wanted = [0.2, 0.05, 0.1, 0.05]
    lasted = await asyncio.gather(*(lasts(deadlines, seconds) for seconds in wanted))
    assert all(found >= seconds - 0.002 for found, seconds in zip(lasted, wanted, strict=True))
    assert len(deadlines.pending) == 1
    longest.cancel()
    await asyncio.wait([longest])


async def test_a_block_that_is_done_in_time_is_not_troubled() -> None:
    deadlines = Deadlines()
    with Deadline(deadlines, 0.02) as deadline:
        await asyncio.sleep(0)
    await lasts(deadlines, 0.05)
    assert not deadline.expired
    assert not deadlines.pending


async def test_who_waits_without_a_deadline_is_not_ended_by_anothers() -> None:
    deadlines = Deadlines()
    with Deadline(deadlines, None):
        await lasts(deadlines, 0.02)


@pytest.mark.parametrize("error", [KeyError("x"), TimeoutError("inner")])
async def test_what_a_block_raises_by_itself_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, Deadline(Deadlines(), 5.0) as deadline:
        raise error
    assert raised.value is error
    assert not deadline.expired


async def test_time_that_is_renewed_or_suspended_is_not_over() -> None:
    deadlines = Deadlines()
    with Deadline(deadlines, 0.05) as deadline:
        deadline.suspend()
        await lasts(deadlines, 0.1)
        deadline.renew()
        await lasts(deadlines, 0.03)
        deadline.renew()
        await lasts(deadlines, 0.03)
    assert not deadline.expired
    deadline.renew()
    assert not deadlines.pending, "the block is over"


async def test_a_cancelled_block_is_cancelled_even_when_its_time_is_over_too() -> None:
    deadlines = Deadlines()

    async def block() -> None:
        with Deadline(deadlines, 30.0) as deadline:
            inside.set()
            try:
                await asyncio.Event().wait()
            finally:
                deadline.reach()

    inside = asyncio.Event()
    task = asyncio.create_task(block())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_inner_of_two_blocks_ends_alone() -> None:
    deadlines = Deadlines()
    with Deadline(deadlines, 5.0) as outer:
        with pytest.raises(TimeoutError), outer.nested(0.02):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
    assert not outer.expired


async def test_a_thousand_deadlines_take_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    deadlines = Deadlines()
    expect = deadlines.expect

    def counted(at: float) -> None:
        before = deadlines._timer  # pyright: ignore[reportPrivateUsage]
        expect(at)
        if deadlines._timer is not before:  # pyright: ignore[reportPrivateUsage]
            timers.append(at)

    monkeypatch.setattr(deadlines, "expect", counted)
    for _ in range(1000):
        with Deadline(deadlines, 30.0):
            pass
    assert len(timers) == 1
    assert timers[0] > loop.time()
    deadlines.close()
