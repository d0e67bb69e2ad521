"""A network between a node and PostgreSQL that refuses, resets or swallows: noticed, told once, waited out."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.engine import make_url

from mcp_workflows.clock import utc_now
from mcp_workflows.engine.records import Turn
from mcp_workflows.errors import StoreUnavailable
from mcp_workflows.store import Store, postgres
from mcp_workflows.store.patience import LONGER
from mcp_workflows.store.store import LEASE_SECONDS
from tests.postgres import Databases, PostgresServer
from tests.proxy import Proxy, proxy
from tests.store.material import NOW, begin, done
from tests.store.raw import ask
from tests.store.recording import recording, unwell

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["postgres", "postgres15"])
def server(request: pytest.FixtureRequest) -> PostgresServer:
    found: Databases = request.getfixturevalue(request.param)
    if not isinstance(found, PostgresServer):
        pytest.skip("TEST_POSTGRES_URL names a server whose socket is not known here: nothing is put between")
    return found


@pytest.fixture
def own_url(server: PostgresServer) -> str:
    return server.new_database(template=server.template)


@pytest.fixture
async def network(server: PostgresServer) -> AsyncIterator[Proxy]:
    async with proxy(server.folder) as network:
        yield network


@asynccontextmanager
async def opened(url: str, *, lease_seconds: float = LEASE_SECONDS) -> AsyncGenerator[Store]:
    async with Store.open(url, clock=utc_now, node_name="test", lease_seconds=lease_seconds) as store:
        yield store


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


async def refused_for(
    seconds: float, lease_seconds: float, url: str, network: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with opened(network.url(url), lease_seconds=lease_seconds) as store:
        async with recording(store) as recorder:
            network.refuse()
            assert "Check that the server runs" in await unwell(store)
            with pytest.raises(StoreUnavailable, match="refused"):
                await store.load_run(next(iter(recorder.runs)))
            await asyncio.sleep(seconds)  # the outage itself
            await network.start()
        assert store.unwell is None
    assert said(caplog, "cannot be used now") == said(caplog, "can be used again") == 1


async def test_a_server_that_refuses_connections_for_longer_than_a_lease_is_waited_for(
    network: Proxy, own_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await refused_for(1.5, 1.0, own_url, network, caplog)


@pytest.mark.soak
async def test_a_failover_of_half_a_minute_is_waited_for(
    network: Proxy, own_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await refused_for(30.0, LEASE_SECONDS, own_url, network, caplog)


async def test_connections_reset_in_the_middle_of_batches_lose_and_repeat_nothing(network: Proxy, own_url: str) -> None:
    async with opened(network.url(own_url)) as store, recording(store) as recorder:
        for _ in range(10):
            await recorder.more(40)
            network.reset()


async def test_a_network_that_swallows_everything_is_noticed_and_nothing_is_done_twice(
    network: Proxy, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "READ_SECONDS", 1.0)
    async with opened(network.url(own_url), lease_seconds=1.0) as store, recording(store) as recorder:
        network.swallow()
        cut = time.monotonic()
        assert "has said nothing for" in await unwell(store)
        assert time.monotonic() - cut < 1.0 + LONGER + 2.0
        with pytest.raises(StoreUnavailable):
            await store.load_run(next(iter(recorder.runs)))
        network.pass_on()


async def test_a_process_that_ends_does_not_wait_for_a_network_that_swallows_everything(
    network: Proxy, own_url: str
) -> None:
    async with opened(network.url(own_url)) as store:
        run_id = await begin(store)
        await store.load_run(run_id)
        network.swallow()
        reading = asyncio.create_task(store.load_run(run_id))
        writing = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)])))
        await asyncio.sleep(0)
        told = time.monotonic()
    assert time.monotonic() - told < 6.0  # and not half a minute, after which a read would be given up
    assert [type(error) for error in await asyncio.gather(reading, writing, return_exceptions=True)] == [
        StoreUnavailable
    ] * 2


async def test_a_node_that_cannot_listen_looks_by_itself(
    server: PostgresServer, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(own_url) as other, proxy(server.folder) as network:
        monkeypatch.setattr(postgres, "Listener", _listens_through(network, own_url))
        async with opened(own_url) as store:
            run_id = await begin(store)
            network.refuse()
            for _ in range(3):
                before = store.change
                await other.deliver(run_id, "cancel", {}, actor="a", reason=None, now=NOW)
                told = time.monotonic()
                await store.wait_for_change(before)
                assert time.monotonic() - told < 3.0
    assert ask(own_url, "SELECT count(*) FROM inbox") == [(3,)]


def _listens_through(network: Proxy, url: str) -> type[postgres.Listener]:
    """A listener whose connection, and no other, goes through ``network``."""

    class Elsewhere(postgres.Listener):
        def __init__(self, connect: object) -> None:
            there = postgres.Postgres(make_url(network.url(url)))
            super().__init__(lambda: there._connection(postgres.LISTEN_SECONDS))

    return Elsewhere
