"""``nodes``: the processes that move runs, what they own, and what they cannot move."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from datetime import timedelta

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mcp_workflows.app import Role, built_app, moves_runs
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.given import load_settings
from mcp_workflows.cli.options import AsJson, Database, Definitions
from mcp_workflows.cli.spans import clock_time
from mcp_workflows.cli.terminal import print_json, stdout
from mcp_workflows.cli.told import node_json, state_of
from mcp_workflows.clock import utc_now
from mcp_workflows.store import NodeRow, Store

LOOK_AGAIN_SECONDS = 0.2
WATCHED = 0.5
"""Of the lease: so long a process is watched that seems to be silent. One that lives writes more than once meanwhile."""


@command
async def nodes(as_json: AsJson = False, definitions: Definitions = None, database: Database = None) -> Exit:
    """List the processes that move runs of this database, or did. Those that only looked are left out."""
    async with built_app(load_settings(definitions, database), role=Role.OBSERVER) as app:
        await app.servers()  # so that those that died are known to be dead
        silent = await _silent(app.store)
        known = [node for node in await app.store.nodes() if moves_runs(node)]
        queued = await app.store.queued()
    found = sorted(known, key=lambda node: node.ended_at is not None)  # those that are up first, else as they were
    if as_json:
        print_json({"nodes": [node_json(node, silent) for node in found], "queued": queued})
    else:
        _print(found, silent, queued)
    return Exit.DONE


async def _silent(store: Store) -> Collection[str]:
    """Ids of those that have not ended, and write nothing while they are watched. They are dead, hang, or are cut off.

    Clocks say only who need not be watched: whoever wrote just now.
    """
    patience = store.lease_seconds * WATCHED
    now = utc_now()
    watched = {
        node.node_id: node.beat_at
        for node in await store.nodes()
        if node.ended_at is None
        and moves_runs(node)
        and not timedelta(0) <= now - node.beat_at <= timedelta(seconds=patience)
    }
    until = time.monotonic() + patience
    while watched and time.monotonic() < until:
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        beats = {node.node_id: node.beat_at for node in await store.nodes() if node.ended_at is None}
        watched = {node_id: beat_at for node_id, beat_at in watched.items() if beats.get(node_id) == beat_at}
    return watched.keys()


def _print(found: Sequence[NodeRow], silent: Collection[str], queued: int) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("node", "state", "runs", "since", "last heard of"):
        table.add_column(title, no_wrap=True)
    for node in found:
        told = state_of(node, silent)
        state = Text(told, {"up": "good", "silent": "doubt"}.get(told, "dim"))
        table.add_row(node.name, state, _runs(node), clock_time(node.started_at), clock_time(node.beat_at))
    console = stdout()
    console.print(table if found else "No process has moved runs of this database yet.")
    for node in found:
        if node.report is not None and node.ended_at is None and node.report.served_at is not None:
            console.print(f"{node.name} is served at {escape(node.report.served_at)}", soft_wrap=True)
        for unable in node.report.cannot if node.report is not None and node.ended_at is None else ():
            console.print(
                f"[doubt]{node.name} cannot run {unable.workflow} version {unable.version}:[/] {escape(unable.why)}",
                soft_wrap=True,
            )
    if queued:
        console.print(f"{queued:,} {'run waits' if queued == 1 else 'runs wait'} to be begun.")


def _runs(node: NodeRow) -> str:
    """How many it owns, and of a process that is up how many it takes."""
    if node.report is None or node.ended_at is not None:
        return str(node.runs)
    return f"{node.runs} of {node.report.max_runs:,}"
