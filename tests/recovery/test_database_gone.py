"""A server process whose PostgreSQL cannot be reached for a while: it says what is wrong, and goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.postgres import Databases, PostgresServer
from tests.proxy import Proxy, proxy
from tests.recovery.server import ServerProcess, place

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(110)]

NAPS = """
name: naps
description: Waits a little, and then a little more.
mcp: {wait: 0s}
steps:
  - {id: first, wait: 3s}
  - {id: second, wait: 3s}
"""


async def health(server: ServerProcess) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/healthz") as answer,
    ):
        return answer.status, (await answer.json()).get("reason", "")


async def health_is(server: ServerProcess, status: int) -> str:
    async with asyncio.timeout(60):
        while (found := await health(server))[0] != status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found[1]


@pytest.mark.parametrize(("how", "lease_seconds"), [("refuse", "15"), ("swallow", "3")])
async def test_health_and_log_say_that_the_database_is_gone_and_that_it_is_back_and_runs_go_on(
    tmp_path: Path, postgres: Databases, how: str, lease_seconds: str
) -> None:
    if not isinstance(postgres, PostgresServer):
        pytest.skip("TEST_POSTGRES_URL names a server whose socket is not known here: nothing is put between")
    url = postgres.new_database(template=postgres.template)
    async with proxy(postgres.folder) as network, place(tmp_path) as here:
        here.define("naps", NAPS)
        server = await here.serve(DATABASE_URL=network.url(url), LEASE_SECONDS=lease_seconds)
        run_id = (await server.call("naps"))["run_id"]
        getattr(network, how)()
        reason = await health_is(server, 503)
        assert "atabase" in reason
        await _back(network, how)
        assert await health_is(server, 200) == ""
        run = await server.call("get_run", run_id=run_id, wait_seconds=50)
        assert run["status"] == "completed"
    log = (tmp_path / "server.log").read_text()
    assert log.count("cannot be used now") <= 2
    assert log.count("can be used again") == log.count("cannot be used now")


async def _back(network: Proxy, how: str) -> None:
    if how == "refuse":
        await network.start()
    else:
        network.pass_on()
