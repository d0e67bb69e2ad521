"""What the soak is for, it notices: servers with one flaw each go through the same chaos, and the verdict is not good."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.soak.audit import Base
from tests.soak.test_soak import SEEDS, own_postgres
from tests.soak.world import Plan, world

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

COMPLAINTS = {
    "without_a_fence": "written by a node that had ended",
    "death_by_the_clock": "taken for dead after",
    "ended_whether_it_beats_or_not": "taken for dead after",
    "messages_taken_by_who_hears_them": "written by a node that did not own the run",
}

UNPROVOKED = {"death_by_the_clock", "messages_taken_by_who_hears_them"}
"""Flaws that show wherever there are several servers; the others are brought about by one deed of the chaos."""


@pytest.fixture(params=["postgresql", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[tuple[Base, PostgresServer | None]]:
    if request.param == "file":
        yield Base(f"sqlite:///{tmp_path / 'runs.db'}"), None
        return
    with own_postgres() as server:
        yield Base(server.new_database()), server


@pytest.mark.timeout(600)
@pytest.mark.parametrize("flaw", COMPLAINTS)
async def test_the_chaos_brings_a_flaw_to_light(
    tmp_path: Path, flaw: str, place: tuple[Base, PostgresServer | None]
) -> None:
    base, postgres = place
    base.prepare()
    acts = 0 if flaw in UNPROVOKED else 10 if postgres is None else 19  # each deed comes up once
    plan = Plan(SEEDS[0], seconds=60, lease_seconds=4, servers=3, clients=16, acts=acts, settling_seconds=60, flaw=flaw)
    async with world(tmp_path, plan, base, postgres) as here:
        await here.soak()
    noticed = [told for told in here.complaints if told.startswith(COMPLAINTS[flaw])]
    print(here.told(), f"{len(noticed)} of {len(here.complaints)} complaints:", *noticed[:3], sep="\n")  # noqa: T201
    assert noticed, here.complaints[:20]
