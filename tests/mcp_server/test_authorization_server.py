"""Over HTTP, with an authorization server: what clients are told, whom tokens name, and what happens when it is away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_workflows.app import verifier_of
from mcp_workflows.clock import utc_now
from mcp_workflows.mcp_server.transport.authentication import Authentication
from mcp_workflows.settings import Settings
from tests.access.issuer import AUDIENCE, Issuer
from tests.mcp_server.actors import ERAS
from tests.mcp_server.place import Place, place, told
from tests.mcp_server.test_authentication import CALL
from tests.mcp_server.test_http import HEADERS, INITIALIZE, MODERN
from tests.mcp_server.test_refusals import STRICT
from tests.services.scripted import Answer, scripted

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(folder: Path, **settings: Any) -> AsyncGenerator[tuple[Place, Issuer, str]]:
    async with scripted() as service, place(folder, {"register": STRICT}) as here:
        issuer = Issuer(service)
        loaded = Settings.load(
            **{
                name: value.format(issuer=issuer.name)
                for name, value in ({"auth_issuer": "{issuer}"} | settings).items()
            }
        )
        verifier = verifier_of(loaded, AUDIENCE)
        assert verifier is not None
        async with here.listening(authentication=Authentication(verifier, AUDIENCE, loaded.auth_issuer)) as url:
            yield here, issuer, url
        await verifier.close()


async def test_who_has_no_token_is_told_where_to_get_one(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, issuer, url), httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(url, json=INITIALIZE, headers=HEADERS)
        assert answer.status_code == 401
        where = "https://workflows.example/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{where}"' in answer.headers["www-authenticate"]
        metadata = (await client.get(url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp"))).json()
        assert metadata["resource"] == AUDIENCE
        assert [one.rstrip("/") for one in metadata["authorization_servers"]] == [issuer.name]
        assert metadata["scopes_supported"] == [
            "workflows:read", "workflows:run", "workflows:approve", "workflows:operate",
        ]  # fmt: skip
        bearer = {"Authorization": f"Bearer {issuer.token(now=utc_now(), scope='openid')}"}
        answer = await client.post(url, json=INITIALIZE, headers={**HEADERS, **bearer})
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert where in answer.headers["www-authenticate"]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_jwt_names_the_actor_by_the_claim_that_was_chosen(tmp_path: Path, mode: Any) -> None:
    async with served(tmp_path, auth_actor_claim="email") as (here, issuer, url):
        token = issuer.token("ES256", now=utc_now(), email="anna@example.com")
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            run = told(await client.call_tool("register", {"email": "a@b.org"}))
        assert (await here.app.runs.get(run["run_id"], actor=None)).actor == "anna@example.com"


@pytest.mark.parametrize(("body", "headers"), [(INITIALIZE, HEADERS), (CALL, MODERN)], ids=["2025", "2026"])
async def test_false_and_foreign_tokens_are_turned_away(
    tmp_path: Path, body: dict[str, Any], headers: dict[str, str]
) -> None:
    async with served(tmp_path) as (_, issuer, url), httpx2.AsyncClient(trust_env=False) as client:

        async def status(token: str) -> int:
            shown = {**headers, "Authorization": f"Bearer {token}"}
            return (await client.post(url, json=body, headers=shown)).status_code

        now = utc_now()
        genuine = issuer.token(now=now)
        unsigned = "eyJhbGciOiJub25lIiwia2lkIjoiciJ9." + genuine.split(".")[1] + "."
        false = [
            unsigned, genuine[:-4] + "AAAA", issuer.token(now=now, aud="https://other.example/mcp"),
            issuer.token(now=now, iss="https://evil.example"), issuer.token(now=now, exp=int(now.timestamp()) - 60),
            issuer.token(now=now, number=1), issuer.token("ES256", now=now, kid="r"),
        ]  # fmt: skip
        assert [await status(token) for token in false] == [401] * len(false)
        assert await status(genuine) == 200


async def test_while_the_authorization_server_is_away_the_answer_is_503_and_nobody_is_let_in(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, issuer, url), httpx2.AsyncClient(trust_env=False) as client:
        issuer.service.on("/keys", Answer(500))
        shown = {**HEADERS, "Authorization": f"Bearer {issuer.token(now=utc_now())}"}
        answer = await client.post(url, json=INITIALIZE, headers=shown)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "answers 500" in answer.json()["error_description"]
        assert (await client.post(url, json=INITIALIZE, headers=HEADERS)).status_code == 401


async def test_a_token_that_is_no_jwt_is_shown_to_the_authorization_server(tmp_path: Path) -> None:
    settings = {
        "auth_introspection_url": "{issuer}/introspect", "auth_client_id": "us", "auth_client_secret": "s3cret",
    }  # fmt: skip
    async with served(tmp_path, **settings) as (here, issuer, url), httpx2.AsyncClient(trust_env=False) as client:
        issuer.service.on("/introspect", Answer(body={"active": True, **issuer.claims(now=utc_now())}))
        shown = {**MODERN, "Authorization": "Bearer opaque"}
        answer = (await client.post(url, json=CALL, headers=shown)).json()["result"]
        run_id = answer["structuredContent"]["run_id"]
        assert (await here.app.runs.get(run_id, actor=None)).actor == "anna"
        issuer.service.on("/introspect", Answer(body={"active": False}))
        shown["Authorization"] = "Bearer other"
        assert (await client.post(url, json=CALL, headers=shown)).status_code == 401
