"""Where services call back: only with a genuine token, once, in time, and with a body that can be kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.clock import new_id, utc_now
from mcp_workflows.engine.records import Message, RunRecord, StepRecord, Turn
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.errors import DefinitionInvalid, StoreUnavailable
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.transport.http import http_app
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.settings import Settings
from mcp_workflows.steps.callback import CallbackTokens
from mcp_workflows.store import NewRun, Store

pytestmark = pytest.mark.anyio

SHIPPING = """
name: shipping
description: Ships what was ordered, and waits to be told that it arrived.
secrets: [TOKEN]
steps:
  - id: ship
    http: {url: "http://127.0.0.1:9/x", headers: {X-Key: "${secrets.TOKEN}"}, method: GET}
"""


@dataclass
class Called:
    """A run in the database that nobody moves, and the way in for those who call back."""

    app: App
    client: httpx2.AsyncClient
    run_id: str
    tokens: CallbackTokens

    async def call(self, attempt: int = 1, path: str = "ship", **request: Any) -> httpx2.Response:
        request.setdefault("json", {"arrived": True})
        return await self.client.request("POST", self.url(attempt, path), **request)

    def url(self, attempt: int = 1, path: str = "ship", run_id: str | None = None) -> str:
        return f"/callbacks/{self.tokens.make(run_id or self.run_id, path, attempt)}"

    async def row(self, status: StepStatus, **more: Any) -> None:
        await self.app.store.record(Turn(self.run_id, [StepRecord("ship", 1, "http", status, **more)]))

    async def finish(self) -> None:
        record = RunRecord(RunStatus.COMPLETED, {}, started_at=utc_now(), finished_at=utc_now())
        await self.app.store.record(Turn(self.run_id, run=record, release=True))

    async def messages(self) -> list[Message]:
        return await self.app.store.load_messages(self.run_id, unconsumed_only=False)


@asynccontextmanager
async def called(folder: Path, **http: Any) -> AsyncGenerator[Called]:
    (folder / "definitions").mkdir()
    (folder / "definitions" / "shipping.yaml").write_text(SHIPPING, "utf-8")
    settings = Settings.load(
        definitions=(folder / "definitions",),
        database_url=f"sqlite:///{folder / 'runs.db'}",
        secrets={"TOKEN": "t0p-secret-value"},
    )
    async with built_app(settings, role=Role.SERVER) as app:
        run_id = await _begun(app)
        asgi = http_app(WorkflowServer(app.runs), **http)
        transport = httpx2.ASGITransport(asgi)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8911") as client:
            yield Called(app, client, run_id, CallbackTokens(await app.store.secret_key()))


async def _begun(app: App) -> str:
    served = app.catalog.serving("shipping")
    new = NewRun(
        new_id("r_"), "shipping", served.version, served.definition_id, {}, "agent", utc_now(),
        RunRecord(RunStatus.RUNNING, started_at=utc_now()),
    )  # fmt: skip
    return (await app.store.start(new)).run.run_id


async def test_a_call_is_a_message_to_the_run(tmp_path: Path) -> None:
    async with called(tmp_path) as here:
        await here.row(StepStatus.WAITING, decision={"parked": {"first": {}}})
        answer = await here.call()
        assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
        (message,) = await here.messages()
        assert (message.kind, message.actor) == ("callback", "callback")
        assert message.body == {"path": "ship", "attempt": 1, "body": {"arrived": True}}


async def test_a_call_may_come_before_anything_is_recorded_of_the_step(tmp_path: Path) -> None:
    async with called(tmp_path) as here:
        assert (await here.call()).status_code == 202
        await here.row(StepStatus.RUNNING)
        assert (await here.client.put(here.url(), json={})).status_code == 200


async def test_a_second_call_is_ignored_also_once_the_step_and_the_run_are_done(tmp_path: Path) -> None:
    async with called(tmp_path) as here:
        await here.row(StepStatus.WAITING)
        assert (await here.call(json={"n": 1})).status_code == 202
        for settle in (None, here.row(StepStatus.COMPLETED, attempts=1), here.finish()):
            if settle is not None:
                await settle
            again = await here.call(json={"n": 2})
            assert (again.status_code, again.json()["status"]) == (200, "ignored")
        assert [message.body["body"] for message in await here.messages()] == [{"n": 1}]


@pytest.mark.parametrize("status", [StepStatus.FAILED, StepStatus.IN_DOUBT, StepStatus.CANCELLED, StepStatus.COMPLETED])
async def test_a_call_of_a_step_that_is_settled_is_late(tmp_path: Path, status: StepStatus) -> None:
    async with called(tmp_path) as here:
        await here.row(status, attempts=1)
        answer = await here.call()
        assert (answer.status_code, answer.json()) == (410, {"error": "nothing waits for this call any more"})
        assert await here.messages() == []


async def test_a_call_of_a_run_that_is_over_or_gone_is_late(tmp_path: Path) -> None:
    async with called(tmp_path) as here:
        await here.finish()
        assert (await here.call()).status_code == 410
        assert (await here.client.post(here.url(run_id="r_gone"), json={})).status_code == 410
        assert await here.messages() == []


async def test_a_call_that_answers_an_earlier_attempt_under_the_same_key_is_as_good(tmp_path: Path) -> None:
    """A service that knows the key may have kept the first attempt's address, and never look at a later one."""
    async with called(tmp_path) as here:
        await here.row(StepStatus.WAITING, attempts=1, attempts_before=1, generation=2)
        assert (await here.call(attempt=1)).status_code == 202
        assert (await here.messages())[0].body["attempt"] == 3
        assert (await here.call(attempt=3)).status_code == 200


