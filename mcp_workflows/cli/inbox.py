"""What commands that leave something in a run's inbox have in common: waiting until it is taken in, and telling so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

from mcp_workflows.app import App
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.follow import follow, wait_for_rest
from mcp_workflows.cli.terminal import print_json, remark, stdout
from mcp_workflows.cli.timeline import answering, headline
from mcp_workflows.cli.told import run_json
from mcp_workflows.cli.unknown import told_where
from mcp_workflows.clock import utc_now
from mcp_workflows.runtime.views import RunView

_PATIENCE_SECONDS: Final = 2.0
"""How long to wait for an answer where no server is up: one may just be starting."""


async def taken_in(app: App, run_id: str, ask: Awaitable[RunView]) -> RunView | None:
    """The run after the request took effect; ``None``: the request waits in the run's inbox for a server."""
    async with told_where(app, run_id):
        patience = None if await app.servers() else _PATIENCE_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await ask
        view = await app.runs.get(run_id, actor=None)
    left = await app.store.load_messages(view.run_id, unconsumed_only=True)
    return None if left and not await app.store.consumed(left[-1].message_id) else view


async def tell_untaken(app: App, run_id: str, *, as_json: bool) -> Exit:
    """What was asked for is recorded, and nobody has taken it in."""
    if as_json:
        print_json(run_json(await app.runs.get(run_id, actor=None)))
    why = "no server took it up yet" if await app.servers() else "no server is up on this database"
    remark(
        f"[doubt]Recorded, but {why}[/]: it takes effect as soon as one does. Database: {app.settings.database_place}"
    )
    return Exit.UNFINISHED


async def tell(app: App, view: RunView, *, watch: bool, as_json: bool, place: str) -> RunView:
    """How the run stands now, or with ``watch`` how it goes on from here."""
    if as_json:
        view = await wait_for_rest(app.runs, view.run_id) if watch else view
        print_json(run_json(view))
    elif watch:
        view = await follow(app.runs, view.run_id, stdout(), place=place)
    else:
        stdout().print(headline(view, utc_now()))
        for wait in view.waiting_for:
            stdout().print(answering(view, wait, place), soft_wrap=True)
    return view
