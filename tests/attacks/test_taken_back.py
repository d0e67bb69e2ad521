"""What was begun with a token ends with it: streams and calls that wait do not outlive that it is taken back, or its time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from mcp_workflows.app import verifier_of
from mcp_workflows.clock import utc_now
from mcp_workflows.mcp_server.transport import lasting
from mcp_workflows.mcp_server.transport.authentication import Authentication
from mcp_workflows.settings import Settings
from tests.access.issuer import AUDIENCE, Issuer
from tests.attacks.stage import WAITING, Stage, soon, stage, waiting
from tests.attacks.wire import END, TASKS, Wire, call, message, wire
from tests.mcp_server.place import place, until
from tests.mcp_server.requests import INITIALIZE
from tests.services.scripted import scripted

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "AGAIN_SECONDS", 0.1)


async def _open_all(on: Stage, actor: str, open_: AsyncExitStack) -> list[Wire]:
    """A stream for a resource, one for a task, the stream of a session, and a call that waits; each has begun."""
    run_id = (await on.waiting(actor)).run_id
    wires = [await open_.enter_async_context(wire(on.url)) for _ in range(5)]
    who = on.header(actor)
    wires[0].request(
        message("subscriptions/listen", {"notifications": {"resourceSubscriptions": [f"run://{run_id}"]}}), who
    )
    wires[1].request(message("subscriptions/listen", {"notifications": {"taskIds": [run_id]}}, meta=TASKS), who)
    for one in wires[:2]:
        await one.until(b"acknowledged")
    wires[2].request(INITIALIZE, who)
    session = (await wires[2].until(b"\r\n\r\n")).lower().split(b"mcp-session-id: ")[1].split(b"\r\n")[0].decode()
    wires[3].request(b"", {**who, "Mcp-Session-Id": session}, method="GET")
    await wires[3].until(b"\r\n\r\n")
    wires[4].request(call("get_run", run_id=run_id, wait_seconds=50), who)
    await until(lambda: on.here.server.waiting > 0, soon)
    del wires[2]
    return wires


async def test_a_token_that_is_taken_back_ends_what_lasts_and_nothing_of_others(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, AsyncExitStack() as open_:
        mine, theirs = await _open_all(on, "eve", open_), await _open_all(on, "anna", open_)
        on.actors.forget("eve")
        for stream in mine[:3]:
            await stream.until(END)
        assert await mine[3].status() == 401
        await until(lambda: on.here.server.waiting == 1, soon)
        assert on.here.server.following == 2
        await asyncio.sleep(0.5)  # five looks at the tokens of the others
        for stream in theirs:
            assert not await stream.ended(0.01)


async def test_who_loses_a_scope_loses_what_was_begun_with_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, wire(on.url) as stream:
        name = f"run://{(await on.waiting('anna')).run_id}"
        stream.request(
            message("subscriptions/listen", {"notifications": {"resourceSubscriptions": [name]}}), on.header("boss")
        )
        assert name.encode() in await stream.until(b"acknowledged") + await stream.until(b"}}}")
        on.actors.allow("boss", "workflows:run")
        await stream.until(END)


async def test_a_token_that_expires_ends_what_lasts(tmp_path: Path) -> None:
    later = timedelta()
    async with scripted() as service, place(tmp_path, {"waiting": WAITING}) as here:
        issuer = Issuer(service)
        verifier = verifier_of(Settings.load(auth_issuer=issuer.name), AUDIENCE, lambda: utc_now() + later)
        assert verifier is not None
        async with here.listening(authentication=Authentication(verifier, AUDIENCE)) as url, wire(url) as stream:
            run_id = (await waiting(here, "anna")).run_id
            stream.request(
                message("subscriptions/listen", {"notifications": {"resourceSubscriptions": [f"run://{run_id}"]}}),
                {"Authorization": f"Bearer {issuer.token(now=utc_now(), exp=int(utc_now().timestamp()) + 600)}"},
            )
            await stream.until(b"acknowledged")
            later = timedelta(seconds=600)
            assert not await stream.ended(0.3), "clocks may differ by ten seconds"
            later = timedelta(seconds=611)
            await stream.until(END)
        await verifier.close()


async def test_what_lasts_goes_on_for_a_while_when_nobody_can_say_whether_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting, "UNCONFIRMED_SECONDS", 1.0)
    async with stage(tmp_path) as on, wire(on.url) as stream:
        stream.request(
            message("subscriptions/listen", {"notifications": {"toolsListChanged": True}}), on.header("anna")
        )
        await stream.until(b"acknowledged")
        on.actors.spoil()
        assert not await stream.ended(0.5)
        on.actors.restore()
        assert not await stream.ended(1.0)
        on.actors.spoil()
        await stream.until(END)
