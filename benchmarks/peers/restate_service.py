"""What Restate calls: a service whose handlers run ten steps, served by Hypercorn (``restate_steps.py`` starts it)."""

from __future__ import annotations

import os
from typing import Any

import aiohttp
import restate

from benchmarks.workload import STEPS, computed, post

BASE = os.environ.get("BENCH_BASE", "")
"""Where the trivial server is."""

ten = restate.Service("Ten")
_sessions: list[aiohttp.ClientSession] = []
"""The one of this process, once there is one: it belongs to the event loop that runs the handlers."""


def _session() -> aiohttp.ClientSession:
    if not _sessions:
        _sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    return _sessions[0]


async def _compute(number: int, step: int, run_id: str) -> dict[str, Any]:
    return computed(number, step, run_id)


async def _charge(number: int | str) -> dict[str, Any]:
    return await post(_session(), BASE, number)


@ten.handler()
async def compute(ctx: restate.Context, number: int) -> dict[str, Any]:
    run_id = ctx.request().id
    last: dict[str, Any] = {"n": number}
    for step in range(STEPS):
        last = await ctx.run_typed(f"s{step}", _compute, number=last["n"], step=step, run_id=run_id)
    return last


@ten.handler()
async def charge(ctx: restate.Context, number: int) -> dict[str, Any]:
    last: dict[str, Any] = {"id": number}
    for step in range(STEPS):
        last = await ctx.run_typed(f"s{step}", _charge, number=last["id"])
    return last


app = restate.app([ten])
