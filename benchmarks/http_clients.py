"""Requests per second of one process: bare aiohttp, bare httpx2, the client of http steps, and a whole http step.

``python -m benchmarks.http_clients [--seconds 2] [--loop uvloop|asyncio] [--json]``. Each request is a POST of about 170
bytes of JSON; the step renders it from expressions, with an idempotency key and a secret, and checks the answer.
The contenders take turns in short rounds, so that a noisy machine troubles all of them alike; the median round counts.
With ``--cpu`` it tells microseconds of processor time per request instead, of the best round: the figure to compare by
when the machine has other things to do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import aiohttp
import httpx2
import uvloop
from yarl import URL

from benchmarks.pace import CONCURRENCIES, pace
from benchmarks.trivial_server import trivial_server
from mcp_workflows.definition.expressions import ROOTS, Template, Variables, compile_text
from mcp_workflows.definition.program import Auth, HttpWork
from mcp_workflows.engine.outcome import Completed, StepCall
from mcp_workflows.steps import Environment, Steps
from mcp_workflows.steps.body import read_body
from mcp_workflows.steps.client import Client
from mcp_workflows.steps.guard import Guard
from mcp_workflows.steps.request import Request

ROUNDS = 5
DOCUMENT = {
    "email": "buyer@example.com",
    "plan": "enterprise",
    "account": "a_81",
    "lines": [{"sku": "seat", "quantity": 12, "price": 1900}, {"sku": "support", "quantity": 1, "price": 9900}],
}

One = Callable[[], Awaitable[object]]


def step_call(base: str) -> StepCall:
    """A step as an author would write it."""
    variables = Variables(ROOTS)
    work = HttpWork(
        method="POST",
        url=compile_text("${vars.BASE}/accounts/${input.account}/charges", variables),
        body_kind="json",
        body=Template.of(
            {
                "email": compile_text("${input.email}", variables),
                "plan": compile_text("${input.plan}", variables),
                "lines": compile_text("${input.lines}", variables),
            }
        ),
        auth=Auth("bearer", (compile_text("${secrets.TOKEN}", variables),)),
    )
    values = {"input": DOCUMENT, "vars": {"BASE": base}}
    return StepCall("r_1", "charge", 1, work, values, "r_1:charge:1", 30.0, secrets=("TOKEN",))


async def contenders(base: str, stack: AsyncExitStack) -> Mapping[str, One]:
    """One request by each."""
    headers = {"Authorization": "Bearer benchmark-token", "Idempotency-Key": "r_1:charge:1"}
    url = f"{base}/accounts/a_81/charges"
    connector = aiohttp.TCPConnector(limit=0)
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    client = await stack.enter_async_context(httpx2.AsyncClient(limits=limits, trust_env=False))
    steps = Steps(Environment(secret={"TOKEN": "benchmark-token"}.get, max_per_host=1000))
    stack.push_async_callback(steps.close)
    call = step_call(base)
    ours = Client(Guard())
    stack.push_async_callback(ours.close)
    sent = Request("POST", URL(url), {**headers, "Content-Type": "application/json"}, json.dumps(DOCUMENT).encode(), {})

    async def by_client() -> object:
        response = await ours.send(sent, 10.0, lambda: None)
        try:
            return json.loads((await read_body(response, 1 << 20)).raw)
        finally:
            response.release()

    async def by_aiohttp() -> object:
        async with session.post(url, json=DOCUMENT, headers=headers) as response:
            return await response.json()

    async def by_httpx2() -> object:
        return (await client.post(url, json=DOCUMENT, headers=headers)).json()

    async def by_step() -> object:
        outcome = await steps.attempt(call)
        assert isinstance(outcome, Completed), outcome
        return outcome

    return {"aiohttp": by_aiohttp, "httpx2": by_httpx2, "Client": by_client, "Steps.attempt": by_step}


async def measure(base: str, seconds: float = 2.0, *, by_cpu: bool = False) -> dict[str, dict[int, float]]:
    """The median rate of each contender at each concurrency, in requests per second; or the least of its CPU time."""
    best = min if by_cpu else statistics.median
    async with AsyncExitStack() as stack:
        candidates = await contenders(base, stack)
        found: dict[str, dict[int, float]] = {name: {} for name in candidates}
        for concurrency in CONCURRENCIES:
            rates: dict[str, list[float]] = {name: [] for name in candidates}
            for one in candidates.values():
                await pace(one, concurrency, 0.2)
            for _ in range(ROUNDS):
                for name, one in candidates.items():
                    round_ = await pace(one, concurrency, seconds / ROUNDS)
                    rates[name].append(round_.cpu if by_cpu else round_.per_second)
            for name, values in rates.items():
                found[name][concurrency] = best(values)
        return found


def run(seconds: float = 2.0, *, loop: str = "uvloop", by_cpu: bool = False) -> dict[str, dict[int, float]]:
    """Measures in this process, against a server in another."""
    with (
        trivial_server() as base,
        asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner,
    ):
        return runner.run(measure(base, seconds, by_cpu=by_cpu))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="per contender and concurrency")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--cpu", action="store_true", help="microseconds of processor time per request")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options.seconds, loop=options.loop, by_cpu=options.cpu)
    unit = "cpu_us_per_request" if options.cpu else "requests_per_second"
    if options.json:
        json.dump({"loop": options.loop, unit: found}, sys.stdout)
        return
    print(
        f"{options.loop + (', CPU µs/request' if options.cpu else ', requests/s'):<24}"
        + "".join(f"{n:>10}" for n in CONCURRENCIES)
    )
    for name, rates in found.items():
        print(f"{name:<24}" + "".join(f"{rates[n]:>10,.0f}" for n in CONCURRENCIES))
    share = [found["Steps.attempt"][n] / found["aiohttp"][n] for n in CONCURRENCIES]
    print(f"{'step / aiohttp':<24}" + "".join(f"{value:>10.0%}" for value in share))


if __name__ == "__main__":
    main()
