"""The sample services: honest books, replayed keys, faults exactly as arranged."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest

from mcp_workflows.samples.faults import Fault
from mcp_workflows.samples.remote import Samples, started_samples
from tests.mortal import mortal

EMAIL = {"email": "a@example.com", "plan": "pro"}


@asynccontextmanager
async def services() -> AsyncGenerator[tuple[Samples, httpx2.AsyncClient]]:
    async with started_samples() as samples, httpx2.AsyncClient(trust_env=False) as client:
        yield samples, client


def run(body: Callable[[Samples, httpx2.AsyncClient], Awaitable[None]]) -> None:
    async def go() -> None:
        async with services() as (samples, client):
            await body(samples, client)

    asyncio.run(go())


def test_the_same_key_is_answered_with_the_first_answer_and_done_once():
    async def body(samples: Samples, client: httpx2.AsyncClient) -> None:
        url = samples.urls["crm"] + "/accounts"
        first = await client.post(url, json=EMAIL, headers={"Idempotency-Key": "k1"})
        again = await client.post(url, json=EMAIL, headers={"Idempotency-Key": "k1"})
        other = await client.post(url, json={**EMAIL, "plan": "free"}, headers={"Idempotency-Key": "k1"})
        assert (first.status_code, again.status_code, other.status_code) == (201, 201, 400)
        assert first.json() == again.json()
        assert list((await samples.books())["crm"]["accounts"]) == ["a_1"]
        calls = await samples.calls()
        assert [(call.effect, call.replayed) for call in calls] == [(True, False), (False, True), (False, False)]

    run(body)


def test_a_removed_entry_is_gone_and_its_number_is_not_given_again():
    async def body(samples: Samples, client: httpx2.AsyncClient) -> None:
        url = samples.urls["crm"] + "/accounts"
        await client.post(url, json=EMAIL)
        assert (await client.delete(f"{url}/a_1")).status_code == 204
        assert (await client.delete(f"{url}/a_1")).status_code == 404
        assert (await client.post(url, json=EMAIL)).json()["id"] == "a_2"

    run(body)


def test_faults_happen_in_order_to_the_calls_that_fit_and_then_no_more():
    async def body(samples: Samples, client: httpx2.AsyncClient) -> None:
        await samples.misbehave(
            Fault("mail", "POST", "/messages", "answer", status=503, headers={"Retry-After": "2"}),
            Fault("mail", "POST", "/messages", "drop", done=True),
        )
        url, message = samples.urls["mail"] + "/messages", {"to": "a@example.com", "template": "t"}
        first = await client.post(url, json=message, headers={"Idempotency-Key": "k"})
        assert (first.status_code, first.headers["retry-after"]) == (503, "2")
        with pytest.raises(httpx2.HTTPError):
            await client.post(url, json=message, headers={"Idempotency-Key": "k"})
        third = await client.post(url, json=message, headers={"Idempotency-Key": "k"})
        assert third.status_code == 202
        calls = await samples.calls()
        assert [call.fault for call in calls] == ["answered 503", "dropped the connection, after doing it", None]
        assert [call.status for call in calls] == [503, None, 202]
        assert [call.effect for call in calls] == [False, True, False]
        assert calls[2].replayed

    run(body)


def test_a_held_call_is_seen_in_flight_until_the_faults_are_lifted():
    async def body(samples: Samples, client: httpx2.AsyncClient) -> None:
        await samples.misbehave(Fault("billing", "POST", "/charges", "hold", done=True))
        charge = {"account": "a_1", "plan": "pro"}
        call = asyncio.ensure_future(client.post(samples.urls["billing"] + "/charges", json=charge))
        held = await samples.wait_for(lambda calls: any(call.open and call.effect for call in calls))
        assert held[0].what == "billing POST /charges"
        await samples.behave()
        with pytest.raises(httpx2.HTTPError):
            await call
        await samples.wait_for(lambda calls: not any(call.open for call in calls))

    run(body)


def test_the_services_end_with_whoever_started_them():
    async def go() -> str:
        async with started_samples() as samples:
            return samples.urls["crm"]

    url = asyncio.run(go())
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url, trust_env=False)


def test_services_in_the_background_of_a_script_stay_up_until_they_are_interrupted():
    command = mortal(sys.executable, "-m", "mcp_workflows.samples", "--any-port")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith(b"{")
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
