"""What a caller must not learn of."""

from __future__ import annotations

from tests.mcp_server.place import Place, edited
from tests.mcp_server.workflows import STRICT

FOREIGN = "r_7h2k9qv4x0m3d8w5t1n6j2c4pe"

HIDDEN = edited(STRICT, ("name: register", "name: internal"), ("\nsteps:", "\nmcp: {expose: none}\nsteps:"))


async def run_of_another(here: Place) -> str:
    return (await here.app.runs.start("register", {"email": "her@b.org"}, actor="somebody else")).run_id
