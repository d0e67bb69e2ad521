"""Who may ask over HTTP, and what: tokens, scopes, rates. What needs no token stays without."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from mcp_workflows.access.rate import Rate
from mcp_workflows.access.token_file import new_token
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.transport.http import listen, serve_http
from mcp_workflows.runtime.views import RunQuery
from tests.mcp_server.actors import ERAS, Actors
from tests.mcp_server.place import place, refused, told
from tests.mcp_server.requests import CALL, HEADERS, INITIALIZE, MODERN
from tests.mcp_server.workflows import STRICT

pytestmark = pytest.mark.anyio

ALL = RunQuery(status="any", limit=50)


@pytest.mark.parametrize(("body", "headers"), [(INITIALIZE, HEADERS), (CALL, MODERN)], ids=["2025", "2026"])
async def test_who_shows_no_valid_token_is_turned_away(
    tmp_path: Path, body: dict[str, Any], headers: dict[str, str]
) -> None:
    actors = Actors(tmp_path, {"anna": ("workflows:run",), "nobody": ()})
    token = actors.tokens["anna"]
    async with (
        place(tmp_path, {"register": STRICT}) as here,
        here.listening(authentication=actors.authentication) as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):

        async def status(*authorization: str) -> tuple[int, str]:
            shown = [("Authorization", one) for one in authorization]
            answer = await client.post(url, json=body, headers=[*headers.items(), *shown])
            return answer.status_code, answer.headers.get("www-authenticate", "")

        wrong = ("", "Bearer", f"Bearer {new_token()}", f"Basic {token}", token, f"Bearer {token}x", f"Bearer  {token}")
        for shown in (
            (),
            *((one,) for one in wrong),
            ("Bearer " + "x" * 20_000,),
            (f"Bearer {new_token()}", f"Bearer {token}"),
        ):
            code, challenge = await status(*shown)
            assert code == 401, shown
            assert challenge.startswith("Bearer "), shown
        code, challenge = await status(f"Bearer {actors.tokens['nobody']}")
        assert code == 403
        assert 'error="insufficient_scope"' in challenge
        assert not (await here.app.runs.list(ALL)).runs, "nobody who was turned away started anything"
        assert (await status(f"Bearer {token}"))[0] == 200
        assert (await status(f"bearer {token}"))[0] == 200
        assert not (await here.app.runs.list(ALL)).runs or body is CALL, "nobody who was turned away started anything"


async def test_health_needs_no_token_and_tells_nothing_of_runs(tmp_path: Path) -> None:
    actors = Actors(tmp_path, {})
    async with (
        place(tmp_path, {"register": STRICT}) as here,
        here.listening(authentication=actors.authentication) as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        assert set((await client.get(url.replace("/mcp", "/healthz"))).json()) == {"status", "version", "workflows"}
        for path in ("/mcp/", "//mcp", "/mcp/x", "/MCP", "/mcp%2f"):
            answer = await client.post(url.replace("/mcp", path), json=INITIALIZE, headers=HEADERS)
            assert answer.status_code in {307, 401, 404}, path


@pytest.mark.parametrize("mode", ERAS)
async def test_a_token_that_is_taken_back_ends_what_was_begun_with_it(tmp_path: Path, mode: str) -> None:
    actors = Actors(tmp_path, {"anna": ("workflows:run",)})
    async with place(tmp_path, {"register": STRICT}) as here:
        async with (
            here.listening(authentication=actors.authentication) as url,
            actors.client(url, "anna", mode) as client,
        ):
            assert told(await client.call_tool("register", {"email": "a@b.org"}))["status"] == "completed"
            actors.forget("anna")
            with pytest.raises(MCPError):
                await client.call_tool("register", {"email": "c@d.org"})
        assert len((await here.app.runs.list(ALL)).runs) == 1


async def test_a_session_is_of_no_use_to_another_actor(tmp_path: Path) -> None:
    actors = Actors(tmp_path, {"anna": ("workflows:run",), "eve": ("workflows:run",)})
    async with (
        place(tmp_path, {"register": STRICT}) as here,
        here.listening(authentication=actors.authentication) as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        opened = await client.post(url, json=INITIALIZE, headers={**HEADERS, **actors.header("anna")})
        session = {**HEADERS, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
        body = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        stolen = await client.post(url, json=body, headers={**session, **actors.header("eve")})
        guessed = await client.post(
            url, json=body, headers={**HEADERS, "Mcp-Session-Id": "0" * 32, **actors.header("eve")}
        )
        assert (stolen.status_code, stolen.content) == (guessed.status_code, guessed.content)
        assert stolen.status_code == 404
        assert (await client.post(url, json=body, headers={**session, **actors.header("anna")})).status_code == 200


@pytest.mark.parametrize("mode", ERAS)
async def test_a_token_allows_what_its_scopes_say(tmp_path: Path, mode: str) -> None:
    actors = Actors(
        tmp_path,
        {"looker": ("workflows:read",), "clerk": ("workflows:run:register",), "other": ("workflows:run:else",)},
    )
    given = {"email": "a@b.org"}
    async with (
        place(tmp_path, {"register": STRICT}) as here,
        here.listening(authentication=actors.authentication) as url,
    ):
        async with actors.client(url, "looker", mode) as looker:
            assert refused(await looker.call_tool("register", given)) == (
                "Refused, nothing was changed. looker may not start register: the token lacks the scope workflows:run. "
                "Tell the user; only whoever gives out tokens can change that."
            )
            assert told(await looker.call_tool("list_runs", {"status": "any"})) == {"runs": []}
            for tool in ("signal_run", "resume_run", "cancel_run"):
                more = {"name": "approve"} if tool == "signal_run" else {}
                assert "looker may not" in refused(await looker.call_tool(tool, {"run_id": "r_" + "0" * 26, **more}))
        async with actors.client(url, "other", mode) as other:
            assert "other may not start register" in refused(await other.call_tool("register", given))
        async with actors.client(url, "clerk", mode) as clerk:
            run = told(await clerk.call_tool("register", given))
            assert run["status"] == "completed"
            assert told(await clerk.call_tool("cancel_run", {"run_id": run["run_id"]}))["status"] == "completed"
        actor = (await here.app.runs.get(run["run_id"], actor=None)).actor
        assert actor == "clerk"


@pytest.mark.parametrize("mode", ERAS)
async def test_who_calls_too_often_is_told_when_to_call_again(tmp_path: Path, mode: str) -> None:
    actors = Actors(tmp_path, {"busy": ("workflows:run",), "calm": ("workflows:run",)})
    async with place(tmp_path, {"register": STRICT}) as here:
        here.server = WorkflowServer(here.app.runs, rate=Rate(3))
        async with here.listening(authentication=actors.authentication) as url:
            async with actors.client(url, "busy", mode) as busy:
                for _ in range(3):
                    told(await busy.call_tool("list_runs", {}))
                assert refused(await busy.call_tool("register", {"email": "a@b.org"})) == (
                    "Too many calls: you may make 3 a minute. Nothing was done. Call again in 20 s, "
                    "and let get_run wait (wait_seconds 50) where you asked again and again."
                )
                with pytest.raises(MCPError, match="Too many calls"):
                    await busy.read_resource("run://r_0")
            async with actors.client(url, "calm", mode) as calm:
                assert told(await calm.call_tool("register", {"email": "a@b.org"}))["status"] == "completed"


async def test_with_authentication_other_machines_may_reach_it(tmp_path: Path) -> None:
    actors = Actors(tmp_path, {"anna": ("workflows:run",)})
    async with place(tmp_path, {"register": STRICT}) as here:
        stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
        with listen("0.0.0.0", 0, authenticated=True) as listener:
            serving = asyncio.create_task(
                serve_http(
                    here.server,
                    "0.0.0.0",
                    0,
                    stop=stop,
                    listener=listener,
                    public_host="workflows.example",
                    authentication=actors.authentication,
                    listening=url.set_result,
                )
            )
            await url
            at = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            async with httpx2.AsyncClient(trust_env=False) as client:
                for host, status in (("workflows.example", 200), ("evil.example", 421)):
                    answer = await client.post(
                        at, json=INITIALIZE, headers={**HEADERS, "Host": host, **actors.header("anna")}
                    )
                    assert answer.status_code == status
                assert (await client.post(at, json=INITIALIZE, headers=HEADERS)).status_code == 401
            stop.set()
            await serving