async def test_a_call_of_an_attempt_before_a_correction_is_late(tmp_path: Path) -> None:
    async with called(tmp_path) as here:
        await here.row(StepStatus.WAITING, attempts=0, attempts_before=1, generation=2, corrected=2)
        assert (await here.call(attempt=1)).status_code == 410
        assert (await here.call(attempt=2)).status_code == 202


async def test_a_forged_token_is_nothing_at_all(tmp_path: Path) -> None:
    async with called(tmp_path) as here:
        await here.row(StepStatus.WAITING)
        genuine = here.url()
        other = CallbackTokens(b"o" * 32).make(here.run_id, "ship", 1)
        for url in (
            f"/callbacks/{other}",
            genuine[:-2] + "AA",
            genuine + "=",
            "/callbacks/x",
            "/callbacks/%00",
            "/callbacks/",
        ):
            answer = await here.client.post(url, json={"arrived": True})
            assert answer.status_code == 404, url
        assert (await here.client.get(genuine)).status_code == 405
        assert await here.messages() == []


async def test_a_token_of_another_database_is_foreign(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with called(tmp_path / "one") as one, called(tmp_path / "two") as two:
        assert (await two.client.post(one.url(), json={})).status_code == 404


@pytest.mark.parametrize(
    ("content", "content_type", "kept"),
    [
        (b'{"a": [1, null]}', "application/json", {"a": [1, None]}),
        (b'{"a": 1}', "application/cloudevents+json; charset=utf-8", {"a": 1}),
        (b'{"a": 1}', None, {"a": 1}),
        (b"MessageSid=1&MessageStatus=sent", "application/x-www-form-urlencoded", "MessageSid=1&MessageStatus=sent"),
        ("fertig: ü".encode(), "text/plain", "fertig: ü"),
        (b"", None, None),
    ],
)
async def test_a_body_is_json_or_text(tmp_path: Path, content: bytes, content_type: str | None, kept: Any) -> None:
    async with called(tmp_path) as here:
        headers = {"Content-Type": content_type} if content_type else {}
        assert (await here.client.post(here.url(), content=content, headers=headers)).status_code == 202
        assert (await here.messages())[0].body["body"] == kept


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"[" * 65 + b"]" * 65, 400),
        (b"[" * 100_000, 400),
        (b'{"n": 92233720368547758080}', 400),
        (b'{"n": 1e999}', 400),
        (b'{"n": NaN}', 400),
        (rb'"\u0000"', 400),
        (rb'"\ud800"', 400),
        (b'"\xff\xfe"', 400),
        (b'"' + b"x" * (1 << 20) + b'"', 413),
    ],
)
async def test_a_body_that_cannot_be_kept_takes_nothing_and_can_be_sent_again(
    tmp_path: Path, content: bytes, status: int
) -> None:
    async with called(tmp_path) as here:
        headers = {"Content-Type": "application/json"}
        answer = await here.client.post(here.url(), content=content, headers=headers)
        assert answer.status_code == status, answer.text
        assert await here.messages() == []
        assert (await here.call()).status_code == 202


async def test_a_secret_that_a_service_echoes_is_not_kept(tmp_path: Path) -> None:
    async with called(tmp_path) as here:
        await here.call(json={"you": "Bearer t0p-secret-value"})
        assert (await here.messages())[0].body["body"] == {"you": "Bearer [secret TOKEN]"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8911", 202),
        ("localhost", 202),
        ("[::1]:8911", 202),
        ("workflows.example", 202),
        ("Workflows.Example:443", 202),
        ("hooks.example", 202),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
async def test_services_call_from_anywhere_at_a_host_that_is_known(tmp_path: Path, host: str, status: int) -> None:
    async with called(tmp_path, allowed_hosts=["workflows.example"], public_host="hooks.example") as here:
        headers = {"Host": host, "Origin": "https://elsewhere.example"}
        assert (await here.call(headers=headers)).status_code == status


async def test_while_the_database_cannot_be_written_a_service_is_asked_to_call_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unwell(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("The database is locked.")

    async with called(tmp_path) as here:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "deliver", unwell)
            answer = await here.call()
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "is locked" not in answer.text, "it is told to whoever runs the server"
        assert (await here.call()).status_code == 202


async def test_a_server_that_cannot_read_the_definition_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def newer(*_: Any) -> Any:
        raise DefinitionInvalid([])

    async with called(tmp_path) as here:
        with monkeypatch.context() as patch:
            patch.setattr(Catalog, "definition_of", newer)
            assert (await here.call()).status_code == 503
        assert await here.messages() == []
