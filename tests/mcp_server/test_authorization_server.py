"""Over HTTP, with an authorization server: what clients are told, whom tokens name, and what happens when it is away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from mcp_workflows.app import verifier_of
from mcp_workflows.clock import utc_now
from mcp_workflows.mcp_server.transport.authentication import Authentication
from mcp_workflows.mcp_server.transport.http import MCP_PATH, base_url, listen
from mcp_workflows.settings import Settings
from tests.access.issuer import AUDIENCE, Issuer
from tests.mcp_server.actors import ERAS
from tests.mcp_server.place import Place, place, told
from tests.mcp_server.requests import CALL, HEADERS, INITIALIZE, MODERN
from tests.mcp_server.workflows import STRICT
from tests.services.scripted import Answer, scripted

pytestmark = pytest.mark.anyio

REGISTRATION = OAuthClientMetadata(
    redirect_uris=[AnyUrl("http://127.0.0.1:1/back")], token_endpoint_auth_method="none",
    grant_types=["authorization_code"], response_types=["code"],
)  # fmt: skip


@asynccontextmanager
async def served(
    folder: Path, *, resource: str | None = AUDIENCE, **settings: Any
) -> AsyncGenerator[tuple[Place, Issuer, str]]:
    """``resource``: what clients know the server as; ``None``: as it is reached here."""
    with listen("127.0.0.1", 0) as listener:
        known_as = resource or f"{base_url('127.0.0.1', listener)}{MCP_PATH}"
        async with scripted() as service, place(folder, {"register": STRICT}) as here:
            issuer = Issuer(service)
            loaded = Settings.load(
                **{
                    name: value.format(issuer=issuer.name)
                    for name, value in ({"auth_issuer": "{issuer}"} | settings).items()
                }
            )
            verifier = verifier_of(loaded, known_as)
            assert verifier is not None
            who = Authentication(verifier, known_as, loaded.auth_issuer)
            async with here.listening(authentication=who, listener=listener) as url:
                yield here, issuer, url
            await verifier.close()


async def test_who_has_no_token_is_told_where_to_get_one(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, issuer, url), httpx2.AsyncClient(trust_env=False) as client:
        where = "https://workflows.example/.well-known/oauth-protected-resource/mcp"

        async def challenge(token: str | None, status: int) -> str:
            shown = {} if token is None else {"Authorization": f"Bearer {token}"}
            answer = await client.post(url, json=INITIALIZE, headers={**HEADERS, **shown})
            assert answer.status_code == status
            assert answer.json()["error_description"]
            return answer.headers["www-authenticate"]

        assert f'scope="workflows:run", resource_metadata="{where}"' in await challenge(None, 401)
        assert "error=" not in await challenge(None, 401), "nothing was shown that could be wrong"
        assert 'Bearer error="invalid_token"' in await challenge("x", 401)
        told = await challenge(issuer.token(now=utc_now(), scope="openid"), 403)
        assert 'Bearer error="insufficient_scope"' in told
        assert f'scope="workflows:run", resource_metadata="{where}"' in told


@pytest.mark.parametrize("resource", ["https://workflows.example/mcp", "https://shared.example/flows/mcp"])
async def test_the_metadata_lies_wherever_clients_look_and_says_the_very_names(tmp_path: Path, resource: str) -> None:
    """Behind a proxy with a path, too: beside ``/mcp``, where the challenge leads, and where clients guess it."""
    async with served(tmp_path, resource=resource) as (_, issuer, url), httpx2.AsyncClient(trust_env=False) as client:
        base = url.removesuffix("/mcp")
        challenge = (await client.post(url, json=INITIALIZE, headers=HEADERS)).headers["www-authenticate"]
        led_to = challenge.partition('resource_metadata="')[2].rstrip('"')
        assert led_to == resource.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
        for path in (f"/{urlsplit(resource).path.strip('/')}", "/mcp", ""):
            answer = await client.get(
                f"{base}/.well-known/oauth-protected-resource{path}", headers={"Origin": "http://x"}
            )
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.json() == {
                "resource": resource,
                "resource_name": "Durable workflows",
                "authorization_servers": [issuer.name],
                "scopes_supported": ["workflows:read", "workflows:run"],
                "bearer_methods_supported": ["header"],
            }


class Wallet:
    """Where a client keeps what it was given."""

    def __init__(self) -> None:
        self._tokens: OAuthToken | None = None
        self._client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info


@pytest.mark.parametrize("mode", ERAS)
async def test_the_official_client_gets_itself_a_token(tmp_path: Path, mode: Any) -> None:
    """From the address alone: it finds the authorization server, registers, and asks for what agents need."""
    async with served(tmp_path, resource=None) as (here, issuer, url):
        asked: dict[str, list[str]] = {}

        async def authorize(address: str) -> None:
            asked.update(parse_qs(urlsplit(address).query))

        async def authorized() -> AuthorizationCodeResult:
            return AuthorizationCodeResult(code="c", state=asked["state"][0], iss=issuer.name)

        async def token(body: bytes) -> Answer:
            issued_for = parse_qs(body.decode())["resource"][0]
            given = issuer.token(now=utc_now(), aud=issued_for, scope=asked["scope"][0])
            return Answer(body={"access_token": given, "token_type": "Bearer", "expires_in": 600})

        issuer.gives_tokens(token)
        provider = OAuthClientProvider(url, REGISTRATION, Wallet(), authorize, authorized)
        async with (
            httpx2.AsyncClient(auth=provider, trust_env=False) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            run = told(await client.call_tool("register", {"email": "a@b.org"}))
        assert (await here.app.runs.get(run["run_id"], actor=None)).actor == "anna"
        assert (asked["resource"], asked["scope"]) == ([url], ["workflows:run"])


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


async def test_while_the_authorization_server_is_away_the_answer_is_503_and_nobody_is_let_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as (_, issuer, url), httpx2.AsyncClient(trust_env=False) as client:
        issuer.service.on("/keys", Answer(500))
        shown = {**HEADERS, "Authorization": f"Bearer {issuer.token(now=utc_now())}"}
        answer = await client.post(url, json=INITIALIZE, headers=shown)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "log says why" in answer.json()["error_description"]
        assert f"the keys of {issuer.name}: {issuer.name}/keys answers 500." in caplog.messages
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
