"""Servers that are killed, frozen, cut off and restarted, and a database that is: nothing is lost, and nothing made twice.

``SOAK_SEED`` chooses the dice, which are printed. ``make test`` has a short version of each, ``make soak`` the long ones.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, postgres_server
from tests.soak.audit import Base
from tests.soak.world import Plan, world

pytestmark = pytest.mark.anyio

SHORT_SECONDS = 50.0
"""With what begins before them and ends after them a minute."""
LONG_SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
LONG_RUNS = int(os.environ.get("SOAK_RUNS", "2000"))
SEEDS = [int(os.environ["SOAK_SEED"])] if "SOAK_SEED" in os.environ else [20261128, 1, 2]


def any_seed() -> int:
    return int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(1 << 31)))


@pytest.fixture(autouse=True)
def quiet_clients(caplog: pytest.LogCaptureFixture) -> None:
    """That servers go away is the point: what clients log of it would bury what is wrong."""
    caplog.set_level(logging.CRITICAL, "mcp.client")


@contextmanager
def own_postgres() -> Generator[PostgresServer]:
    with postgres_server("fsync=off", "track_commit_timestamp=on") as server:
        yield server


async def soaked(folder: Path, plan: Plan, base: Base, postgres: PostgresServer | None) -> None:
    base.prepare()
    async with world(folder, plan, base, postgres) as here:
        try:
            await here.soak()
        except BaseException:
            print(f"{here.told()}; evidence in {here.save()}", flush=True)  # noqa: T201
            raise
        print(here.told(), flush=True)  # noqa: T201
        if here.complaints:
            where = here.save()
            shown = "\n".join(here.complaints[:20])
            pytest.fail(f"seed {plan.seed}, evidence in {where}: {len(here.complaints)} complaints\n{shown}")


@pytest.mark.timeout(600)
async def test_three_servers_on_postgresql_through_chaos_for_a_minute(tmp_path: Path) -> None:
    plan = Plan(any_seed(), SHORT_SECONDS, lease_seconds=2, servers=3, clients=16, runs=19, acts=6)
    with own_postgres() as server:
        await soaked(tmp_path, plan, Base(server.new_database()), server)


@pytest.mark.timeout(600)
async def test_four_servers_on_one_file_through_chaos_for_a_minute(tmp_path: Path) -> None:
    plan = Plan(any_seed(), SHORT_SECONDS, lease_seconds=2, servers=4, clients=16, runs=19, acts=6)
    await soaked(tmp_path, plan, Base(f"sqlite:///{tmp_path / 'runs.db'}"), None)


@pytest.mark.soak
@pytest.mark.timeout(4 * LONG_SECONDS)
@pytest.mark.parametrize("seed", SEEDS)
async def test_three_servers_on_postgresql_through_chaos(tmp_path: Path, seed: int) -> None:
    plan = Plan(seed, LONG_SECONDS, lease_seconds=4, servers=3, clients=48, runs=LONG_RUNS)
    with own_postgres() as server:
        await soaked(tmp_path, plan, Base(server.new_database()), server)


@pytest.mark.soak
@pytest.mark.timeout(4 * LONG_SECONDS)
@pytest.mark.parametrize("seed", SEEDS)
async def test_four_servers_on_one_file_through_chaos(tmp_path: Path, seed: int) -> None:
    plan = Plan(seed, LONG_SECONDS, lease_seconds=4, servers=4, clients=48, runs=LONG_RUNS)
    await soaked(tmp_path, plan, Base(f"sqlite:///{tmp_path / 'runs.db'}"), None)
